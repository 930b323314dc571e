"""Frame priors of piano notes: cross-likelihood, and two-note mixtures beside DDS-3 and NMF.

    python benchmarks langevin_piano NOTES WORK -o benchmarks/results/langevin

NOTES holds one folder of isolated notes per piano (see dds_fast/models/piano.md). The priors learn
from four pianos, all tests are on the fifth. A method is told which two notes sound; each
gives two model magnitudes, from which the same masks make the stems. Dictionaries in WORK and
finished entries of piano.json are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import store
import torch
from studies.wave_priors import compare

import dds_fast
from dds_fast import audio, metrics, nmf
from dds_fast.audio import masks
from dds_fast.datasets import NoteFrames, find_notes, load_notes
from dds_fast.fit import PRESETS
from dds_fast.flows import RealNVPBank
from dds_fast.flows.training.bank import BankTraining
from dds_fast.flows.training.loop import train
from dds_fast.methods import langevin
from dds_fast.methods.priors import BankPrior

TRAINING = ("real_steinway", "sf_fluid", "real_c3close", "real_oldbacon")
TEST = "real_c5"
PITCHES = tuple(range(55, 67))
CONFIG = dds_fast.SpectrogramConfig(n_fft=1024)
LEVELS = langevin.noise_levels()
EPOCHS, TUNING_EPOCHS = 60, 6
PAIRS = [pair for pair in combinations(PITCHES, 2) if sum(pair) % 11 == 0]
SECONDS = 1.2
SAMPLES = 8
"""Samples of the posterior per mixture; their mean is the estimate beside that of one sample."""


def trained(notes: NoteFrames, work: Path, sigma: float, before: RealNVPBank | None) -> RealNVPBank:
    """A bank of the keys' frame flows, for frames with noise."""
    path = work / f"piano_{sigma:.4f}.safetensors"
    if path.exists():
        flow = dds_fast.load(path).flow
        assert isinstance(flow, RealNVPBank)
        return flow
    recipe = PRESETS["small"]
    n_steps, width, depth = recipe.sizes["dds2"](CONFIG.n_features)
    bank = RealNVPBank(len(PITCHES), CONFIG.n_features, n_steps=n_steps, width=width, depth=depth)
    config = replace(recipe.training["dds2"], max_epochs=EPOCHS, batch_size=256)
    if before is not None:
        bank.load_state_dict(before.state_dict())
        config = replace(config, max_epochs=TUNING_EPOCHS, learning_rate=3e-4)
    split = notes.split(config.validation)
    task = BankTraining(bank, *split, config, torch.device("cpu"), CONFIG.gamma, noise=sigma)
    train(task, config, folder=work / path.stem, progress=True)
    dds_fast.Dictionary.from_flow(bank, PITCHES, CONFIG).save(path)
    return bank


def mixtures(folder: Path) -> Iterator[tuple[tuple[int, int], np.ndarray]]:
    """Pairs of keys and their two notes ``(2, n)``, at one peak level."""
    n = round(SECONDS * CONFIG.sr)
    for pair in PAIRS:
        notes = [audio.load(find_notes(folder, [pitch])[0].path, CONFIG.sr)[:n] for pitch in pair]
        yield pair, np.stack([0.4 * note / np.abs(note).max() for note in notes])


def stems(parts: list[np.ndarray], mixture: np.ndarray) -> np.ndarray:
    """``(2, n)`` stems by masks from two ``(F, T)`` parts of the log-compressed spectrogram."""
    magnitudes = np.stack([audio.expand(np.maximum(part, 0), CONFIG) for part in parts])
    stft = audio.stft(mixture, CONFIG)
    shares = masks.masks(magnitudes)
    shares = np.concatenate([shares[:, :1], shares], axis=1)  # the mean as the lowest bin
    return np.stack([audio.istft(share * stft, CONFIG, len(mixture)) for share in shares])


def searched(
    dictionary: dds_fast.Dictionary, pair: tuple[int, int], X: dds_fast.Spectrogram
) -> list[np.ndarray]:
    """The pair's parts of a decomposition into all sources of a dictionary."""
    result = dds_fast.decompose(X, dictionary)
    (window,) = result.windows
    rows = [result.sources.index(pitch) for pitch in pair]
    return [window.approximation(window.labels == row) for row in rows]


