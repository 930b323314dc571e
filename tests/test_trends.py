"""The nine trends: the rule, and each experiment on rows whose answer is known."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
from paper import piano_data, reproduction, runs, trends
from paper.complexity import METHODS
from paper.runs import PRESETS, Run, Runs
from paper.verdicts import FAILS, HOLDS, UNDECIDED, fact, missing, overall, paired

F_SMALL, F_LARGE = 256, 512


class TestRule:
    def test_interval_is_that_of_a_t_test(self) -> None:
        d = [0.1, 0.3, 0.2, 0.25]
        interval = scipy.stats.ttest_1samp(d, 0).confidence_interval(0.95)
        part = paired("A above B", d)
        mean = f"{np.mean(d):+.3f}"
        assert part.figures == f"{mean} [{interval.low:+.3f}, {interval.high:+.3f}], 4 pairs"
        assert part.verdict == HOLDS
        assert paired("A above B", [-x for x in d]).verdict == FAILS

    def test_undecided_says_how_many_pairs_would_decide(self) -> None:
        assert paired("", [0.3, -0.1, 0.1]).figures.endswith("3 pairs; about 75 would decide")
        assert paired("", [0.3, -0.3, 0.001]).figures.endswith("more than 1000 would decide")

    @pytest.mark.parametrize(
        ("middle", "expected"), [(0.0, HOLDS), (0.2, FAILS), (-0.2, FAILS), (0.1, UNDECIDED)]
    )
    def test_within(self, middle: float, expected: str) -> None:
        d = [middle - 0.01, middle, middle + 0.01]
        assert paired("", d, 0.1, within=True).verdict == expected

    @pytest.mark.parametrize(
        ("differences", "margin", "expected"),
        [
            ([0.1, -0.1, 0.05], 0.0, UNDECIDED),
            ([0.1], 0.0, UNDECIDED),
            ([], 0.0, UNDECIDED),
            ([-0.001, -0.002, -0.001], 0.01, HOLDS),
            ([-0.02, -0.021, -0.02], 0.01, FAILS),
            ([-0.009, -0.011, -0.01], 0.01, UNDECIDED),
            ([0.1, -0.1, 0.05], 0.01, UNDECIDED),
        ],
    )
    def test_verdicts(self, differences: list[float], margin: float, expected: str) -> None:
        assert paired("", differences, margin).verdict == expected

    def test_overall(self) -> None:
        yes, no, open_ = fact("", True, ""), fact("", False, ""), missing("")
        assert overall([yes, yes]) == HOLDS
        assert overall([yes, open_]) == UNDECIDED
        assert overall([yes, open_, no]) == FAILS
        assert (paired("", []).measured, missing("").measured, no.measured) == (False, False, True)


def row(run: Run, psa: float, sparsity: float, error: float, plain: float, **more: Any) -> dict:
    return vars(run) | {
        "kind": run.kind,
        "files": [str(run.seed)],
        "scores": {"psa": psa, "l0(0.01)": sparsity},
        "without_rescaling": {"psa": plain},
        "relative_error": error,
        **more,
    }


def as_the_paper_says(seed: int, method: str, F: int, K: int | None, P: int, wide: bool) -> dict:
    """Scores by which all claims hold, with a little noise."""
    noise = (
        0.002 * np.random.default_rng([seed, METHODS.index(method), F, K or 0, P, wide]).random()
    )
    rank = ("DDS-1", "NMF", "DDS-2", "DDS-3").index(method)
    psa = 0.3 + 0.1 * rank * F / F_LARGE + 0.02 * F / F_LARGE - 0.03 * (P - 2) - 0.02 * wide
    error = 0.3 + 0.02 * wide
    if K is not None:
        error -= 0.005 * K
        psa += {"DDS-2": -0.01, "DDS-3": 0.01}[method] * (K - 6)
    sparsity = 0.6 + 0.1 * METHODS.index(method)
    return {
        "psa": psa + noise,
        "sparsity": sparsity + noise,
        "error": error - noise,
        "plain": psa - 0.05,
    }


def record(rule: Any = as_the_paper_says) -> dict:
    """All runs of all trends, without a search."""
    budget = runs.asdict(PRESETS["quick"])
    about = {"budget": budget, "models": [], "data": "made", "description": "made"}
    rows = []
    for method, seed in itertools.product(METHODS, range(3)):
        usual = 6 if method in runs.WITH_COMPONENTS else None
        wanted = {(F_LARGE, usual, P, "32-96") for P in (2, 3, 5, 7)}
        wanted |= {(F_SMALL, usual, 2, "32-96"), (F_LARGE, usual, 2, "60-68")}
        if usual:
            wanted |= {(F_LARGE, K, 2, "32-96") for K in (1, 2)}
        for F, K, P, intensity in sorted(wanted, key=str):
            run = Run(method, F, K, f"P{P} I{intensity}", seed)
            scores = rule(seed, method, F, K, P, intensity == "32-96")
            rows.append(row(run, **scores, polyphony=P, intensity=intensity))
    cost = [{"method": "NMF", "N": n, "seconds": 1e-6 * n} for n in (1000, 2000, 4000)]
    cost += [{"method": m, "N": None, "seconds": 0.01} for m in METHODS[1:]]
    return {"about": about, "rows": rows, "cost": cost}


@pytest.mark.parametrize("number", trends.TRENDS)
def test_where_the_paper_is_right_all_trends_hold(number: int) -> None:
    parts = trends.TRENDS[number].judge(record())
    assert [part.verdict for part in parts] == [HOLDS] * len(parts), parts
    assert trends.draw(trends.TRENDS[number].panels(record())) is not None


def test_methods_are_named_on_the_axis() -> None:
    figure = trends.draw(trends.TRENDS[1].panels(record()))
    (ax,) = figure.axes
    assert [label.get_text() for label in ax.get_xticklabels()] == list(METHODS)


def turned(change: dict[str, Any]) -> Any:
    """The scores of `as_the_paper_says`, with one thing the other way round."""

    def rule(seed: int, method: str, F: int, K: int | None, P: int, wide: bool) -> dict:
        seen = {"method": method, "F": F, "K": K, "P": P, "wide": wide}
        seen |= {
            name: change["of"][name](value) for name, value in seen.items() if name in change["of"]
        }
        return as_the_paper_says(seed, *seen.values()) | change.get("also", {})

    return rule


SWAPPED = {"NMF": "DDS-1", "DDS-1": "NMF", "DDS-2": "DDS-2", "DDS-3": "DDS-3"}


@pytest.mark.parametrize(
    ("number", "change", "failing"),
    [
        (1, {"of": {"method": SWAPPED.get}}, {"NMF above DDS-1"}),
        (2, {"of": {"method": SWAPPED.get}}, {"DDS-1 above NMF"}),
        (3, {"of": {"F": lambda F: F_SMALL + F_LARGE - F}}, None),
        (4, {"of": {"wide": lambda wide: not wide}}, None),
        (6, {"of": {"K": lambda K: K and 7 - K}}, None),
        (7, {"of": {"K": lambda K: K and 7 - K}}, None),
        (8, {"of": {}, "also": {"plain": 1.0}}, None),
    ],
)
def test_what_is_the_other_way_round_does_not_hold(
    number: int, change: dict, failing: set[str] | None
) -> None:
    parts = trends.TRENDS[number].judge(record(turned(change)))
    failed = {part.claim for part in parts if part.verdict == FAILS}
    assert failed == (failing or {part.claim for part in parts})


def test_polyphony_must_be_linear() -> None:
    def steps(seed: int, method: str, F: int, K: int | None, P: int, wide: bool) -> dict:
        found = as_the_paper_says(seed, method, F, K, 2, wide)
        return found | {"psa": found["psa"] - 0.2 * (P == 3) - 0.21 * (P > 3)}

    parts = trends.TRENDS[5].judge(record(steps))
    assert {part.claim for part in parts if part.verdict == FAILS} == {
        f"{method}: linearly, bend within" for method in METHODS
    }


def test_seeds_that_search_the_same_are_one_pair() -> None:
    found = record()
    for row in found["rows"]:
        row["files"] = ["the same"]
    parts = trends.TRENDS[6].judge(found)
    assert all("one pair" in part.figures for part in parts)
    for row in found["rows"]:
        row["window"] = row["seed"]
    assert all("3 pairs" in part.figures for part in trends.TRENDS[6].judge(found))


def test_searches_that_failed_are_left_out_beside() -> None:
    found = record()
    plain = trends.parts_table(found, 8)
    assert "without searches" not in plain
    bad = next(row for row in found["rows"] if row["method"] == "DDS-1")
    bad |= {"relative_error": 2.0, "without_rescaling": {"psa": 0.9}, "last_step_size": 1e-5}
    bad |= {"cost": 8.0, "lowest_cost": 2.0}
    lines = trends.parts_table(found, 8).splitlines()
    assert lines[0].count("without searches") == 1
    assert [line.endswith("| the same |") for line in lines[2:]] == [True, False, True, True]
    (line,) = [one for one in trends.ends(found).splitlines() if one.startswith("| DDS-1")]
    assert line == "| DDS-1 | 18 | 1 of 1 | 1 of 1 | 1 | 1 |"


def test_cost_that_is_not_linear() -> None:
    found = record()
    for one in found["cost"]:
        one["seconds"] = 1e-3 if one["N"] else 0.01
    failed = [part for part in trends.TRENDS[9].judge(found) if part.verdict == FAILS]
    assert [part.claim for part in failed] == ["NMF: time of a step linear in N"]


def test_what_was_not_measured_is_undecided() -> None:
    nothing = record() | {"rows": [], "cost": []}
    for number, trend in trends.TRENDS.items():
        parts = trend.judge(nothing)
        assert overall(parts) == UNDECIDED, number
        assert any(part.measured for part in parts) == (number == 9)  # multiply-adds are counted
        assert trends.draw(trend.panels(nothing)) is None


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Trends 3, 4 and 6 on made sounds: at two F, of two intensities, over K."""
    tree = tmp_path_factory.mktemp("tree")
    data = piano_data.generated(
        tree, pitches=(60, 64, 67), n_pianos=1, polyphonies=(2,), n_chords=3
    )
    budget = runs.replace(PRESETS["check"], n_seeds=2, max_steps=2)
    made = Runs(tmp_path_factory.mktemp("out"), data, budget)
    made.make(run for n in (3, 4, 6) for run in trends.TRENDS[n].needs(made))
    return made


