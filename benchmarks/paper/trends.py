"""The nine trends of the DDS paper, each an experiment; this is ``dds-fast bench trends``.

    dds-fast bench trends --out DIR [--only 1,2,8] [the data and presets of bench table2]

Searches are rows of DIR/runs.json and are not repeated; those of table II are taken from there if
DIR has them. DIR/trends.md and a DIR/trend_<n>.svg for each are made of all of them.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, NullLocator
from paper import runs, table2
from paper.complexity import METHODS, degree
from paper.piano_data import TestSet
from paper.runs import Row, Run, Runs
from paper.verdicts import RULE, Part, fact, missing, overall, paired
from report import markdown, save

import dds_fast
from dds_fast import Dictionary, Spectrogram
from dds_fast.search.settings import PAPER

Read = Callable[[Row], float]
Series = dict[str, dict[Any, list[float]]]
"""By label: values, one per snippet and seed, over x."""

MARGIN = 0.01
"""Of PSA, and of the relative error: what counts as equal."""

BEND = 0.05
"""Of PSA over polyphony, between the middle of a parabola and the line through its ends: at most so
much counts as linear."""

FAILED = 0.5
"""Relative error above which a search has not explained its spectrogram."""

FROZEN = 1 / 64
"""Of its first step size, below which the plateau rule has all but stopped a search."""

COST_STEPS = 8
COST_FRAMES = 300
"""In the cost over N, about ten seconds: with few, reading the dictionary binds, from nearer or
farther memory."""

COST_SHARES = (1 / 8, 1 / 4, 1 / 2, 1)
"""Of the training frames, in the cost over N."""

SLOPE_WITHIN = 0.1

PSA, SPARSITY = (table2.COLUMNS[name][0] for name in ("PSA", "l0(1e-2)"))


def error(row: Row) -> float:
    return row["relative_error"]


def plain_psa(row: Row) -> float:
    return row["without_rescaling"]["psa"]


@dataclass(frozen=True)
class Panel:
    """One set of axes of a figure."""

    title: str
    xlabel: str
    series: Series
    scale: str = "linear"


@dataclass(frozen=True)
class Trend:
    """A claim and its experiment.

    Attributes:
        claim: the paper's.
        needs: the searches, as far as the data have them.
        judge: parts of the claim, from the record of finished searches.
        panels: what is drawn.
    """

    claim: str
    needs: Callable[[Runs], list[Run]]
    judge: Callable[[Row], list[Part]]
    panels: Callable[[Row], list[Panel]]


def found(record: Row, **wanted: Any) -> Iterator[Row]:
    """Rows that have these values, at the F and K of table II where these are not named.

    ``...`` stands for any value.
    """
    for row in record["rows"]:
        F, K = runs.sizes(record["about"], row["method"])
        usual = {"n_features": F, "n_components": K, "search": "paper"} | wanted
        named = {"search": "paper"} | row
        if all(value is ... or named[name] == value for name, value in usual.items()):
            yield row


def differences(
    record: Row, read: Read, more: dict[str, Any], less: dict[str, Any], by: tuple[str, ...]
) -> list[float]:
    """What `read` gives of rows `more` minus rows `less`; pairs agree in the fields `by`."""
    better, worse = (
        {tuple(row[name] for name in by): row for row in found(record, **one)}
        for one in (more, less)
    )
    return by_snippet((row, read(row) - read(worse[k])) for k, row in better.items() if k in worse)


def by_snippet(values: Iterable[tuple[Row, float]]) -> list[float]:
    """Of a value per row, the means over the seeds that searched the same."""
    snippets: dict[tuple[Any, ...], list[float]] = {}
    for row, value in values:
        place = row["set"], row["n_features"], tuple(row["files"]), row.get("window", 0)
        snippets.setdefault(place, []).append(value)
    return [float(np.mean(v)) for v in snippets.values()]


def series(record: Row, read: Read, x: str, **wanted: Any) -> dict[Any, list[float]]:
    """What `read` gives of the rows wanted, by their field `x` where they have it."""
    values: dict[Any, list[float]] = {}
    for row in found(record, **wanted):
        if row[x] is not None:
            values.setdefault(row[x], []).append(read(row))
    return dict(sorted(values.items()))


SNIPPET = ("set", "seed", "n_features")


def all_of(
    made: Runs,
    tests: Iterable[TestSet | None],
    methods: Iterable[str] = METHODS,
    features: Iterable[int | None] = (None,),
    components: Iterable[int | None] = (None,),
) -> list[Run]:
    """Every combination, on the test sets that there are; table II's F and K where it is None."""
    found = itertools.product([test for test in tests if test], features, components, methods)
    return [run for test, F, K, m in found for run in made.of(m, test, F, K)]


