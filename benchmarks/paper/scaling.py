"""Table I from what was measured: exponents, ranges, crossing points; Markdown and figures."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from paper.complexity import AXES, COMPONENTS, METHODS, RECONSTRUCTED, Sizes, degree
from report import markdown, save
from store import Results, load

LEAST_POINTS = 3
LEAST_SPAN = 2
"""Times, from first to last point of a range."""

LEAST_WORK = 3e7
"""Multiply-adds of a reconstruction or a flow step, above which starting its operations costs
little."""

LEAST_STREAMED = 128e6
"""Bytes of a reconstruction of DDS-1, past the caches: it reads an entry for each multiply-add."""

LEAST_ROWS = 64
"""Vectors per flow, above which arithmetic binds and not the reading of the weights."""

LEAST_INTENSITY = 2000
"""Multiply-adds per element-wise operation of a flow; asked for where both grow with the axis, but
differently: over F. In PyTorch an element-wise operation takes as long as about 240 multiply-adds
(DDS-2, F = 1024 to 4096, 256 rows), so that slopes are too small by 0.1 at the low end of such a
range and less beyond."""

NEAR = 0.1
"""What a fitted slope may be off by."""

LEADING = 0.1
"""How far the counted bytes may be from the leading power, between neighbouring points."""

UNITS = {"time": "s", "space": "bytes"}
_OVER_N = [("NMF", "DDS-2"), ("NMF", "DDS-3")]
_OVER_T = _OVER_N + [("DDS-1", "DDS-2"), ("DDS-1", "DDS-3")]
PAIRS = {"N": _OVER_N, "paperN": _OVER_N, "T": _OVER_T, "paperT": _OVER_T}
"""Who may be overtaken by whom, by axis."""

FARTHEST = 10
"""Crossing points are not extrapolated farther than so many times the largest size measured."""


@dataclass(frozen=True)
class Fit:
    """One cell's exponent over one axis by one backend.

    Attributes:
        stated: the exponent of Table I, reconstructed.
        slope: of log cost over log size; None where no range resolves it.
        slope_of_all: the same over all points, a range that nothing has chosen; None where nothing
            varies.
        low, high: the range, the values of its first and last point.
        why: what limits the range, or why there is none.
    """

    quantity: str
    component: str
    method: str
    axis: str
    backend: str
    stated: int
    counted: int
    slope: float | None
    low: int | None
    high: int | None
    why: str
    slope_of_all: float | None = None


Points = list[dict[str, Any]]


def curves(results: Results) -> dict[tuple[str, str, str, str], Points]:
    """By component, method, axis and backend: the points in order, each with its time."""
    found: dict[tuple[str, str, str, str], Points] = {}
    for rows in results.groups.values():
        for row in rows:
            if row.refusal is None:
                (component, axis), (method, backend) = row.group.split(), row.contender.split(", ")
                point = {"time": row.fastest, "space": row.info["peak_bytes"]} | row.info
                key = component, method, axis, backend
                found.setdefault(key, []).append(point | {"component": component})
    for points in found.values():
        points.sort(key=lambda point: point["value"])
    return found


def _timed(points: Points, component: str, method: str, axis: str) -> tuple[Points, str]:
    """Where the leading term dominates the time, by what is counted of each point."""
    if component == "reconstruction" and method == "DDS-1":
        kept = [p for p in points if p["bytes"] >= LEAST_STREAMED]
        return kept, f"at least {LEAST_STREAMED / 1e6:.0f} MB"
    why = f"at least {LEAST_WORK:.0e} multiply-adds"
    if component == "reconstruction":
        return [p for p in points if p["multiply_adds"] >= LEAST_WORK], why
    kept = [p for p in points if p["multiply_adds"] >= LEAST_WORK * p["sizes"]["L"]]
    why += " a step"
    if axis != "L":
        kept = [p for p in kept if Sizes(**p["sizes"]).rows(method) >= LEAST_ROWS]
        why += f", {LEAST_ROWS} rows per flow"
    if axis == "F":
        kept = [p for p in kept if _intensity(p, method) >= LEAST_INTENSITY]
        why += f", {LEAST_INTENSITY} multiply-adds per element-wise operation"
    return kept, why


def _intensity(point: dict[str, Any], method: str) -> float:
    shape = Sizes(**point["sizes"]).shape(method)
    F, w = shape.n_features, shape.width
    hidden = 3 if method == "DDS-3" else 4
    products = F / 2 * w + (hidden - 1) * w * w + w * F + (F * F if method == "DDS-3" else 0)
    return products / (hidden * w + F / 2)


def _present(point: dict[str, Any]) -> int:
    """The counted bytes, and what Table I leaves out: packed weights, workspaces, and the
    reconstruction."""
    result = 4 * point["sizes"]["F"] * point["sizes"]["T"]
    is_result = point["component"] == "reconstruction"
    return point["bytes"] + point["other_bytes"] + (result if is_result else 0)


def _spacious(points: Points, power: int) -> tuple[Points, str]:
    """Where the leading term dominates the counted bytes."""
    first = len(points) - 1
    for i in reversed(range(len(points) - 1)):
        a, b = points[i], points[i + 1]
        slope = math.log(_present(b) / _present(a)) / math.log(b["value"] / a["value"])
        if abs(slope - power) > LEADING:
            break
        first = i
    why = f"slope of counted bytes, packed weights and workspaces within {LEADING} of the exponent"
    return points[first:], why


def fit(quantity: str, component: str, method: str, axis: str, backend: str, points: Points) -> Fit:
    """The exponent of one cell over one axis."""
    stated = RECONSTRUCTED[quantity, component, method][1].get(axis, 0)
    power = degree(quantity, component, method, axis)
    fields = quantity, component, method, axis, backend, stated, power
    if power == 0:
        return Fit(*fields, None, None, None, "nothing in it depends on the size")
    if quantity == "time":
        chosen, why = _timed(points, component, method, axis)
    else:
        chosen, why = _spacious(points, power)
    of_all = _slope(points, quantity)
    if len(chosen) < LEAST_POINTS or chosen[-1]["value"] < LEAST_SPAN * chosen[0]["value"]:
        values = ", ".join(str(p["value"]) for p in chosen) or "no point"
        return Fit(*fields, None, None, None, f"not resolved: only {values} with {why}", of_all)
    ends = chosen[0]["value"], chosen[-1]["value"]
    return Fit(*fields, _slope(chosen, quantity), *ends, why, of_all)


def _slope(points: Points, quantity: str) -> float | None:
    if len(points) < LEAST_POINTS:
        return None
    x, y = (np.log([p[name] for p in points]) for name in ("value", quantity))
    return float(np.polyfit(x, y, 1)[0])


def fits(results: Results) -> list[Fit]:
    """Of all that was measured."""
    return [
        fit(quantity, component, method, axis, backend, points)
        for (component, method, axis, backend), points in curves(results).items()
        if axis in AXES
        for quantity in UNITS
    ]


@dataclass(frozen=True)
class Crossing:
    """From which size on a method is faster than another, in reconstruction and dictionary.

    Attributes:
        value: the size; 0 where it always is, None where it is not to be seen.
        extrapolated: whether it lies beyond the largest size measured.
    """

    axis: str
    backend: str
    slower: str
    faster: str
    value: float | None
    extrapolated: bool


def whole(results: Results, axis: str) -> dict[tuple[str, str], np.ndarray]:
    """By method and backend: ``(2, n)`` sizes, and seconds of reconstruction and dictionary."""
    found = curves(results)
    grid = sorted({p["value"] for (*_, a, _b), ps in found.items() if a == axis for p in ps})
    totals = {}
    for backend in sorted({key[3] for key in found}):
        for method in METHODS:
            total = np.zeros(len(grid))
            for component in COMPONENTS:
                points = found.get((component, method, axis, backend))
                if points is None:
                    total += np.nan if ("time", component, method) in RECONSTRUCTED else 0.0
                elif len(points) == 1:
                    total += points[0]["time"]
                else:
                    at = {p["value"]: p["time"] for p in points}
                    total += [at.get(value, np.nan) for value in grid]
            if np.isfinite(total).any():
                totals[method, backend] = np.array([grid, total], dtype=float)
    return totals


def crossings(results: Results) -> list[Crossing]:
    """Over N and T."""
    found = []
    for axis, pairs in PAIRS.items():
        totals = whole(results, axis)
        for backend in sorted({backend for _, backend in totals}):
            for old, new in pairs:
                if (old, backend) in totals and (new, backend) in totals:
                    (x, a), (_, b) = totals[old, backend], totals[new, backend]
                    found.append(Crossing(axis, backend, old, new, *_crossing(x, a, b)))
    return found


def _crossing(x: np.ndarray, a: np.ndarray, b: np.ndarray) -> tuple[float | None, bool]:
    """Where `b` becomes and stays the smaller, straight lines between the points in logarithms."""
    both = np.isfinite(a) & np.isfinite(b)
    x, gap = np.log(x[both]), np.log(a[both] / b[both])
    if len(x) < 2:
        return None, False
    below = np.flatnonzero(gap < 0)
    if len(below) == 0:
        return 0.0, False
    i, beyond = int(below[-1]), below[-1] == len(x) - 1
    if beyond:
        i -= 1
    slope = (gap[i + 1] - gap[i]) / (x[i + 1] - x[i])
    if slope <= 0:
        return None, False
    crossing = x[i] - gap[i] / slope
    if crossing > x[-1] + math.log(FARTHEST):
        return None, False
    return float(np.exp(crossing)), bool(beyond)


# ---- report --------------------------------------------------------------------------------------


def _cell(of_axis: list[Fit]) -> str:
    if not of_axis:
        return ""
    first = of_axis[0]
    if first.counted == 0 and first.stated == 0:
        return "0 · 0"
    measured = [_figure(f.slope) for f in of_axis]
    if first.quantity == "space":
        measured = [
            f"{one} ({_figure(f.slope_of_all)})" for one, f in zip(measured, of_axis, strict=True)
        ]
    return " · ".join([str(first.stated), str(first.counted), *measured])


def _figure(slope: float | None) -> str:
    return "–" if slope is None else f"{slope:.2f}"


def summary(all_fits: list[Fit]) -> str:
    """Markdown: how many exponents are what they should be.

    What is counted is counted once, whichever backend computes it.
    """
    cells = {(f.quantity, f.component, f.method, f.axis): f.stated == f.counted for f in all_fits}
    lines = [
        "- Table I's cells are empty in the text of the paper that we have: its laws are "
        "*reconstructed* from the prose ([method.md]({method})).",
        "- Exponents of what is counted that equal the reconstructed ones: "
        f"{sum(cells.values())} of {len(cells)} (cells and axes).",
    ]
    for quantity in UNITS:
        some = [f for f in all_fits if f.quantity == quantity]
        near = {
            name: [abs(value - f.counted) <= NEAR for f in some if (value := getattr(f, name))]
            for name in ("slope", "slope_of_all")
        }
        text = f"- {quantity.capitalize()}: {sum(near['slope'])} of {len(near['slope'])} fitted "
        text += f"slopes within {NEAR} of the exponents, by the reference and the compiled backend"
        if quantity == "space":
            text += (
                ". Their ranges are chosen where the bytes that are *counted* have the exponent's "
                "slope; over all points, a range chosen by nothing (in brackets), "
                f"{sum(near['slope_of_all'])} of {len(near['slope_of_all'])}"
            )
        lines.append(f"{text}.")
    return "\n".join(lines)


def exponents(all_fits: list[Fit], quantity: str) -> str:
    """Markdown: a row per cell of Table I, a column per axis."""
    backends = list(dict.fromkeys(f.backend for f in all_fits))
    rows = []
    for (q, component, method), (law, _) in RECONSTRUCTED.items():
        if q == quantity:
            cells = [
                _cell(
                    [
                        f
                        for backend in backends
                        for f in all_fits
                        if (f.quantity, f.component, f.method, f.axis, f.backend)
                        == (quantity, component, method, axis, backend)
                    ]
                )
                for axis in AXES
            ]
            rows.append([component, method, law, *cells])
    return markdown(["component", "method", "Table I", *AXES], rows)


def _ranges(all_fits: list[Fit]) -> str:
    rows = [
        [
            f"{f.quantity}, {f.component}, {f.method}",
            f.axis,
            f.backend,
            "" if f.slope is None else f"{f.low} – {f.high}",
            "" if f.slope is None else f"{f.slope:.3f}",
            "" if f.slope is None else f"{f.slope - f.counted:+.2f}",
            _figure(f.slope_of_all),
            f.why,
        ]
        for f in all_fits
        if f.counted > 0
    ]
    return markdown(
        ["cell", "axis", "backend", "range", "slope", "off by", "of all points", "range chosen by"],
        rows,
    )


def _crossings(results: Results) -> str:
    sizes = _bases(results)
    rows = []
    for c in crossings(results):
        if c.value is None:
            where = f"beyond {FARTHEST} times the largest, or nowhere"
        elif c.value == 0:
            where = "all sizes measured"
        else:
            where = f"{c.axis[-1]} ≈ {c.value:,.0f}" + (", extrapolated" if c.extrapolated else "")
        rows.append([c.faster, c.slower, c.axis[-1], sizes[c.axis], c.backend, where])
    return markdown(["method", "is faster than", "over", "at", "backend", "from"], rows)


NOTES = """\
Each cell: reconstructed exponent · exact exponent of what was counted · fitted slopes, by
{backends} (– : no range resolves it; of space, in brackets: over all points). NMF's dictionary is
given, and has no row.

