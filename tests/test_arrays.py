"""Arrays in and out, devices, and results that do not depend on where a function is called."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import KINDS, SOURCES, dictionary, tone

import dds_fast
from dds_fast import SpectrogramConfig, arrays, audio, codes, nmf, ops
from dds_fast.arrays import Kind
from dds_fast.datasets.notes import NoteFrames
from dds_fast.inspection import inspect
from dds_fast.methods import amortised, langevin, nae, score_informed, variational
from dds_fast.methods.priors import GaussianPrior, cross_likelihood
from dds_fast.notes.score import Labels

RNG = np.random.default_rng(0)
X = RNG.random((12, 9))
W = RNG.random((12, 3))


class TestAsTensor:
    def test_any_array_becomes_a_plain_tensor(self) -> None:
        for given in (X, X.tolist(), X.astype(">f8"), X[::-1][::-1], np.asfortranarray(X)):
            tensor = arrays.as_tensor("X", given)
            np.testing.assert_array_equal(tensor.numpy(), X)

    def test_arrays_are_copied(self) -> None:
        given = X.copy()
        given.flags.writeable = False
        arrays.as_tensor("X", given).zero_()
        assert given.all()

    def test_lazy_bits_are_resolved_and_graphs_left(self) -> None:
        z = torch.tensor([1.0 + 2.0j, 3.0 - 4.0j])
        negated = z.conj().imag
        assert negated.is_neg()
        tensor = arrays.as_tensor("X", negated)
        assert not tensor.is_neg() and tensor.tolist() == [-2.0, 4.0]
        assert not arrays.as_tensor("X", torch.ones(2, requires_grad=True).exp()).requires_grad
        assert arrays.as_numpy(negated).tolist() == [-2.0, 4.0]

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_halves_are_widened(self, dtype: torch.dtype) -> None:
        half = torch.ones(2, dtype=dtype)
        assert arrays.as_tensor("X", half).dtype == Kind.of(half).dtype == torch.float32
        assert arrays.as_numpy(half).tolist() == [1, 1]

    @pytest.mark.parametrize(
        "given",
        [
            ["a", "b"],
            np.array([{}, None]),
            object(),
            [[1.0], [1.0, 2.0]],
            torch.eye(3).to_sparse(),
            pytest.importorskip("scipy.sparse").csr_matrix(np.eye(3)),
        ],
        ids=["strings", "objects", "object", "ragged", "sparse tensor", "sparse matrix"],
    )
    def test_what_is_no_array_is_refused(self, given: Any) -> None:
        with pytest.raises(ValueError, match="mask must be a dense"):
            arrays.as_tensor("mask", given)


class TestKind:
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_arrays_go_back_as_arrays(self, dtype: type) -> None:
        back = Kind.of(np.ones(2, dtype)).give_back(torch.ones(3, dtype=torch.float64))
        assert isinstance(back, np.ndarray) and back.dtype == dtype

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_tensors_go_back_as_tensors(self, dtype: torch.dtype) -> None:
        back = Kind.of(torch.ones(2, dtype=dtype)).give_back(torch.ones(3, requires_grad=True))
        assert isinstance(back, torch.Tensor) and back.dtype == dtype and not back.requires_grad

    def test_integers_do_not_round_results(self) -> None:
        assert Kind.of([1, 2]).give_back(torch.tensor([0.5])).tolist() == [0.5]
        assert Kind.of(X).give_back(None) is None


def test_device() -> None:
    cpu, meta = torch.device("cpu"), torch.device("meta")
    assert arrays.device("cpu", meta) == cpu
    assert arrays.device(None, meta) == meta
    assert arrays.device().type == ("cuda" if torch.cuda.is_available() else "cpu")
    if not torch.cuda.is_available():
        with pytest.raises(RuntimeError, match="'cuda' was asked for, but torch sees no CUDA"):
            arrays.device("cuda")


@pytest.mark.parametrize("make", [np.asarray, torch.tensor])
class TestCheckEntries:
    @pytest.mark.parametrize(
        ("bad", "problem"),
        [(np.nan, "NaN or infinite"), (-np.inf, "NaN or infinite"), (-1, "nega")],
    )
    def test_counted_and_placed(self, make: Any, bad: float, problem: str) -> None:
        entries = X.copy()
        entries[2, 7] = entries[5, 3] = bad
        with pytest.raises(ValueError, match=rf"X holds 2 {problem}.*, first at \(2, 7\)"):
            arrays.check_entries("X", make(entries))
        with pytest.raises(
            ValueError, match=rf"X holds 2 {problem}.* values, the first at frame 3"
        ):
            arrays.check_entries("X", make(entries), axis="frame")

    def test_legal(self, make: Any) -> None:
        arrays.check_entries("X", make(X))
        arrays.check_entries("X", make(-X), negative=True)
        arrays.check_entries("X", make(np.empty((3, 0))))


SCORE = Labels(np.array([[0.0, 0.2], [0.0, 0.2]]), np.array([60, 67]), np.ones(2))
CONFIG = SpectrogramConfig(n_fft=64, hop=16, gamma=0, window="sqrt_hann")
MODEL = nae.fit(RNG.random((32, 20)), 3, n_steps=3, spectrogram=CONFIG)
PRIOR = GaussianPrior(torch.zeros(2, 3), torch.eye(3).repeat(2, 1, 1))
MIXTURES = RNG.random((4, 3)).astype(np.float32)
NOTES = {source: RNG.random((12, 64), dtype=np.float32) for source in SOURCES}
DICTIONARIES = {kind: dictionary(kind) for kind in KINDS}
FROZEN = DICTIONARIES["dds2"].flow.freeze()
Z = torch.from_numpy(RNG.random((FROZEN.n_groups, 4, FROZEN.n_features), np.float32))


def found(result: dds_fast.Decomposition) -> list[Any]:
    return [*result, result.source_activations, result.history, result.reconstruction()]


def decomposed(kind: str, **options: Any) -> list[Any]:
    fresh = DICTIONARIES[kind].as_kind(kind)  # with nothing cached
    return found(dds_fast.decompose(tone(), fresh, sr=16000, max_steps=3, **options))


def learned(kind: str) -> list[Any]:
    made = dds_fast.fit(NOTES, kind, max_epochs=1, n_steps=2, width=4, depth=1, random_state=1)
    return [*made.flow.state_dict().values(), made.codes]


def with_gradient(function: Callable[..., Any], *inputs: torch.Tensor) -> list[Any]:
    inputs = tuple(tensor.detach().requires_grad_() for tensor in inputs)
    results = function(*inputs)
    results = results if isinstance(results, tuple) else (results,)
    gradients = torch.autograd.grad([r.sum() for r in results], inputs)
    return [*(r.detach() for r in results), *gradients]


def loaded(tmp_path: Path) -> list[Any]:
    DICTIONARIES["dds3"].save(tmp_path / "d.safetensors", overwrite=True)
    MODEL.save(tmp_path / "m.safetensors", overwrite=True)
    flow = dds_fast.load(tmp_path / "d.safetensors").flow
    return [*flow.state_dict().values(), *nae.load(tmp_path / "m.safetensors").weights]


def autoencoder() -> list[Any]:
    model = nae.fit(X, 3, n_steps=3, depth=2)
    H, costs = nae.activations(X, [model, model], n_steps=3)
    return [*model.weights, model.encode(X), model.decode(model.encode(X)), *H, costs]


def samples() -> list[Any]:
    posterior = variational.separate(MIXTURES, PRIOR, sigma=0.1, n_steps=3)
    drawn = langevin.separate(MIXTURES, PRIOR, n_steps=3, weights=[0.5, 0.5])
    learned = amortised.learn(MIXTURES, PRIOR, sigma=0.1, n_steps=3)
    read = learned.separate(MIXTURES)
    clips = torch.from_numpy(MIXTURES).expand(2, -1, -1)
    return [
        posterior.mean,
        posterior.sigma,
        posterior.elbo,
        drawn.stems,
        *(learned.history, read.mean, read.sigma, read.elbo),
        cross_likelihood(PRIOR, clips),
    ]


CALLS: dict[str, Callable[[Path], list[Any]]] = {
    **{
        f"decompose {kind} {preset}": lambda _, k=kind, p=preset: decomposed(k, preset=p)
        for kind, preset in [
            *((kind, preset) for kind in ("nmf", "dds2", "dds3") for preset in (None, "paper")),
            ("dds1", None),
        ]
    },
    "decompose, reference": lambda _: decomposed("dds3", backend="reference"),
    "separate": lambda _: list(
        dds_fast.separate(tone(), SCORE, sr=16000, config=CONFIG, n_steps=3).values()
    ),
    "fit dds2": lambda _: learned("dds2"),
    "fit dds3": lambda _: learned("dds3"),
    "load": loaded,
    "flow_decode": lambda _: with_gradient(lambda z: ops.flow_decode(FROZEN, z), Z),
    "flow_decode, reference": lambda _: with_gradient(
        lambda z: ops.flow_decode(FROZEN, z, backend="reference"), Z
    ),
    "spectrogram": lambda _: [audio.spectrogram(tone(), CONFIG).values],
    "tensors": lambda _: found(
        dds_fast.decompose(
            torch.from_numpy(tone()), DICTIONARIES["dds3"], sr=16000, n_components=2, max_steps=3
        )
    ),
    "flow_encode": lambda _: with_gradient(lambda x: ops.flow_encode(FROZEN, x), Z),
    "objective": lambda _: with_gradient(
        lambda W, H: ops.objective(
            torch.from_numpy(X), W, H, H[:, 0].detach(), penalty=0.1, backend="reference"
        ),
        torch.from_numpy(W),
        torch.from_numpy(np.random.default_rng(1).random((3, 9))),
    ),
    "factorize": lambda _: list(nmf.factorize(X.astype(np.float32), 3, n_steps=3)[:3]),
    "factorize, reference": lambda _: list(
        nmf.factorize(X, 3, n_steps=3, loss="is", backend="reference")[:3]
    ),
    "activations": lambda _: list(nmf.activations(X, W)),
    "activations, kl": lambda _: list(nmf.activations(X.astype("f4"), W.astype("f4"), loss="kl")),
    "score_informed": lambda _: found(
        score_informed.decompose(tone(), SCORE, sr=16000, config=CONFIG, n_steps=3)
    ),
    "nae": lambda _: autoencoder(),
    "nae.separate": lambda _: [
        nae.separate(tone(), {"a": MODEL, "b": MODEL}, sr=16000, n_steps=3).stems
    ],
    "nae.constrained": lambda _: [
        nae.constrained(X, W, n_steps=3).activations,
        nae.constrained(X, W, n_steps=3, updates="projected").activations,
    ],
    "samplers": lambda _: samples(),
    "inspect": lambda _: [inspect(DICTIONARIES["dds3"], NoteFrames.from_mapping(NOTES)).bits],
    "choose": lambda _: [codes.choose(DICTIONARIES["dds2"], NoteFrames.from_mapping(NOTES), 4)],
}
FOREIGN: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "meta": lambda: torch.device("meta"),
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
}


@pytest.mark.parametrize("rules", FOREIGN)
@pytest.mark.parametrize("name", CALLS)
def test_own_rules(name: str, rules: str, tmp_path: Path) -> None:
    """A foreign default device, or autocast, changes nothing."""
    expected = [arrays.as_numpy(array) for array in CALLS[name](tmp_path)]
    with FOREIGN[rules]():
        results = CALLS[name](tmp_path)
    for result, wanted in zip(results, expected, strict=True):
        np.testing.assert_array_equal(arrays.as_numpy(result), wanted)


def test_own_rules_end() -> None:
    @arrays.isolated()
    def product() -> torch.Tensor:
        return torch.ones(2, 2) @ torch.ones(2, 2)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        with torch.device("meta"):
            inside, outside = product(), torch.ones(2)
        after = torch.ones(2, 2) @ torch.ones(2, 2)
    assert (inside.device.type, inside.dtype) == ("cpu", torch.float32)
    assert outside.device.type == "meta" and after.dtype == torch.bfloat16


def test_lazily_negated_rows_of_a_flow() -> None:
    negated = torch.complex(torch.zeros_like(Z), -Z).conj().imag
    assert negated.is_neg() and torch.equal(negated, Z)
    for result, wanted in zip(*(ops.flow_decode(FROZEN, z) for z in (negated, Z)), strict=True):
        assert torch.equal(result, wanted)


def lazily_negated(waveform: np.ndarray) -> torch.Tensor:
    return torch.complex(torch.zeros(len(waveform)), -torch.from_numpy(waveform)).conj().imag


@pytest.mark.parametrize(
    "given",
    [
        lambda y: np.repeat(y, 2)[::2],
        lambda y: y.astype(">f4"),
        lambda y: torch.from_numpy(np.repeat(y, 2))[::2],
        lazily_negated,
    ],
    ids=["strided array", "big-endian array", "strided tensor", "negated tensor"],
)
def test_waveforms_of_any_memory(given: Callable[[np.ndarray], Any]) -> None:
    expected, result = (
        dds_fast.decompose(y, dictionary("dds3"), sr=16000, n_components=2, max_steps=3)
        for y in (tone(), given(tone()))
    )
    np.testing.assert_array_equal(arrays.as_numpy(result.activations), expected.activations)
