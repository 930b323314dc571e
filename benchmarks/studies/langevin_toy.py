"""Flow priors of toy waves: can they tell sources apart, and do they separate mixtures?

    python benchmarks langevin_toy WORK -o benchmarks/results/langevin

Trains the priors without noise, tunes them to one noise level after the other, writes
cross-likelihood matrices, and separates mixtures by several schedules. Everything that is finished
is kept (flows and checkpoints in WORK, figures in toy.json), so an interrupted run continues.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import store
from studies.exact_toy_prior import ExactToyPrior
from studies.wave_priors import CROP, SIZES, Results, draw, matrices, trained

from dds_fast import metrics
from dds_fast.datasets import ToyWaves
from dds_fast.datasets.toy import SHAPES
from dds_fast.flows.priors import BankPrior
from dds_fast.methods import langevin, variational

LEVELS = langevin.noise_levels()
CLIPS, CLIP = 8, 4000
MIXTURES, WINDOW = 6, 1024

THESIS = {"levels": (0.1,), "n_steps": 300, "step_size": 3e-3, "clamp_every_step": True}
"""The single level of the thesis' program."""


def test_waves(first: int, n: int, n_samples: int) -> np.ndarray:
    """``(4, n, n_samples)`` waves that no training saw."""
    waves = ToyWaves(n_items=1500, n_samples=n_samples, seed=1)
    return np.stack([waves[first + i] for i in range(n)], axis=1)


def scores(estimates: np.ndarray) -> dict[str, Any]:
    """SI-SDR in dB by source, and how well the estimates add up to the mixture."""
    sources = test_waves(100, MIXTURES, WINDOW)
    values = np.array([metrics.si_sdr(sources[:, i], estimates[:, i]) for i in range(MIXTURES)])
    missing = estimates.sum(axis=0) - sources.sum(axis=0)
    return {
        "n_mixtures": MIXTURES,
        "n_samples": WINDOW,
        "si_sdr": float(values.mean()),
        "si_sdr_standard_error": float(values.mean(1).std(ddof=1) / MIXTURES**0.5),
        "si_sdr_by_source": dict(zip(SHAPES, values.mean(0).tolist(), strict=True)),
        "mixture_error_rms": float(np.sqrt(np.square(missing).mean())),
    }


def separate(name: str, results: Results, priors: Any, **settings: Any) -> None:
    """One schedule; sources add up with weight 1, so the mixture is their sum, not their mean."""
    if name in results:
        return
    mixture = test_waves(100, MIXTURES, WINDOW).sum(axis=0)
    settings = {"bounds": (-1, 1), "progress": True, **settings}
    try:
        results[name] = scores(langevin.separate(mixture, priors, **settings))
    except FloatingPointError as error:
        results[name] = {"diverged": str(error)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    store.add_trial(parser)
    options = parser.parse_args()
    results = Results(options.output / "toy.json", options.trial)

    if "mixture / N" not in results:
        mixture = test_waves(100, MIXTURES, WINDOW).sum(axis=0)
        results["mixture / N"] = scores(np.stack([mixture / len(SHAPES)] * len(SHAPES)))
    stems, held = ToyWaves(n_samples=CROP), ToyWaves(n_items=8, n_samples=CROP, seed=1)
    clips = test_waves(0, CLIPS, CLIP)
    priors, bank = {}, None
    for sigma in (0.0, *reversed(LEVELS)):
        bank = trained(options.work, stems, held, sigma, bank)
        priors[sigma] = BankPrior(bank)
        name = f"cross-likelihood, noise {sigma:.4f}"
        if name not in results:
            results[name] = matrices(priors[sigma], clips, SHAPES, sigma) | {"flow": SIZES}
        draw(results[name], options.output / f"toy_{sigma:.3f}.png")
    if "noiseless priors, own source with noise" not in results:
        own = {}
        for noise in (0.0, 0.01, 0.05, 0.1):
            matrix = matrices(priors[0.0], clips, SHAPES, noise)["latent"]
            own[str(noise)] = dict(zip(SHAPES, np.diag(matrix).tolist(), strict=True))
        results["noiseless priors, own source with noise"] = own

    exact = ExactToyPrior(WINDOW, LEVELS[0])
    separate("exact priors, ten levels", results, [exact.at(sigma) for sigma in LEVELS])
    near = min(LEVELS, key=lambda level: abs(level - 0.1))
    separate("noiseless priors, ten levels", results, priors[0.0])
    separate("noiseless priors, one level", results, priors[0.0], **THESIS)
    separate("tuned priors, one level", results, priors[near], **THESIS)
    separate("tuned priors, ten levels", results, [priors[sigma] for sigma in LEVELS])
    if "tuned priors, variational" not in results:
        mixture = test_waves(100, MIXTURES, WINDOW).sum(axis=0)
        posterior = variational.separate(
            mixture, priors[near], sigma=near, n_steps=300, progress=True
        )
        tenths = np.array_split(posterior.elbo.mean(axis=1) / WINDOW, 10)
        results["tuned priors, variational"] = scores(posterior.mean) | {
            "elbo_per_sample": [float(tenth.mean()) for tenth in tenths]
        }
