"""Figures say what they should."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from matplotlib import pyplot as plt

from dds_fast import plots


@pytest.fixture(autouse=True)
def closed_figures() -> Iterator[None]:
    yield
    plt.close("all")


def test_note_names_on_the_axis() -> None:
    ax = plots.piano_roll(np.zeros((60, 9)), range(36, 96), np.arange(9) * 0.032)
    names = [tick.get_text() for tick in ax.get_yticklabels()]
    rows = dict(zip(names, ax.get_yticks(), strict=True))
    assert (rows["C2"], rows["C4"], rows["A4"]) == (0, 24, 33)
    assert ax.get_xlabel() == "time in seconds"


def test_other_sources_by_name() -> None:
    ax = plots.piano_roll(np.zeros((2, 9)), ("kick", "snare"), np.arange(9) * 0.1)
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["kick", "snare"]


def test_reference_notes_are_outlined_where_they_sound() -> None:
    roll = np.zeros((3, 10), dtype=bool)
    roll[1, 2:5] = roll[1, 7:] = roll[2, 0] = True
    ax = plots.piano_roll(np.ones((3, 10)), (60, 61, 62), np.arange(10) * 0.5, roll=roll)
    frames = [
        path.get_extents().extents.tolist()
        for collection in ax.collections
        for path in collection.get_paths()
    ]
    assert frames == [
        [0.75, 0.5, 2.25, 1.5],
        [3.25, 0.5, 4.75, 1.5],
        [-0.25, 1.5, 0.25, 2.5],
    ]


def test_cost_is_drawn_per_step() -> None:
    (line,) = plots.cost(np.array([3.0, 2.0, 1.5])).lines
    assert line.get_xydata().tolist() == [[0, 3.0], [1, 2.0], [2, 1.5]]


def test_templates_are_named_and_scaled() -> None:
    W = np.array([[0.0, 4.0], [2.0, 1.0], [1.0, 0.0]])
    ax = plots.templates(W, np.array([10.0, 20.0, 30.0]), (60, "noise"), max_frequency=25)
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["C4", "noise"]
    np.testing.assert_array_equal(ax.images[0].get_array(), W / [2, 4])
    assert ax.get_ylim() == (0, 25) and ax.images[0].get_extent() == [-0.5, 1.5, 5, 35]


def test_activations_are_named() -> None:
    ax = plots.activations(np.eye(2, 5), np.arange(5) * 0.1, (60, 61))
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["C4", "C♯4"]
    np.testing.assert_allclose(ax.images[0].get_extent(), [-0.05, 0.45, -0.5, 1.5])


def test_masks_have_one_scale() -> None:
    ax = plots.mask(np.full((3, 5), 0.25), np.arange(5) * 0.1, np.array([10.0, 20.0, 30.0]))
    assert ax.images[0].get_clim() == (0, 1)


def test_a_given_axes_is_used() -> None:
    ax = plt.subplots()[1]
    assert plots.mask(np.zeros((2, 3)), np.arange(3.0), np.arange(2.0), ax=ax) is ax
    assert plots.piano_roll(np.zeros((2, 3)), (60, 61), np.arange(3.0), ax=ax) is ax
