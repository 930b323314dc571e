"""Numbers that users give: which are legal, how they are refused, and what the settings hold."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from tiny import dictionary, tone

import dds_fast
from dds_fast import SpectrogramConfig, scalars
from dds_fast.flows import ConditionalGlow, FloWaveNetBank, RealNVPBank
from dds_fast.flows.training.loop import TrainingConfig
from dds_fast.methods import langevin, nae, score_informed, variational
from dds_fast.methods.priors import GaussianPrior
from dds_fast.nmf import NMF, factorize
from dds_fast.notes.found import Detection
from dds_fast.notes.score import Labels
from dds_fast.search.settings import DEFAULT

SCORE = Labels(np.array([[0.0, 0.2]]), np.array([60]), np.array([64.0]))
NUMPY_INTEGERS = [np.int8, np.uint8, np.int32, np.int64, np.array, torch.tensor, float, np.float32]
NUMPY_REALS = [np.float16, np.float32, np.float64, np.int64, np.array, torch.tensor, int]


@pytest.mark.parametrize("make", NUMPY_INTEGERS)
def test_whole_numbers_of_any_kind_are_integers(make: Callable[[int], Any]) -> None:
    number = scalars.integer("n", make(3), least=1)
    assert number == 3 and type(number) is int


@pytest.mark.parametrize("make", NUMPY_REALS)
@pytest.mark.parametrize("check", [scalars.real, scalars.positive, scalars.not_negative])
def test_numbers_of_any_kind_are_reals(make: Callable[[int], Any], check: Any) -> None:
    number = check("x", make(2))
    assert number == 2 and type(number) is float


@pytest.mark.parametrize(
    ("check", "value", "message"),
    [
        (scalars.integer, 2.5, "x must be an integer, not 2.5"),
        (scalars.integer, np.nan, "x must be an integer, not nan"),
        (scalars.integer, np.inf, "x must be an integer, not inf"),
        (scalars.integer, True, "x must be an integer, not True"),
        (scalars.integer, np.bool_(True), "x must be an integer"),
        (scalars.integer, "3", "x must be an integer, not '3'"),
        (scalars.integer, None, "x must be an integer, not None"),
        (scalars.integer, np.array([3]), "x must be an integer"),
        (partial(scalars.integer, least=1), 0, "x must be at least 1, not 0"),
        (partial(scalars.integer, least=1), np.int64(0), "x must be at least 1"),
        (scalars.real, "16000", "x must be a number, not '16000'"),
        (scalars.real, True, "x must be a number, not True"),
        (scalars.real, 1j, "x must be a number"),
        (scalars.real, np.nan, "x must be finite, not nan"),
        (partial(scalars.real, least=1.0), 0.5, "x must be at least 1.0, not 0.5"),
        (scalars.positive, 0.0, "x must be finite and positive, not 0.0"),
        (scalars.positive, np.inf, "x must be finite and positive, not inf"),
        (scalars.positive, [1.0], "x must be a number"),
        (scalars.not_negative, -1, "x must be finite and not negative, not -1"),
        (scalars.not_negative, np.nan, "x must be finite and not negative, not nan"),
        (scalars.flag, 1, "x must be True or False, not 1"),
        (scalars.pair, 3.0, "x must be two numbers, not 3.0"),
        (scalars.pair, "ab", "x must be two numbers"),
        (scalars.pair, (1, 2, 3), "x must be two numbers"),
        (scalars.pair, (1, "2"), "x must be a number, not '2'"),
    ],
)
def test_others_are_refused(check: Any, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        check("x", value)


def test_pairs_and_flags() -> None:
    assert scalars.pair("x", np.array([1, 2])) == scalars.pair("x", [1.0, 2.0]) == (1.0, 2.0)
    assert scalars.flag("x", np.bool_(True)) is True and scalars.flag("x", False) is False


def decompose(**options: Any) -> Any:
    return dds_fast.decompose(tone(), dictionary("dds3"), **{"sr": 16000, "max_steps": 1} | options)


def informed(**options: Any) -> Any:
    return score_informed.decompose(tone(), SCORE, **{"sr": 16000, "n_steps": 1} | options)


def fit(**options: Any) -> Any:
    notes = {60: np.ones((6, 16), np.float32)}
    return dds_fast.fit(notes, **{"max_epochs": 1, "n_steps": 1, "width": 4, "depth": 1} | options)


def samples(module: Any, **options: Any) -> Any:
    prior = GaussianPrior(torch.zeros(2, 3), torch.eye(3).repeat(2, 1, 1))
    return module.separate(np.ones(3), prior, **{"n_steps": 1} | options)


WRONG = [
    (decompose, "sr", "16000"),
    (decompose, "max_steps", "3"),
    (decompose, "max_steps", True),
    (decompose, "n_components", "2"),
    (decompose, "step_size", "small"),
    (decompose, "penalty", None.__class__),
    (decompose, "sparsity", np.nan),
    (decompose, "random_state", "seed"),
    (decompose, "random_state", 0.5),
    (informed, "sr", "16000"),
    (informed, "n_steps", 2.5),
    (informed, "sparsity", "none"),
    (informed, "note_tolerance", 0.2),
    (informed, "align", "yes"),
    (informed, "random_state", None),
    (fit, "max_epochs", "3"),
    (fit, "learning_rate", "1e-3"),
    (fit, "batch_size", 2.5),
    (fit, "n_codes", "many"),
    (fit, "random_state", "0"),
    (fit, "width", "4"),
    (fit, "depth", -1),
    (partial(factorize, np.ones((4, 5)), 2), "n_steps", "9"),
    (partial(factorize, np.ones((4, 5)), 2), "tolerance", -1),
    (partial(factorize, np.ones((4, 5)), 2), "random_state", "0"),
    (partial(factorize, np.ones((4, 5))), "n_components", "2"),
    (partial(nae.fit, np.ones((4, 5))), "n_components", 1.5),
    (partial(nae.fit, np.ones((4, 5)), 2), "level", "loud"),
    (partial(nae.constrained, np.ones((4, 5)), np.ones((4, 2))), "step_size", "1"),
    (partial(samples, langevin), "n_steps", 1.5),
    (partial(samples, langevin), "step_size", "small"),
    (partial(samples, langevin), "levels", ["high"]),
    (partial(samples, langevin), "bounds", 1.0),
    (partial(samples, variational), "sigma", "0.1"),
    (partial(samples, variational, sigma=0.1), "n_samples", "1"),
    (SpectrogramConfig, "sr", "16000"),
    (SpectrogramConfig, "n_fft", None),
    (SpectrogramConfig, "gamma", "1e4"),
    (partial(Detection, 0.4, 0.1), "max_gap", "0.1"),
    (partial(RealNVPBank, 2, 8), "n_steps", "2"),
    (partial(RealNVPBank, 2, n_features=8), "width", 0),
    (partial(ConditionalGlow, 2, 8), "depth", 1.5),
    (partial(FloWaveNetBank, 2), "n_blocks", True),
]


@pytest.mark.parametrize(("call", "name", "value"), WRONG)
def test_wrong_numbers_are_named(call: Any, name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name):
        call(**{name: value})


class TestSettingsFromNumpy:
    """A grid or a config file gives NumPy scalars: everything works, and can be saved."""

    def test_decompose(self, tmp_path: Any) -> None:
        options = {
            "sr": np.int64(16000),
            "tuning": np.float32(0),
            "max_steps": np.int64(2),
            "n_components": np.int32(2),
            "step_size": np.float32(0.01),
            "penalty": np.float64(1e-3),
            "sparsity": np.array(0.5),
            "random_state": np.uint8(1),
        }
        result = decompose(**options)
        result.save(tmp_path / "r.npz")
        plain = decompose(**{name: value.item() for name, value in options.items()})
        np.testing.assert_array_equal(result.activations, plain.activations)
        assert result.settings == plain.settings

    def test_score_informed(self, tmp_path: Any) -> None:
        result = informed(
            n_steps=np.int64(2),
            sparsity=np.float32(0.1),
            note_tolerance=np.array([0.1, 0.2]),
            onset_tolerance=[np.float32(0.3), 0],
            random_state=np.int64(1),
            onset_templates=np.bool_(True),
            pitch_tolerance=np.float32(0.05),
            tolerance=np.float64(0),
        )
        result.save(tmp_path / "r.npz")
        assert result.settings["note_tolerance"] == (0.1, 0.2)

    def test_fit(self, tmp_path: Any) -> None:
        made = fit(
            max_epochs=np.int64(1),
            learning_rate=np.float32(1e-3),
            batch_size=np.int16(4),
            n_codes=np.int64(3),
            random_state=np.int64(1),
            width=np.int64(4),
        )
        made.save(tmp_path / "d.safetensors")
        assert dds_fast.load(tmp_path / "d.safetensors").codes.shape[1] == 3

    def test_autoencoder(self, tmp_path: Any) -> None:
        model = nae.fit(
            np.ones((4, 5)),
            np.int64(2),
            penalty=np.float32(0.1),
            level=np.float64(1),
            n_steps=np.int64(3),
            tolerance=np.float32(0),
            random_state=np.int64(1),
        )
        model.save(tmp_path / "m.safetensors")

    def test_nmf(self) -> None:
        X = np.random.default_rng(0).random((6, 8))
        found = NMF(np.int64(2), sparsity=np.float32(0.5), n_steps=np.int32(3)).fit_transform(X)
        plain = NMF(2, sparsity=0.5, n_steps=3).fit_transform(X)
        np.testing.assert_array_equal(found, plain)

    @pytest.mark.parametrize(
        "settings",
        [
            SpectrogramConfig(sr=np.int64(16000), n_fft=np.int32(64), gamma=np.float32(10)),
            Detection(np.float32(0.4), np.float64(0.1), max_gap=np.int64(0)),
            TrainingConfig(
                np.int64(3), np.float32(1e-3), True, patience=np.int8(2), random_state=np.int64(1)
            ),
            DEFAULT["dds3"].with_overrides(
                "dds3", max_steps=np.int64(3), floor=np.float32(0.1), adapt=np.bool_(False)
            ),
        ],
        ids=lambda settings: type(settings).__name__,
    )
    def test_settings_hold_plain_numbers(self, settings: Any) -> None:
        json.dumps(asdict(settings))
        assert not any(isinstance(value, np.generic) for value in asdict(settings).values())