- Time is counted in multiply-adds of the matrix products, space in bytes of what Table I counts:
  dictionary and activations, or weights, codes and entries. Exact exponents are the degrees of
  these counts as polynomials, from finite differences.
- Measured are the time of a call (the fastest round: what disturbs only adds), and the peak of all
  tensor memory: what is held, packed
  weights included, and what the call allocates.
- Permutations are indexed, not multiplied: M is one less for DDS-1 and DDS-2 than in the paper.
- The widths grow with F: F/4 for DDS-1 and DDS-2, 2F for DDS-3.
- Where the size is in no term of a cell (0 · 0), nothing in the call changes with it, and it was
  measured once.
- What stays (reconstruction, or dictionary where that differs): {bases}."""


def report(results: Results) -> str:
    """Markdown; the figures are named, not drawn."""
    all_fits = fits(results)
    backends = list(dict.fromkeys(f.backend for f in all_fits))
    open_cells = sum(f.slope is None and f.counted > 0 for f in all_fits)
    bases = "; ".join(f"over {a}: {text}" for a, text in _bases(results).items() if a in AXES)
    parts = [
        "# Table I: complexity",
        *results.machines,
        summary(all_fits).format(method="../../../docs/method.md")
        + f"\n- No range resolves {open_cells} slopes.",
        NOTES.format(backends=", ".join(backends), bases=bases),
        *(f"## {q.capitalize()}\n\n{exponents(all_fits, q)}" for q in UNITS),
        "## Crossing points\n\nOf whole passes: dictionary and reconstruction, once.",
        _crossings(results),
        "![Whole passes over N and T](crossings.svg)",
        *(f"![Scaling over {axis}](scaling_{axis}.svg)" for axis in AXES),
        f"## Ranges\n\n{_ranges(all_fits)}",
    ]
    if results.quick:
        parts.insert(1, "**Tiny sizes, to see that it works: no slope here means anything.**")
    refused = {
        (row.contender, row.refusal)
        for rows in results.groups.values()
        for row in rows
        if row.refusal is not None
    }
    parts += [f"- {who}: not available: {why}" for who, why in sorted(refused)]
    return "\n\n".join(parts) + "\n"


def _bases(results: Results) -> dict[str, str]:
    """What stays while an axis varies."""
    bases: dict[str, dict[str, None]] = {}
    for (_, _, axis, _), points in curves(results).items():
        sizes = points[0]["sizes"]
        stays = ", ".join(f"{k} = {v}" for k, v in sizes.items() if k != axis[-1])
        bases.setdefault(axis, {})[stays] = None
    return {axis: " or ".join(texts) for axis, texts in bases.items()}


# ---- figures -------------------------------------------------------------------------------------


def draw(results: Results, axis: str) -> Figure | None:
    """All cells over one axis; None where nothing was measured."""
    found = {key: points for key, points in curves(results).items() if key[2] == axis}
    if not found:
        return None
    figure = Figure(figsize=(8, 8.4), layout="constrained")
    panels = figure.subplots(2, 2, sharex=True)
    for row, (quantity, unit) in zip(panels, UNITS.items(), strict=True):
        for ax, component in zip(row, COMPONENTS, strict=True):
            for key, points in found.items():
                if key[0] == component:
                    _draw_curve(ax, fit(quantity, *key, points), points)
            _dress(ax, f"{component}: {quantity}, {unit}", axis)
    _legends(figure)
    return figure


def draw_crossings(results: Results) -> Figure | None:
    """Whole passes over N and T, crossing points marked; None where nothing was measured."""
    axes = [axis for axis in PAIRS if whole(results, axis)]
    if not axes:
        return None
    shape = math.ceil(len(axes) / 2), min(len(axes), 2)
    figure = Figure(figsize=(4 * shape[1], 3.6 * shape[0]), layout="constrained")
    panels = figure.subplots(*shape, squeeze=False)
    for ax, axis in zip(panels.flat, axes, strict=False):
        _draw_whole(ax, results, axis)
        paper = ", at the paper's size" if axis.startswith("paper") else ""
        _dress(ax, f"a whole pass{paper}: time, s", axis[-1])
    handles = dict(zip(*reversed(panels.flat[0].get_legend_handles_labels()), strict=True))
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=4,
                  fontsize="x-small", frameon=False)  # fmt: skip
    return figure


def _dress(ax: Axes, title: str, axis: str) -> None:
    ax.set(xscale="log", yscale="log", xlabel=axis)
    ax.set_title(title, fontsize="medium")
    ax.grid(alpha=0.3)
    ax.minorticks_off()


def _legends(figure: Figure) -> None:
    """Below each panel, off its data: the slopes differ from panel to panel."""
    for ax in figure.axes:
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, fontsize="xx-small",
                  frameon=False)  # fmt: skip


def _colour(method: str, backend: str) -> tuple[float, ...]:
    """A contender's: dark where it is compiled, light where it is the reference."""
    return colormaps["tab20"](2 * METHODS.index(method) + (backend == "reference"))


