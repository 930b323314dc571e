"""The amortised posterior beside the free one: bounds and separation, toy waves and piano notes.

    python benchmarks amortised NOTES WORK -o benchmarks/results/langevin

Both are truncated Gaussians fitted by the ELBO to the same priors, for sources with noise of one
level: the free one to each test mixture by itself, the network to training mixtures. Toy waves have
a trained prior and their exact density; the piano notes are those of langevin_piano, of which the
test piano took part in nothing. Finished rows of amortised.json and priors in WORK are kept.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import store
import torch
from safetensors.torch import load_file, save_file
from studies.exact_toy_prior import ExactToyPrior
from studies.langevin_piano import CONFIG, TEST, TRAINING, mixtures, stems, summed_up
from torch import nn

from dds_fast import audio, metrics
from dds_fast.datasets import ToyWaves, find_notes, load_notes
from dds_fast.flows import FloWaveNetBank, RealNVPBank
from dds_fast.flows.training.bank import BankTraining
from dds_fast.flows.training.loop import Task, TrainingConfig, train
from dds_fast.flows.training.waves import WaveTraining
from dds_fast.methods import amortised, variational
from dds_fast.methods.priors import BankPrior, Prior

PRESETS = import_module("dds_fast.fit").PRESETS
SEEDS = (0, 1)
SIGMA = 0.1292
"""One of the ten levels; the noise of the priors and of the mixtures' model."""

CPU = torch.device("cpu")

WINDOW, N_TRAINING, N_TEST = 256, 1000, 12
WAVES = {"n_blocks": 4, "n_flows": 1, "width": 8, "n_layers": 3}
WAVE_TRAINING = TrainingConfig(
    max_epochs=3, learning_rate=3e-3, one_cycle=True, batch_size=8, max_norm=20.0 * WINDOW
)
FREE: dict[str, Any] = {"n_steps": 150, "step_size": 2e-2}
LEARNED: dict[str, Any] = {"n_steps": 300, "batch_size": 4, "step_size": 3e-3}

PAIRS = ((55, 66), (57, 64))
KEYS = tuple(sorted({key for pair in PAIRS for key in pair}))
EPOCHS, N_MIXED = 25, 16
FRAMES: dict[str, Any] = {"n_steps": 250, "batch_size": 32, "step_size": 2e-3}
HIDDEN = 128


def kept(path: Path, bank: Any, task: Callable[[], Task], config: TrainingConfig) -> BankPrior:
    """A bank trained now, or before."""
    if path.exists():
        bank.load_state_dict(load_file(path))
    else:
        train(task(), config, folder=path.with_suffix(""), progress=True)
        save_file(bank.state_dict(), path)
    return BankPrior(bank.requires_grad_(False))


# ---- toy waves -----------------------------------------------------------------------------------


def waves(random_state: int, n: int) -> np.ndarray:
    """``(4, n, 256)`` toy waves."""
    made = ToyWaves(n_items=n, n_samples=WINDOW, random_state=random_state)
    return np.stack([made[i] for i in range(n)], axis=1)


def wave_prior(work: Path) -> BankPrior:
    bank, stems = FloWaveNetBank(4, **WAVES), ToyWaves(n_samples=1024)
    held = ToyWaves(n_items=16, n_samples=WINDOW, random_state=1)
    task = partial(WaveTraining, bank, stems, held, WAVE_TRAINING, CPU, crop=WINDOW, noise=SIGMA)
    return kept(work / "toy_256.safetensors", bank, task, WAVE_TRAINING)


def on_waves(make: Callable[[], Prior], way: str, seed: int) -> dict[str, Any]:
    prior, sources = make(), waves(1, N_TEST)
    mixture = sources.sum(axis=0)
    if way == "free":
        posterior = variational.separate(mixture, prior, sigma=SIGMA, random_state=seed, **FREE)
    else:
        examples = waves(0, N_TRAINING).sum(axis=0)
        posterior = amortised.learn(
            examples, prior, sigma=SIGMA, random_state=seed, progress=True, **LEARNED
        ).separate(mixture)
    return scored(sources, posterior.mean) | bound(posterior.elbo, 4 * WINDOW)


def scored(sources: np.ndarray, estimates: np.ndarray) -> dict[str, Any]:
    """SI-SDR in dB of ``(S, B, n)`` sources, and how far the estimates are from their mixture."""
    n = sources.shape[1]
    values = np.array([metrics.si_sdr(sources[:, i], estimates[:, i]) for i in range(n)])
    missing = estimates.sum(axis=0) - sources.sum(axis=0)
    return {
        "n_mixtures": n,
        "si_sdr": float(values.mean()),
        "si_sdr_standard_error": float(values.mean(1).std(ddof=1) / n**0.5),
        "mixture_error_rms": float(np.sqrt(np.square(missing).mean())),
    }


