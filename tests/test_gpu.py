"""What only a GPU can show of whole searches: ``pytest -m gpu``."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny import CONFIG, KINDS, dictionary

import dds_fast
from dds_fast import metrics
from dds_fast.command.demo import DEMO_CLIP
from dds_fast.datasets import load_labels

pytestmark = pytest.mark.gpu

STEPS = 20
# Rounding decides more with every step; the interpreter's first steps differ by 1.1e-7.
COST = 1e-4


def recording() -> dds_fast.Spectrogram:
    """No sound, so that nothing which reads sound is needed."""
    values = np.random.default_rng(0).random((CONFIG.n_features, 20), dtype=np.float32)
    return dds_fast.Spectrogram(values, CONFIG)


CASES = [(kind, "triton") for kind in KINDS] + [("dds1", "cuda"), ("dds2", "cuda")]


@pytest.mark.parametrize("preset", [None, "paper"])
@pytest.mark.parametrize(("kind", "backend"), CASES)
def test_the_first_steps_are_those_of_the_cpu(kind: str, backend: str, preset: str | None) -> None:
    """Staged, but for "dds1", and the paper's search."""
    options = {"max_steps": STEPS, "preset": preset}
    expected = dds_fast.decompose(recording(), dictionary(kind), device="cpu", **options)
    options |= {"device": "cuda", "backend": backend}
    actual = dds_fast.decompose(recording(), dictionary(kind), **options)
    np.testing.assert_allclose(actual.history, expected.history, rtol=COST)


@pytest.mark.parametrize("kind", ["nmf", "dds2", "dds3"])
def test_a_staged_search_finds_what_the_cpu_finds(kind: str) -> None:
    """To its end: past the captures, and where entries are left out."""
    found = [
        dds_fast.decompose(recording(), dictionary(kind), device=device)
        for device in ("cuda", "cpu")
    ]
    actual, expected = found
    assert actual.settings["algorithm"] == "staged"
    assert actual.stop_reason == expected.stop_reason == "max_steps"
    np.testing.assert_allclose(actual.history, expected.history, rtol=1e-3)
    loudest = expected.source_activations.max()
    np.testing.assert_allclose(
        actual.source_activations, expected.source_activations, rtol=0, atol=0.02 * loudest
    )


@pytest.mark.parametrize(("kind", "backend"), CASES)
def test_same_bits_from_run_to_run(kind: str, backend: str) -> None:
    options = {"max_steps": STEPS, "device": "cuda", "backend": backend}
    first, second = (dds_fast.decompose(recording(), dictionary(kind), **options) for _ in range(2))
    np.testing.assert_array_equal(first.activations, second.activations)
    np.testing.assert_array_equal(first.history, second.history)


@pytest.mark.parametrize("precision", ["float32", "tf32", "bf16x3", "bfloat16"])
def test_the_packaged_piano_attributes_as_on_the_cpu(precision: str) -> None:
    pytest.importorskip("soundfile")
    pytest.importorskip("librosa")
    labels = load_labels(DEMO_CLIP.with_suffix(".txt"))
    shares = []
    for device, name in (("cpu", "float32"), ("cuda", precision)):
        result = dds_fast.decompose(DEMO_CLIP, device=device, precision=name, max_steps=300)
        roll = labels.roll(result.sources, result.times)
        shares.append(metrics.psa(result.source_activations, roll))
    assert shares[1] == pytest.approx(shares[0], abs=0.02)


def test_memory_does_not_grow_from_search_to_search() -> None:
    options = {"max_steps": 30, "device": "cuda"}
    dds_fast.decompose(recording(), dictionary("dds2"), **options)
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    for _ in range(3):
        dds_fast.decompose(recording(), dictionary("dds2"), **options)
    assert torch.cuda.memory_allocated() <= before + (1 << 20)
