"""What speaks for a source, on spectra made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from dds_fast.temporal import features as module
from dds_fast.temporal.features import NAMES, REACH, features, subframe_span, subframes

RNG = np.random.default_rng(0)


def found(W: np.ndarray, H: np.ndarray, X: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Features by name of sources with one component each, ``(L, T)``."""
    X = W @ H if X is None else X
    labels = np.arange(W.shape[1])
    activations = H * np.linalg.norm(W, axis=0)[:, None]
    rows, values = features(X, subframes(X), X, W, H, labels, activations)
    assert rows.tolist() == labels.tolist()
    return dict(zip(NAMES, np.moveaxis(values, 1, 0), strict=True))


def test_of_sources_apart_each_explains_its_own() -> None:
    H = np.array([[1.0, 1.0, 0.0], [0.0, 0.5, 2.0]])
    values = found(np.eye(6)[:, :2], H)
    np.testing.assert_allclose(values["share"], H / H.sum(0), atol=1e-2)
    np.testing.assert_allclose(values["dominance"][0, :2], 1, rtol=1e-4)
    np.testing.assert_allclose(values["majority"][0, :2], 1, rtol=1e-4)
    # Without a source the error grows by half its energy.
    np.testing.assert_allclose(values["necessity"][0, :2], 0.5, rtol=1e-4)
    np.testing.assert_allclose(values["residual"], 0, atol=1e-6)
    # Of magnitudes that are X itself: natural logs of the parts' own norms.
    np.testing.assert_allclose(values["own level"][1, 1:], np.log([0.5, 2.0]), atol=3e-3)


def test_a_ghost_of_another_source_is_dominated_and_has_a_rival() -> None:
    W = np.array([[1.0, 0.9], [1.0, 1.0], [0.0, 0.1]])
    values = found(W, np.array([[1.0], [0.1]]))
    assert values["dominance"][0] > 0.8 > 0.2 > values["dominance"][1]
    assert values["rival"][1] > 1 > 0 > values["rival"][0]


def test_a_missing_source_is_needed_the_more() -> None:
    W, H = np.eye(4)[:, :2], np.array([[1.0], [1.0]])
    more = W @ np.array([[1.5], [1.0]])
    assert found(W, H, more)["necessity"][0] == pytest.approx(1.0)


def test_rises_are_those_of_the_source_and_tell_when() -> None:
    W, H = np.eye(4)[:, :2], np.zeros((2, 8))
    H[0, 3:], H[1] = 1.0, 1.0
    X = W @ H
    first, end = subframe_span(0, 8)
    times = np.arange(first, end) / module.N_SUBFRAMES
    fine = W @ np.stack([np.where(times >= 3.25, 1.0, 0.0), np.ones(len(times))])
    _, values = features(X, fine, X, W, H, np.array([0, 1]), H)
    rises = dict(zip(NAMES, np.moveaxis(values, 1, 0), strict=True))
    # Half a frame after 3.25 frames is the last sub-frame whose difference reaches over it.
    struck = {offset: rises[f"rise at {offset:+d}/4 frames"][0, 3] for offset in module.OFFSETS}
    assert [offset for offset, value in struck.items() if value > -1] == [1, 2]
    assert all(rises[f"rise at {offset:+d}/4 frames"][1].max() < -3 for offset in module.OFFSETS)


def test_sources_without_a_component_are_left_out() -> None:
    X = RNG.random((5, 7))
    W, H = RNG.random((5, 3)), RNG.random((3, 7))
    rows, values = features(X, subframes(X), X, W, H, np.array([1, 4, 4]), RNG.random((6, 7)))
    assert rows.tolist() == [1, 4]
    assert values.shape == (2, len(NAMES), 7)
    assert np.isfinite(values).all()
    rows, values = features(
        X, subframes(X), X, W[:, :0], H[:0], np.array([], int), np.zeros((6, 7))
    )
    assert values.shape == (0, len(NAMES), 7)


def test_silence_is_finite() -> None:
    values = found(RNG.random((5, 2)), np.zeros((2, 4)), np.zeros((5, 4)))
    assert all(np.isfinite(value).all() for value in values.values())


def test_subframes_lie_between_the_frames() -> None:
    X = np.array([[0.0, 4.0, 8.0]])
    first, _ = subframe_span(0, 3)
    between = subframes(X)[0, -first:]
    np.testing.assert_allclose(between[:9], np.arange(9))
    assert subframes(X).shape[1] == subframe_span(0, 3)[1] - first
    assert np.all(subframes(X)[0, :REACH] == 0)