# ---- 1, 2 and 8: the methods, on every set and at every F ----------------------------------------


def order(read: Read, best_last: tuple[str, ...]) -> Callable[[Row], list[Part]]:
    def judge(record: Row) -> list[Part]:
        parts = []
        for less, more in itertools.pairwise(best_last):
            better, worse = ({"method": m, "n_features": ...} for m in (more, less))
            values = differences(record, read, better, worse, SNIPPET)
            parts.append(paired(f"{more} above {less}", values))
        return parts

    return judge


def by_method(read: Read, title: str) -> Callable[[Row], list[Panel]]:
    def panels(record: Row) -> list[Panel]:
        configurations = {(row["set"], row["n_features"]) for row in record["rows"]}
        lines: Series = {}
        for name, F in sorted(configurations):
            values = {
                m: [read(row) for row in found(record, method=m, set=name, n_features=F)]
                for m in METHODS
            }
            if all(values.values()):
                lines[f"{name}, F = {F}"] = values
        return [Panel(title, "", lines)]

    return panels


def rescaling(record: Row) -> list[Part]:
    return [
        paired(
            f"{method}: better with rescaling",
            by_snippet(
                (row, PSA(row) - plain_psa(row))
                for row in found(record, method=method, n_features=...)
            ),
        )
        for method in METHODS
    ]


def rescaling_panels(record: Row) -> list[Panel]:
    lines = {
        method: {
            label: [read(row) for row in found(record, method=method, n_features=...)]
            for label, read in (("as found", plain_psa), ("rescaled", PSA))
        }
        for method in METHODS
    }
    return [Panel("PSA", "activations", {k: v for k, v in lines.items() if v["rescaled"]})]


# ---- 3: F ----------------------------------------------------------------------------------------


def features_runs(made: Runs) -> list[Run]:
    F = made.budget.n_features
    return all_of(made, [made.data.chords(2)], features=F) if len(F) > 1 else []


def two_features(record: Row) -> tuple[int, int]:
    sizes = record["about"]["budget"]["n_features"]
    return min(sizes), max(sizes)


def more_features(record: Row) -> list[Part]:
    small, large = two_features(record)
    if small == large:
        return [missing("PSA at a second F")]
    parts = []
    for m in METHODS:
        more, less = ({"method": m, "n_features": F} for F in (large, small))
        values = differences(record, PSA, more, less, ("set", "seed"))
        parts.append(paired(f"{m}: PSA higher at F = {large} than at {small}", values))
    return [*parts, paired("distance of the best method to the worst wider", gaps(record))]


def gaps(record: Row) -> list[float]:
    """By set and seed: range of the methods' PSA at the large F, minus that at the small one."""
    rows: dict[tuple[str, int, int], list[Row]] = {}
    for row in found(record, n_features=...):
        rows.setdefault((row["set"], row["seed"], row["n_features"]), []).append(row)
    small, large = two_features(record)
    ranges = {
        key: (of_key[0], float(np.ptp([PSA(row) for row in of_key])))
        for key, of_key in rows.items()
        if len(of_key) == len(METHODS)
    }
    return by_snippet(
        (row, ranges[name, seed, large][1] - gap)
        for (name, seed, F), (row, gap) in ranges.items()
        if F == small and (name, seed, large) in ranges
    )


def features_panels(record: Row) -> list[Panel]:
    small, large = two_features(record)
    both = {row["set"] for row in found(record, n_features=small)}
    both &= {row["set"] for row in found(record, n_features=large)}
    lines: dict[str, dict[str, list[float]]]
    lines = {m: {str(F): [] for F in (small, large)} for m in METHODS}
    for row in found(record, n_features=...):
        if row["set"] in both and small != large:
            lines[row["method"]][str(row["n_features"])].append(PSA(row))
    return [Panel("PSA", "F", {m: v for m, v in lines.items() if all(v.values())})]


# ---- 4: intensity --------------------------------------------------------------------------------