def test_needs_are_what_is_judged(made: Runs) -> None:
    for number in (3, 4, 6):
        assert all(part.measured for part in trends.TRENDS[number].judge(made.record))
    assert trends.TRENDS[5].needs(made) == made_at_two_notes(made)
    before = len(made.record["rows"])
    made.make(trends.TRENDS[1].needs(made))
    assert len(made.record["rows"]) == before  # shared with trend 4


def made_at_two_notes(made: Runs) -> list[Run]:
    return [run for m in METHODS for run in made.of(m, made.data.chords(2))]


def test_cost_is_measured_over_the_notes(made: Runs) -> None:
    trends.measure_cost(made)
    N = len(made.data.notes(runs.SpectrogramConfig(n_fft=128)).frames)
    of_nmf = [row["N"] for row in made.record["cost"] if row["method"] == "NMF"]
    assert of_nmf[-1] == N and of_nmf == sorted(of_nmf) and len(of_nmf) == 4
    assert all(row["seconds"] > 0 for row in made.record["cost"])
    assert json.loads(made.path.read_text())["cost"] == made.record["cost"]


def test_report_has_a_verdict_and_a_figure_for_each(made: Runs, tmp_path: Path) -> None:
    trends.write(tmp_path, made.record, (3, 4, 6))
    assert {path.name for path in tmp_path.iterdir()} == {
        *("trends.md", "trend_3.svg", "trend_4.svg", "trend_6.svg")
    }
    text = (tmp_path / "trends.md").read_text()
    for number in (3, 4, 6):
        said = overall(trends.TRENDS[number].judge(made.record))
        assert f"| {number} | {trends.TRENDS[number].claim} | **{said}** |" in text
        assert f"![Trend {number}](trend_{number}.svg)" in text


def test_unknown_trend() -> None:
    assert list(trends.select("2,9")) == [2, 9]
    with pytest.raises(ValueError, match="unknown 10; there are 1, 2, 3"):
        trends.select("1,10")


@pytest.mark.skipif(not reproduction.records(), reason="a source archive holds no results")
class TestPage:
    def test_page_is_made_from_the_committed_results(self) -> None:
        assert reproduction.PAGE.read_text(encoding="utf-8") == reproduction.page()

    def test_figures_of_the_page_are_there(self) -> None:
        text = reproduction.PAGE.read_text(encoding="utf-8")
        links = [part.split(")")[0] for part in text.split("](")[1:]]
        local = [link for link in links if not link.startswith("http")]
        assert local
        for link in local:
            assert (reproduction.PAGE.parent / link).exists(), link

    def test_without_any_results(self, tmp_path: Path) -> None:
        text = reproduction.page(tmp_path)
        assert "Not measured on a machine of its own yet" in text