def by_nmf(notes: NoteFrames, pair: tuple[int, int], X: dds_fast.Spectrogram) -> list[np.ndarray]:
    """The pair's parts by least squares over all training frames of the two notes."""
    blocks = [notes.frames[notes.labels == notes.sources.index(pitch)].T for pitch in pair]
    W = torch.from_numpy(np.concatenate(blocks, axis=1))
    H, _ = nmf.activations(torch.from_numpy(X.values), W)
    cut = blocks[0].shape[1]
    return [(W[:, :cut] @ H[:cut]).numpy(), (W[:, cut:] @ H[cut:]).numpy()]


def by_langevin(
    banks: list[RealNVPBank],
    pair: tuple[int, int],
    X: dds_fast.Spectrogram,
    n_samples: int,
    clamp: bool = False,
) -> list[np.ndarray]:
    """The pair's parts as samples of the posterior of each frame, or their mean."""
    chosen = [PITCHES.index(pitch) for pitch in pair]
    priors = [BankPrior(bank.select(chosen)) for bank in banks]
    frames = np.tile(X.values.T.astype(np.float32), (n_samples, 1))
    drawn = langevin.separate(frames, priors, bounds=(0.0, 1.2), clamp_every_step=clamp)
    return list(drawn.stems.reshape(2, n_samples, -1, CONFIG.n_features).mean(axis=1).mT)


def scored(
    separate: Callable[[tuple[int, int], dds_fast.Spectrogram], list[np.ndarray]], folder: Path
) -> dict[str, Any]:
    """SI-SDR over the mixtures of a piano."""
    values = []
    try:
        for pair, sources in mixtures(folder):
            mixture = sources.sum(axis=0)
            estimates = stems(separate(pair, audio.spectrogram(mixture, CONFIG)), mixture)
            values.append(metrics.si_sdr(sources, estimates).tolist())
    except FloatingPointError as error:
        return {"diverged": str(error)}
    return {"pairs": PAIRS, **summed_up(values)}


def summed_up(values: list[list[float]]) -> dict[str, Any]:
    """Of the SI-SDR of both notes of each pair: mean and standard error over pairs."""
    means = np.mean(values, axis=1)
    return {
        "si_sdr": float(means.mean()),
        "si_sdr_standard_error": float(means.std(ddof=1) / len(means) ** 0.5),
        "si_sdr_by_pair": values,
    }


def main() -> None:
    parser = store.parser(__doc__, "notes", "work")
    options = parser.parse_args()
    study = store.Study(options.output / "piano.json", ("name",), trial=options.trial)
    recordings = find_notes([options.notes / piano for piano in TRAINING], PITCHES)
    notes = load_notes(recordings, CONFIG, gains_db=(0, -12))
    test = load_notes(find_notes(options.notes / TEST, PITCHES), CONFIG)
    n_rows = int(np.bincount(test.labels).min())
    clips = np.stack([test.frames[test.labels == s][:n_rows] for s in range(len(PITCHES))])

    banks, bank = {}, None
    for sigma in (0.0, *reversed(LEVELS)):
        bank = banks[sigma] = trained(notes, options.work, sigma, bank)
        drawn = options.output / f"piano_{sigma:.3f}.png" if sigma in (0.0, LEVELS[4]) else None
        compare(study, BankPrior(bank), clips, PITCHES, sigma, drawn)

    tuned = [banks[sigma] for sigma in LEVELS]
    dds2 = dds_fast.Dictionary.from_flow(banks[0.0], PITCHES, CONFIG)
    piano = dds_fast.load(dds_fast.PIANO)
    methods = {
        "mixture / 2": lambda pair, X: [X.values, X.values],
        "NMF": lambda pair, X: by_nmf(notes, pair, X),
        "DDS-3, packaged piano": lambda pair, X: searched(piano, pair, X),
        "DDS-2, the same flows": lambda pair, X: searched(dds2, pair, X),
        "Langevin, one sample": lambda pair, X: by_langevin(tuned, pair, X, 1),
        "Langevin, mean of samples": lambda pair, X: by_langevin(tuned, pair, X, SAMPLES),
        "Langevin, clamped at every step": lambda pair, X: by_langevin(tuned, pair, X, 1, True),
        "Langevin, clamped, mean of samples": lambda pair, X: by_langevin(
            tuned, pair, X, SAMPLES, True
        ),
        "Langevin, noiseless priors": lambda pair, X: by_langevin(
            [banks[0.0]] * len(LEVELS), pair, X, 1
        ),
    }
    for method, separate in methods.items():
        study.add(method, measure=partial(scored, separate, options.notes / TEST))