LOUD_AND_SOFT = ("32-96", "60-68")


def intensity_runs(made: Runs) -> list[Run]:
    tests = [made.data.chords(2, intensity) for intensity in LOUD_AND_SOFT]
    return all_of(made, tests) if all(test and test.intensity for test in tests) else []


def less_dynamics(record: Row) -> list[Part]:
    wide, narrow = LOUD_AND_SOFT
    parts = []
    for m in METHODS:
        for what, read, sign in (("PSA higher", PSA, 1), ("error smaller", error, -1)):
            more, less = ({"method": m, "intensity": i, "polyphony": 2} for i in (narrow, wide))
            values = differences(record, read, more, less, ("seed",))
            parts.append(paired(f"{m}: {what} on I{narrow}", (sign * v for v in values)))
    return parts


def intensity_panels(record: Row) -> list[Panel]:
    panels = []
    for title, read in (("PSA", PSA), ("error", error)):
        values = {m: series(record, read, "intensity", method=m, polyphony=2) for m in METHODS}
        lines = {m: found for m, found in values.items() if len(found) > 1}
        panels.append(Panel(title, "velocities", lines))
    return panels


# ---- 5: polyphony --------------------------------------------------------------------------------


def over_polyphony(record: Row, method: str, **wanted: Any) -> dict[int, list[float]]:
    """PSA by polyphony, of I32-96; sets that mix polyphonies are left out."""
    values: dict[int, list[float]] = {}
    for intensity in (None, LOUD_AND_SOFT[0]):
        values |= series(record, PSA, "polyphony", method=method, intensity=intensity, **wanted)
    return dict(sorted(values.items()))


def polyphony(record: Row) -> list[Part]:
    parts = []
    for m in METHODS:
        values = over_polyphony(record, m)
        p = np.array(list(values), dtype=float)
        if len(p) < 3:
            parts.append(missing(f"{m}: PSA over polyphony", "fewer than three polyphonies"))
            continue
        falls, bends = [], []
        for seed in sorted({row["seed"] for row in record["rows"]}):
            of_seed = over_polyphony(record, m, seed=seed)
            if list(of_seed) == p.tolist():
                psa = [np.mean(v) for v in of_seed.values()]
                falls.append(-np.polyfit(p, psa, 1)[0])
                bends.append(np.polyfit(p, psa, 2)[0] * (np.ptp(p) / 2) ** 2)
        parts.append(paired(f"{m}: PSA falls with every note", falls))
        parts.append(paired(f"{m}: linearly, bend within", bends, BEND, within=True))
    return parts


def polyphony_panels(record: Row) -> list[Panel]:
    lines = {m: values for m in METHODS if len(values := over_polyphony(record, m)) > 1}
    return [Panel("PSA", "notes at once", lines)]


# ---- 6 and 7: K ----------------------------------------------------------------------------------


def components(
    method: str, claims: tuple[tuple[str, Read, int, float], ...]
) -> Callable[[Row], list[Part]]:
    """`claims`: what is said, of what, +1 if it grows with K and -1 if it falls, and a margin."""

    def judge(record: Row) -> list[Part]:
        compared = record["about"]["budget"]["components"]
        small, large = min(compared), max(compared)
        parts = []
        for text, read, sign, margin in claims:
            more, less = ({"method": method, "n_components": K} for K in (large, small))
            values = differences(record, read, more, less, ("set", "seed"))
            parts.append(
                paired(f"{text}, K = {large} and {small}", (sign * v for v in values), margin)
            )
        return parts

    return judge


def components_panels(method: str) -> Callable[[Row], list[Panel]]:
    def panels(record: Row) -> list[Panel]:
        sets = sorted({row["set"] for row in record["rows"] if row["n_components"] is not None})
        drawn = []
        for title, read in (("PSA", PSA), ("error", error)):
            wanted = {"method": method, "n_components": ...}
            values = {n: series(record, read, "n_components", set=n, **wanted) for n in sets}
            several = [n for n, found in values.items() if len(found) > 1]
            lines = {method if len(several) == 1 else n: values[n] for n in several}
            drawn.append(Panel(title, "K", lines))
        return drawn

    return panels


# ---- 9: cost over N ------------------------------------------------------------------------------


