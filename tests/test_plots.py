"""Figures say what they should."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib import pyplot as plt

from dds_fast import plots
from dds_fast.notes.found import Note
from dds_fast.plots.figure import beside_results


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
    assert bars(ax) == [
        [0.75, 0.5, 2.25, 1.5],
        [3.25, 0.5, 4.75, 1.5],
        [-0.25, 1.5, 0.25, 2.5],
    ]


def bars(ax: plt.Axes) -> list[list[float]]:
    """Left, bottom, right and top of what is drawn over the activations."""
    return [
        path.get_extents().extents.round(6).tolist()
        for collection in ax.collections
        for path in collection.get_paths()
    ]


def test_notes_are_bars_in_their_rows() -> None:
    notes = [Note(0.5, 1.5, 61, 64), Note(2.0, 3.0, 60, 64), Note(2.5, 4.0, 61, 64)]
    ax = plots.piano_roll(np.ones((3, 10)), (60, 61, 62), np.arange(10) * 0.5, notes=notes)
    assert sorted(bars(ax)) == [[0.5, 0.8, 1.5, 1.2], [2, -0.2, 3, 0.2], [2.5, 0.8, 4, 1.2]]


class TestCrop:
    PIANO = range(36, 96)

    def rows(self, sources: Sequence[int | str] = PIANO, **options: Any) -> tuple[float, float]:
        H = np.ones((len(sources), 9))
        return plots.piano_roll(H, sources, np.arange(9) * 0.1, **options).get_ylim()

    def roll(self, *pitches: int) -> np.ndarray:
        return np.isin(self.PIANO, pitches)[:, None] & np.ones(9, bool)

    def test_an_octave_around_the_notes(self) -> None:
        notes = [Note(0, 0.1, 60, 64), Note(0.2, 0.4, 64, 64)]
        assert self.rows(notes=notes) == (48 - 36 - 0.5, 76 - 36 + 0.5)

    def test_an_octave_around_the_reference(self) -> None:
        assert self.rows(roll=self.roll(55, 72)) == (43 - 36 - 0.5, 84 - 36 + 0.5)
        found = [Note(0, 0.1, 80, 64)]
        assert self.rows(roll=self.roll(55, 72), notes=found) == (43 - 36 - 0.5, 92 - 36 + 0.5)

    def test_not_beyond_the_sources(self) -> None:
        assert self.rows(notes=[Note(0, 0.1, 40, 64)]) == (-0.5, 52 - 36 + 0.5)

    def test_nothing_in_use_shows_everything(self) -> None:
        assert self.rows() == self.rows(roll=self.roll()) == (-0.5, 59.5)

    def test_unless_unwanted(self) -> None:
        assert self.rows(notes=[Note(0, 0.1, 60, 64)], crop=False) == (-0.5, 59.5)

    def test_named_sources_are_all_shown(self) -> None:
        assert self.rows(("kick", 60), notes=[Note(0, 0.1, "kick", 64)]) == (-0.5, 1.5)


def test_titles_are_literal() -> None:
    ax = plots.piano_roll(np.ones((2, 9)), (60, 61), np.arange(9) * 0.1, title=r"$\take_1$ 2$")
    ax.figure.canvas.draw()
    assert ax.get_title() == r"$\take_1$ 2$"
    assert not ax.title.get_parse_math()


def test_names_are_literal_and_need_no_encoding() -> None:
    sources = ("$x^$", "a$")
    ax = plots.piano_roll(np.ones((2, 9)), sources, np.arange(9) * 0.1, title="b\udcff")
    plots.cross_likelihood(np.eye(2), sources).figure.canvas.draw()
    ax.figure.canvas.draw()
    assert ax.get_title() == "b?"
    assert [tick.get_text() for tick in ax.get_yticklabels()] == [r"\$x^\$", r"a\$"]


def test_figures_for_files_are_not_pyplot_s(tmp_path: Path) -> None:
    with beside_results(tmp_path / "cost.png") as path:
        plots.save_figure(plots.cost(np.ones(3)), path)
    real = np.ones((2, 3, 8))
    with beside_results(tmp_path / "samples.png") as path:
        plots.save_figure(plots.samples(real, real, (60, 64), np.arange(8.0)), path)
        assert plt.get_fignums() == []
    assert {path.name for path in tmp_path.iterdir()} == {"cost.png", "samples.png"}
    plots.cost(np.ones(3))
    assert len(plt.get_fignums()) == 1


def test_a_picture_beside_results_may_fail(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "cost.png"
    path.touch()  # of earlier results
    with pytest.raises(FileExistsError), beside_results(path):
        plots.save_figure(plots.cost(np.ones(3)), path)
    with caplog.at_level(logging.WARNING, logger="dds_fast"), beside_results(path):
        raise ZeroDivisionError("no picture")
    assert not path.exists()
    assert "cost.png is missing: no picture" in caplog.text


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


def test_cross_likelihood_names_rows_and_columns_and_marks_the_lead() -> None:
    matrix = np.array([[2.0, -50.0], [1.5, 1.0]])
    ax = plots.cross_likelihood(matrix, ("sin", 60))
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["sin", "C4"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("source", "prior of")
    np.testing.assert_array_equal(ax.images[0].get_array(), [[0, 52], [-0.5, 0]])
    assert {text.get_text(): text.get_position() for text in ax.texts} == {
        "2": (0, 0),
        "-50": (1, 0),
        "1.5": (0, 1),
        "1": (1, 1),
    }
    assert not plots.cross_likelihood(np.zeros((12, 12)), range(60, 72)).texts
