"""Flow priors of toy waves: can they tell sources apart, and do they separate mixtures?

    python benchmarks langevin_toy WORK -o benchmarks/results/langevin

Trains the priors without noise, tunes them to one noise level after the other, writes
cross-likelihood matrices, and separates mixtures by several schedules. Everything that is finished
is kept (flows and checkpoints in WORK, figures in toy.json), so an interrupted run continues.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import store
from studies.exact_toy_prior import ExactToyPrior
from studies.wave_priors import CROP, SIZES, compare, matrices, trained

from dds_fast import metrics
from dds_fast.datasets import ToyWaves
from dds_fast.datasets.toy import SHAPES
from dds_fast.methods import langevin, variational
from dds_fast.methods.priors import BankPrior

LEVELS = langevin.noise_levels()
CLIPS, CLIP = 8, 4000
MIXTURES, WINDOW = 6, 1024

THESIS = {"levels": (0.1,), "n_steps": 300, "step_size": 3e-3, "clamp_every_step": True}
"""The single level of the thesis' program."""


def test_waves(first: int, n: int, n_samples: int) -> np.ndarray:
    """``(4, n, n_samples)`` waves that no training saw."""
    waves = ToyWaves(n_items=1500, n_samples=n_samples, random_state=1)
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


def mixture() -> np.ndarray:
    """``(6, n)``; sources add up with weight 1, so it is their sum, not their mean."""
    return test_waves(100, MIXTURES, WINDOW).sum(axis=0)


def separated(priors: Any, **settings: Any) -> dict[str, Any]:
    """The scores of one schedule."""
    settings = {"bounds": (-1, 1), "progress": True, **settings}
    try:
        return scores(langevin.separate(mixture(), priors, **settings).stems)
    except FloatingPointError as error:
        return {"diverged": str(error)}


def inferred(priors: Any, sigma: float) -> dict[str, Any]:
    """Scores of a variational posterior, and its bound over the steps."""
    posterior = variational.separate(mixture(), priors, sigma=sigma, n_steps=300, progress=True)
    tenths = np.array_split(posterior.elbo.mean(axis=1) / WINDOW, 10)
    return scores(posterior.mean) | {"elbo_per_sample": [float(t.mean()) for t in tenths]}


def own_source(prior: BankPrior, clips: np.ndarray) -> dict[str, Any]:
    """What noiseless priors think of their own source with noise."""
    matrix = {noise: matrices(prior, clips, SHAPES, noise) for noise in (0.0, 0.01, 0.05, 0.1)}
    return {
        str(noise): dict(zip(SHAPES, np.diag(entry["latent"]).tolist(), strict=True))
        for noise, entry in matrix.items()
    }


def main() -> None:
    options = store.parser(__doc__, "work").parse_args()
    about, file = {"flow": SIZES}, options.output / "toy.json"
    study = store.Study(file, ("name",), trial=options.trial, about=about, seed=(0, 1))
    share = np.stack([mixture() / len(SHAPES)] * len(SHAPES))
    study.add("mixture / N", measure=partial(scores, share))
    stems, held = ToyWaves(n_samples=CROP), ToyWaves(n_items=8, n_samples=CROP, random_state=1)
    clips = test_waves(0, CLIPS, CLIP)
    priors, bank = {}, None
    for sigma in (0.0, *reversed(LEVELS)):
        bank = trained(options.work, stems, held, sigma, bank)
        priors[sigma] = BankPrior(bank)
        compare(study, priors[sigma], clips, SHAPES, sigma, options.output / f"toy_{sigma:.3f}.png")
    own = partial(own_source, priors[0.0], clips)
    study.add("noiseless priors, own source with noise", measure=own)

    exact = ExactToyPrior(WINDOW, LEVELS[0])
    near = min(LEVELS, key=lambda level: abs(level - 0.1))
    schedules: dict[str, tuple[Any, dict[str, Any]]] = {
        "exact priors, ten levels": ([exact.at(sigma) for sigma in LEVELS], {}),
        "noiseless priors, ten levels": (priors[0.0], {}),
        "noiseless priors, one level": (priors[0.0], THESIS),
        "tuned priors, one level": (priors[near], THESIS),
        "tuned priors, ten levels": ([priors[sigma] for sigma in LEVELS], {}),
    }
    for name, (chosen, settings) in schedules.items():
        study.add(name, measure=partial(separated, chosen, **settings))
    study.add("tuned priors, variational", measure=partial(inferred, priors[near], near))