def measure_cost(made: Runs) -> None:
    """Time of an update step over the number of training frames, kept in the record."""
    if made.record.get("cost"):
        return
    test, rows = made.data.sets[0], []
    rng = np.random.default_rng(0)
    for method in METHODS:
        run = made.of(method, test)[0]
        X = repeated(made.snippet(run, test)[0])
        whole = made.dictionaries.get(run.kind, run.n_features, 0)
        for share in COST_SHARES if whole.W is not None else (1,):
            part, N = whole, None
            if whole.W is not None and whole.labels is not None:
                n = whole.W.shape[1]
                kept = torch.from_numpy(rng.permutation(n) < share * n)
                W, labels = whole.W[:, kept], whole.labels[kept]
                part = Dictionary(run.kind, whole.sources, whole.spectrogram, W=W, labels=labels)
                N = int(kept.sum())
            seconds = step_seconds(X, part, run.n_components, made.device)
            rows.append({"method": method, "N": N, "seconds": seconds})
    made.record["cost"] = rows
    made.save()


def repeated(X: Spectrogram) -> Spectrogram:
    """A snippet over and over, `COST_FRAMES` frames in all."""
    frames = np.arange(COST_FRAMES) % X.values.shape[1]
    return Spectrogram(X.values[:, frames], X.config)


def step_seconds(X: Spectrogram, dictionary: Dictionary, K: int | None, device: str) -> float:
    """Of the fastest of a few update steps, of the processor if that makes them: what disturbs only
    adds."""
    now = time.process_time if device == "cpu" else time.perf_counter
    stamps: list[float] = []
    dds_fast.decompose(
        X,
        dictionary,
        preset="paper",
        max_steps=COST_STEPS,
        n_components=K,
        device=device,
        keep_components=False,
        callback=lambda report: stamps.append(now()),
    )
    return float(np.diff(stamps).min())


def cost(record: Row) -> list[Part]:
    parts = []
    for method in METHODS:
        cells = [("reconstruction", method)] + [("dictionary", method)] * (method != "NMF")
        exponent = max(degree("time", *cell, "N") for cell in cells)
        claim = "linear in N" if method == "NMF" else "constant in N"
        parts.append(
            fact(f"{method}: multiply-adds {claim}", exponent == (method == "NMF"), f"N^{exponent}")
        )
    points = [row for row in record.get("cost", []) if row["method"] == "NMF"]
    if len(points) < 2:
        return [*parts, missing("NMF: time of a step linear in N")]
    N, seconds = (np.log([row[name] for row in points]) for name in ("N", "seconds"))
    slope = float(np.polyfit(N, seconds, 1)[0])
    text = f"fitted exponent {slope:.2f}, N = {points[0]['N']:,} to {points[-1]['N']:,}"
    close = abs(slope - 1) <= SLOPE_WITHIN
    return [*parts, fact("NMF: time of a step linear in N", close, text)]


def cost_panels(record: Row) -> list[Panel]:
    rows = record.get("cost", [])
    sizes = [row["N"] for row in rows if row["N"] is not None]
    # A search of DDS has nothing in it that depends on N: one measurement, a point at all frames.
    lines: Series = {
        method: {row["N"] or max(sizes, default=1): [row["seconds"]] for row in of_method}
        for method in METHODS
        if (of_method := [row for row in rows if row["method"] == method])
    }
    return [Panel("time of a step, s", "N, training frames", lines, "log")]


# ---- all -----------------------------------------------------------------------------------------

COLOURS = {method: f"C{i}" for i, method in enumerate(METHODS)}
"""A contender has one in all figures; test sets have others."""

MARKERS = "os^Dvp"

ORDER = ("DDS-1", "NMF", "DDS-2", "DDS-3")


def table_runs(made: Runs) -> list[Run]:
    return all_of(made, made.table_sets()) + made.beside()


def polyphony_runs(made: Runs) -> list[Run]:
    return all_of(made, map(made.data.chords, made.budget.polyphonies))


def components_trend(method: str, claim: str, *claims: tuple[str, Read, int, float]) -> Trend:
    def needs(made: Runs) -> list[Run]:
        return all_of(made, [made.data.chords(2)], [method], components=made.budget.components)

    return Trend(claim, needs, components(method, claims), components_panels(method))


