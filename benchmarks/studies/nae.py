"""Two speakers at 0 dB, separated by NMF and by shallow and deep non-negative autoencoders.

    python benchmarks nae -o benchmarks/results/nae.json [--timit DIR]

The experiment of Smaragdis and Venkataramani (arXiv 1609.03296, section 3): a model per speaker
from nine sentences, 32 mixtures of the tenth sentences of two random speakers. Without TIMIT the
speakers are voices of a synthesiser. Finished rows of the JSON file are kept, so an interrupted
run continues; a figure is drawn beside it, and a table printed.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import store
import torch
from matplotlib.figure import Figure
from pystoi import stoi
from report import markdown, save
from studies import speech

import dds_fast
from dds_fast import audio, metrics, nmf
from dds_fast.methods import nae

CONFIG = dds_fast.SpectrogramConfig(n_fft=512, hop=128, gamma=0, window="sqrt_hann")
METHODS = ("NMF", "shallow", "deep")
RANKS = (20, 100, 5, 50, 10)
MEASURES = ("sdr", "sir", "sar", "stoi")
N_MIXTURES = 32
TRAINING_STEPS = 400
SEPARATION_STEPS = 200

Speakers = dict[str, list[np.ndarray]]


def pairs(speakers: Speakers) -> list[tuple[str, str]]:
    """The 32 mixtures: different pairs, in random order."""
    every = list(combinations(speakers, 2))
    chosen = np.random.default_rng(1).permutation(len(every))[:N_MIXTURES]
    return [every[i] for i in chosen]


def train(speakers: Speakers, method: str, rank: int) -> Mapping[str, Any]:
    """A model per speaker, from all sentences but the last."""
    models: dict[str, Any] = {}
    for name, sentences in speakers.items():
        X = np.concatenate([audio.spectrogram(s, CONFIG).values for s in sentences[:-1]], axis=1)
        if method == "NMF":
            found = nmf.factorize(
                X, rank, loss="kl", n_steps=TRAINING_STEPS, tolerance=0, device="cpu"
            )
            models[name] = found.W / found.W.sum(0).clip(1e-12)
        else:
            depth = {"shallow": 1, "deep": 2}[method]
            models[name] = nae.fit(
                X, rank, depth=depth, n_steps=TRAINING_STEPS, tolerance=0, spectrogram=CONFIG
            )
    return models


def chosen(models: Mapping[str, Any], names: tuple[str, str]) -> Any:
    """What `nae.separate` takes for the two speakers."""
    if isinstance(models[names[0]], nae.NAE):
        return {name: models[name] for name in names}
    W = torch.tensor(np.concatenate([models[name] for name in names], axis=1))
    labels = torch.arange(2).repeat_interleave(W.shape[1] // 2)
    return dds_fast.Dictionary("nmf", names, CONFIG, W=W, labels=labels)


def measure(speakers: Speakers, models: Mapping[str, Any], names: tuple[str, str]) -> dict:
    """The scores of both stems of a mixture, cut to the shorter sentence."""
    n = min(len(speakers[name][-1]) for name in names)
    references = np.stack([speakers[name][-1][:n] for name in names])
    references /= np.sqrt((references**2).mean(1, keepdims=True)) / speech.LEVEL
    result = nae.separate(
        references.sum(0),
        chosen(models, names),
        sr=speech.SR,
        n_steps=SEPARATION_STEPS,
        tolerance=0,
    )
    scores = metrics.bss_eval(references, result.stems)
    scores["stoi"] = np.array(
        [stoi(r, s, speech.SR) for r, s in zip(references, result.stems, strict=True)]
    )
    return {name: [round(float(v), 4) for v in values] for name, values in scores.items()}


def summary(rows: list[dict[str, Any]], method: str, rank: int, measure: str) -> np.ndarray | None:
    """Quartiles over the stems of all mixtures; None before they are complete."""
    values = [row[measure] for row in rows if (row["method"], row["rank"]) == (method, rank)]
    if len(values) < N_MIXTURES:
        return None
    return np.percentile(np.concatenate(values), (25, 50, 75))


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: medians with quartiles."""
    lines = []
    for rank in sorted(RANKS):
        for method in METHODS:
            summaries = [summary(rows, method, rank, measure) for measure in MEASURES]
            found = [quartiles for quartiles in summaries if quartiles is not None]
            if not found:
                continue
            cells = [
                "{1:.{d}f} ({0:.{d}f} to {2:.{d}f})".format(
                    *quartiles, d=2 if name == "stoi" else 1
                )
                for name, quartiles in zip(MEASURES, found, strict=True)
            ]
            lines.append([str(rank), method, *cells])
    return markdown(["rank", "method", *map(str.upper, MEASURES)], lines)


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Medians over ranks, quartiles as bands."""
    figure = Figure(figsize=(13, 3.4), layout="constrained")
    axes = figure.subplots(1, 4)
    colours = {"NMF": "0.35", "shallow": "tab:blue", "deep": "tab:orange"}
    for axis, name in zip(axes, MEASURES, strict=True):
        for method in METHODS:
            ranks = [r for r in sorted(RANKS) if summary(rows, method, r, name) is not None]
            if not ranks:
                continue
            low, median, high = np.array([summary(rows, method, r, name) for r in ranks]).T
            label = method if method == "NMF" else f"{method} autoencoder"
            axis.plot(ranks, median, "o-", color=colours[method], label=label, markersize=4)
            axis.fill_between(ranks, low, high, color=colours[method], alpha=0.13, linewidth=0)
        axis.set(title=name.upper(), xlabel="rank", xscale="log")
        axis.set_xticks(sorted(RANKS), [str(r) for r in sorted(RANKS)])
        axis.minorticks_off()
        axis.set_ylabel("" if name == "stoi" else "dB")
    axes[0].legend(frameon=False, fontsize=8)
    save(figure, path)


def main() -> None:
    parser = store.parser(__doc__)
    parser.add_argument("--timit", type=Path, help="folder of TIMIT; default: synthesised speech")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--ranks", nargs="+", type=int, default=RANKS)
    options = parser.parse_args()
    warnings.simplefilter("ignore", RuntimeWarning)
    speakers = dict(speech.timit(options.timit) if options.timit else speech.synthesised())
    about = {
        "speech": "TIMIT" if options.timit else "eSpeak NG, variants of en-us",
        "speakers": list(speakers),
        "training_seconds": {
            k: round(sum(map(len, v[:-1])) / speech.SR, 1) for k, v in speakers.items()
        },
        "training_steps": TRAINING_STEPS,
        "separation_steps": SEPARATION_STEPS,
    }
    study = store.Study(
        options.output,
        ("method", "rank", "speakers"),
        trial=options.trial,
        about=about,
        more=("librosa", "mir_eval", "pystoi", "espeakng-loader"),
    )
    for rank in options.ranks:
        for method in options.methods:
            missing = [p for p in pairs(speakers) if study.find(method, rank, p) is None]
            models = train(speakers, method, rank) if missing else {}
            for names in missing:
                scored = partial(measure, speakers, models, names)
                study.add(method, rank, names, measure=scored)
    plot(study.rows, options.output.with_suffix(".png"))
    print(table(study.rows))