def bound(elbo: np.ndarray, n_entries: int) -> dict[str, Any]:
    """Nats per entry of the sources: of a fit the mean of its last tenth of steps."""
    last = elbo[-max(1, len(elbo) // 10) :]
    return {"elbo": float(last.mean()) / n_entries}


# ---- piano ---------------------------------------------------------------------------------------


def frame_prior(folder: Path, work: Path) -> BankPrior:
    recipe = PRESETS["small"]
    n_steps, width, depth = recipe.sizes["dds2"](CONFIG.n_features)
    bank = RealNVPBank(len(KEYS), CONFIG.n_features, n_steps=n_steps, width=width, depth=depth)
    config = TrainingConfig(
        max_epochs=EPOCHS, learning_rate=1e-3, one_cycle=True, batch_size=256, equalizer_db=5.0
    )

    def task() -> BankTraining:
        recordings = find_notes([folder / piano for piano in TRAINING], KEYS)
        split = load_notes(recordings, CONFIG, gains_db=(0, -12)).split(config.validation)
        return BankTraining(bank, *split, config, CPU, CONFIG.gamma, noise=SIGMA)

    return kept(work / "piano_keys.safetensors", bank, task, config)


def mixed(folder: Path, pair: tuple[int, int]) -> np.ndarray:
    """``(frames, F)`` spectra of both keys at once, by the pianos to learn from."""
    rng = np.random.default_rng(pair)
    folders = [folder / piano for piano in TRAINING]
    recordings = [find_notes(folders, [pitch]) for pitch in pair]
    rows = []
    for _ in range(N_MIXED):
        notes = [audio.load(rng.choice(np.array(of, object)).path, CONFIG.sr) for of in recordings]
        n = min(map(len, notes))
        gains = 0.4 * 10 ** (-rng.uniform(0, 12, 2) / 20)
        sums = sum(g * x[:n] / np.abs(x).max() for g, x in zip(gains, notes, strict=True))
        rows.append(audio.spectrogram(sums, CONFIG).values.T)
    return np.concatenate(rows).astype(np.float32)


def on_piano(prior: BankPrior, folder: Path, way: str, seed: int) -> dict[str, Any]:
    options: dict[str, Any] = {"sigma": SIGMA, "bounds": (0.0, 1.2), "random_state": seed}
    values, elbos = [], []
    for pair, sources in mixtures(folder / TEST):
        if pair not in PAIRS:
            continue
        mixture = sources.sum(axis=0)
        frames = audio.spectrogram(mixture, CONFIG).values.T.astype(np.float32)
        assert isinstance(prior.bank, RealNVPBank)
        own = BankPrior(prior.bank.select([KEYS.index(key) for key in pair]).requires_grad_(False))
        if way == "free":
            posterior = variational.separate(frames, own, **options, **FREE)
        else:
            torch.manual_seed(seed)
            F = CONFIG.n_features
            last = nn.Linear(HIDDEN, 4 * F)
            network = nn.Sequential(
                nn.Linear(F, HIDDEN), nn.SELU(), nn.Linear(HIDDEN, HIDDEN), nn.SELU(), last
            )
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
            examples = mixed(folder, pair)
            posterior = amortised.learn(
                examples, own, network=network, progress=True, **options, **FRAMES
            ).separate(frames)
        estimates = stems([part.T for part in posterior.mean], mixture)
        values.append(metrics.si_sdr(sources, estimates).tolist())
        elbos.append(bound(posterior.elbo, 2 * CONFIG.n_features)["elbo"])
    return {"pairs": PAIRS, **summed_up(values), "elbo": float(np.mean(elbos))}


def guarded(measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return measure()
    except FloatingPointError as error:
        return {"diverged": str(error)}


def main() -> None:
    options = store.parser(__doc__, "notes", "work").parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    keys = ("data", "prior", "posterior", "seed")
    about = {"sigma": SIGMA, "free": FREE, "waves": LEARNED, "frames": FRAMES, "flow": WAVES}
    study = store.Study(options.output / "amortised.json", keys, trial=options.trial, about=about)
    sources = waves(1, N_TEST)
    shares = np.stack([sources.mean(axis=0)] * 4)
    study.add("toy waves", "none", "mixture / N", 0, measure=partial(scored, sources, shares))
    priors: dict[str, Callable[[], Prior]] = {
        "exact": cache(partial(ExactToyPrior, WINDOW, SIGMA)),
        "trained": cache(partial(wave_prior, options.work)),
    }
    frames = frame_prior(options.notes, options.work)
    for seed in SEEDS:
        for way in ("free", "amortised"):
            measure = partial(on_piano, frames, options.notes, way, seed)
            study.add("piano", "trained", way, seed, measure=partial(guarded, measure))
            for name, prior in priors.items():
                measure = partial(on_waves, prior, way, seed)
                study.add("toy waves", name, way, seed, measure=partial(guarded, measure))