TRENDS = {
    1: Trend(
        "PSA: DDS-3 above DDS-2 above NMF above DDS-1, in all configurations.",
        *(table_runs, order(PSA, ORDER), by_method(PSA, "PSA")),
    ),
    2: Trend(
        "Sparsity: NMF below DDS-1 below DDS-2 below DDS-3, without any term that asks for it.",
        *(table_runs, order(SPARSITY, METHODS), by_method(SPARSITY, "l0(1e-2)")),
    ),
    3: Trend(
        "All methods are slightly better at a larger F, and farther apart.",
        *(features_runs, more_features, features_panels),
    ),
    4: Trend(
        "All methods do better on I60-68 than on I32-96, in decomposition and in reconstruction.",
        *(intensity_runs, less_dynamics, intensity_panels),
    ),
    5: Trend(
        "PSA falls about linearly with the polyphony, P2 to P7.",
        *(polyphony_runs, polyphony, polyphony_panels),
    ),
    6: components_trend(
        "DDS-2",
        "DDS-2: a larger K makes the error smaller; PSA is better with a smaller one.",
        ("error smaller", error, -1, 0.0),
        ("PSA better at the smaller", PSA, -1, 0.0),
    ),
    7: components_trend(
        "DDS-3",
        "DDS-3: with a larger K, PSA is equal or better, and the error equal or smaller.",
        ("PSA no worse", PSA, 1, MARGIN),
        ("error no larger", error, -1, MARGIN),
    ),
    8: Trend(
        "Rescaling activations by the norms of their dictionary entries improves all methods.",
        *(table_runs, rescaling, rescaling_panels),
    ),
    9: Trend(
        "The cost of DDS is constant in the number N of training frames; that of NMF is linear.",
        *(lambda made: [], cost, cost_panels),
    ),
}


def select(text: str | None) -> dict[int, Trend]:
    """The trends named by number, comma-separated.

    Raises:
        ValueError: there is no such trend.
    """
    if text is None:
        return TRENDS
    wanted = text.split(",")
    if unknown := [n for n in wanted if n not in map(str, TRENDS)]:
        raise ValueError(f"--only: unknown {unknown[0]}; there are {', '.join(map(str, TRENDS))}")
    return {n: trend for n, trend in TRENDS.items() if str(n) in wanted}


def draw(panels: list[Panel]) -> Figure | None:
    """Means as lines, single values as dots; None where there is nothing to draw."""
    panels = [panel for panel in panels if panel.series]
    if not panels:
        return None
    figure = Figure(figsize=(4.2 * len(panels), 3.2), layout="constrained")
    for ax, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        n_lines = len(panel.series)
        places = list(dict.fromkeys(x for values in panel.series.values() for x in values))
        for i, (label, values) in enumerate(panel.series.items()):
            colour = COLOURS.get(label) or f"C{len(METHODS) + i}"
            named = [x for x in values if isinstance(x, str)]
            # Side by side where places are names: dots at one place would cover each other.
            aside = (i - (n_lines - 1) / 2) * 0.3 / n_lines if named else 0.0
            at = {x: places.index(x) + aside if named else x for x in values}
            means = [np.mean(v) for v in values.values()]
            line = "-" if len(means) > 1 else ""
            ax.plot(list(at.values()), means, line, marker=MARKERS[i % len(MARKERS)],
                    color=colour, label=label, linewidth=1.2, markersize=5)  # fmt: skip
            for x, of_seeds in values.items():
                ax.plot([at[x]] * len(of_seeds), of_seeds, ".", color=colour, markersize=3,
                        alpha=0.5)  # fmt: skip
        ax.set_xlabel(panel.xlabel)
        if panel.scale != "linear":
            ax.set(xscale=panel.scale, yscale=panel.scale)
            ax.xaxis.set_minor_locator(NullLocator())
            ax.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(2, 0.5)))
        if all(isinstance(x, int | np.integer) for x in places):
            ax.set_xticks(sorted(places), [f"{x:,}" for x in sorted(places)])
        else:
            ax.set_xticks(range(len(places)), places)
        ax.set_title(panel.title, fontsize="medium")
        ax.grid(alpha=0.3)
    entries = {
        label: line
        for ax in figure.axes
        for line, label in zip(*ax.get_legend_handles_labels(), strict=True)
    }
    figure.legend(entries.values(), entries, loc="outside lower center", fontsize="x-small",
                  ncols=2 if max(map(len, entries)) > 12 else 4, frameon=False)  # fmt: skip
    return figure