def _marker(backend: str, method: str) -> dict[str, Any]:
    open_marker, colour = backend == "reference", _colour(method, backend)
    return {
        "marker": "os^D"[METHODS.index(method)],
        "markersize": 4,
        "color": colour,
        "markerfacecolor": "white" if open_marker else colour,
        "linewidth": 1.0 if open_marker else 1.4,
    }


DASHES = ((0, (1, 1)), (0, (4, 2)), (0, (6, 2, 1, 2)), (0, (1, 4)))
"""By method, of what does not depend on an axis."""


def _draw_curve(ax: Axes, fitted: Fit, points: Points) -> None:
    values = [p["value"] for p in points]
    costs = [p[fitted.quantity] for p in points]
    style = _marker(fitted.backend, fitted.method)
    label = f"{fitted.method}, {fitted.backend}"
    if len(points) == 1:
        dashes = DASHES[METHODS.index(fitted.method)]
        ax.axhline(costs[0], color=style["color"], linewidth=style["linewidth"], linestyle=dashes,
                   label=f"{label}: 0 by count")  # fmt: skip
        return
    slope = "0 by count" if fitted.counted == 0 else "–"
    if fitted.slope is not None:
        slope = f"{fitted.slope:.2f}"
        if fitted.backend != "reference":
            ends = np.array([fitted.low, fitted.high], dtype=float)
            anchor = costs[values.index(fitted.high)]
            law = anchor * (ends / ends[1]) ** fitted.counted
            ax.plot(ends, law, color="black", linestyle="--", linewidth=1, zorder=5)
    ax.plot(values, costs, label=f"{label}: {slope}", **style)


def _draw_whole(ax: Axes, results: Results, axis: str) -> None:
    totals = whole(results, axis)
    for (method, backend), curve in totals.items():
        sizes, costs = curve[:, np.isfinite(curve[1])]  # not all have a point at every size
        ax.plot(sizes, costs, label=f"{method}, {backend}", **_marker(backend, method))
    for crossing in crossings(results):
        if crossing.axis == axis and crossing.value and not crossing.extrapolated:
            curve = totals[crossing.faster, crossing.backend]
            sizes, costs = curve[:, np.isfinite(curve[1])]
            cost = np.exp(np.interp(np.log(crossing.value), np.log(sizes), np.log(costs)))
            ax.plot(crossing.value, cost, marker="x", color="black", markersize=8, zorder=6)


def write(folder: Path) -> None:
    """README.md and the figures, from all finished jobs of the folder."""
    results = load(folder)
    (folder / "README.md").write_text(report(results), encoding="utf-8")
    for axis in AXES:
        save(draw(results, axis), folder / f"scaling_{axis}.svg")
    save(draw_crossings(results), folder / "crossings.svg")