def verdict_table(record: Row, chosen: Iterable[int] = tuple(TRENDS)) -> str:
    """Markdown: the claims in a row each."""
    rows = [[str(n), TRENDS[n].claim, f"**{overall(TRENDS[n].judge(record))}**"] for n in chosen]
    return markdown(["", "claim", "verdict"], rows)


def section(record: Row, number: int) -> str:
    """Markdown of one trend: its parts and its verdict; the figure is named, not drawn."""
    said = overall(TRENDS[number].judge(record))
    title = f"## {number}. {TRENDS[number].claim}"
    return "\n\n".join([title, parts_table(record, number), f"**{said.capitalize()}.**"])


def parts_table(record: Row, number: int) -> str:
    """Markdown: a row per part of a claim; and what remains of it without searches that failed."""
    parts = TRENDS[number].judge(record)
    rows = [[p.claim, p.figures, p.verdict] for p in parts]
    header = ["part", "mean difference [95 %]", "verdict"]
    good = [row for row in record["rows"] if error(row) <= FAILED]
    without = TRENDS[number].judge(record | {"rows": good})
    if [p.figures for p in without] != [p.figures for p in parts]:
        header.append(f"without searches that end with an error above {FAILED:g}")
        for row, part, other in zip(rows, parts, without, strict=True):
            same = part.figures == other.figures
            row.append("the same" if same else f"{other.figures}: {other.verdict}")
    return markdown(header, rows)


def ends(record: Row) -> str:
    """Markdown: how the searches of each method and K ended; what the reasons rest on."""
    groups: dict[tuple[str, int | None], list[Row]] = {}
    for row in found(record, n_features=..., n_components=...):
        groups.setdefault((row["method"], row["n_components"]), []).append(row)
    rows = []
    for (method, K), of_group in sorted(groups.items(), key=str):
        bad = [row for row in of_group if error(row) > FAILED]
        about = record["about"]
        cells = [sum(frozen(row, about) for row in some) for some in (of_group, bad)]
        known = [row for row in of_group if row.get("last_step_size") is not None]
        jumps = [row for row in of_group if row.get("lowest_cost") is not None]
        jumped = sum(row["cost"] > 1.5 * row["lowest_cost"] for row in jumps)
        rows.append(
            [
                f"{method}{'' if K is None else f', K = {K}'}",
                str(len(of_group)),
                f"{cells[0]} of {len(known)}",
                f"{jumped} of {len(jumps)}" if jumps else "not kept",
                str(len(bad)),
                str(cells[1]) if bad else "",
            ]
        )
    return markdown(
        [
            "searches",
            "number",
            "frozen",
            "end above 1.5 times their lowest cost",
            f"end with an error above {FAILED:g}",
            "frozen among these",
        ],
        rows,
    )


def frozen(row: Row, about: Row) -> bool:
    """Whether the plateau rule has halved the step size six times or more."""
    last, kind = row.get("last_step_size"), row["kind"]
    first = about["budget"]["step_size"].get(kind) or PAPER[kind].step_size
    return last is not None and last < FROZEN * first


def report(record: Row, chosen: Iterable[int]) -> str:
    """Markdown of the trends chosen."""
    chosen = list(chosen)
    parts = ["# The nine trends", table2.settings(record), RULE, verdict_table(record, chosen)]
    for n in chosen:
        parts.append(section(record, n))
        if any(panel.series for panel in TRENDS[n].panels(record)):
            parts.append(f"![Trend {n}](trend_{n}.svg)")
    return "\n\n".join(parts) + "\n"


def write(folder: Path, record: Row, chosen: Iterable[int]) -> None:
    chosen = list(chosen)
    (folder / "trends.md").write_text(report(record, chosen), encoding="utf-8")
    for n in chosen:
        save(draw(TRENDS[n].panels(record)), folder / f"trend_{n}.svg")


def main() -> int:
    parser = argparse.ArgumentParser(prog="dds-fast bench trends", description="The nine trends")
    parser.add_argument("--only", help="trends, comma-separated: 1 to 9")

    def measure(made: Runs, only: str | None) -> None:
        made.make(run for trend in select(only).values() for run in trend.needs(made))
        if 9 in select(only):
            measure_cost(made)

    def report_to(folder: Path, record: Row, only: str | None) -> Path:
        write(folder, record, select(only))
        return folder / "trends.md"

    return runs.command(parser, select, measure, report_to)
