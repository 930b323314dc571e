"""Markdown tables of what the benchmarks of the compiled CPU kernels measured.

    python benchmarks/table.py DIR

DIR holds the JSON of ``dds-fast bench cpu``; that command writes the same into DIR/README.md.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from contenders import PYTORCH_LOOP
from results import Results, Row, load

BEST_PYTORCH = "PyTorch, batched"
"""What the names of the batched contenders begin with."""

NOTES = """\
Times are medians over a round-robin of all contenders of a table, quartiles in brackets. Every
contender agreed with float64 before it was timed; "error" is the largest of its RMS errors over
the RMS of the float64 values. Rates count what the task needs, whoever computes it: the weights
once per pass (4 bytes each, 2 in bfloat16; an update step has two passes), and the multiply-adds of
a decode (step: and a backward, and the products with W and H). "of read" is relative to summing an
array as large as the weights, "of product" to PyTorch's square matrix product in float32, or in
bfloat16 for the two bf16 precisions (bf16x3 needs three such products), "of product here" to
PyTorch's product at the shape of the case's hidden layers."""


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"


def _spread(row: Row) -> str:
    low, high = (1000 * q if row.seconds < 1 else q for q in row.quartiles)
    return f"{_time(row.seconds)} [{low:.3g}, {high:.3g}]"


def _error(row: Row) -> str:
    errors = row.info.get("errors")
    return f"{max(errors.values()):.0e}" if errors else ""


def _ratio(value: float | None, reference: float | None, unit: str = "") -> str:
    if not value or not reference:
        return ""
    return f"{100 * value / reference:.0f} %" if unit == "%" else f"{value / reference:.2f}"


def _refused(rows: Sequence[Row]) -> list[str]:
    return [
        f"- {row.contender}: not available: {row.refusal}"
        for row in rows
        if row.refusal is not None
    ]


def _race(results: Results, group: str, rows: Sequence[Row]) -> str:
    case = group.rpartition(" ")[0]
    loop = results.seconds(group, PYTORCH_LOOP)
    batched = [row.seconds for row in rows if row.contender.startswith(BEST_PYTORCH)]
    best = min(batched, default=None)
    read = results.rate(f"{case} limits", "read the weights")
    cells = []
    for row in rows:
        flops = 2 * row.info["multiply_adds"] / row.seconds
        read_rate = row.info["weight_bytes"] * row.info["passes"] / row.seconds
        dtype = "float32" if row.info["precision"] == "float32" else "bfloat16"
        square = results.rate("machine limits", f"{dtype} product")
        here = results.rate(f"{case} limits", f"{dtype} product at the case's shape")
        cells.append(
            [
                row.contender,
                _spread(row),
                _ratio(loop, row.seconds),
                _ratio(best, row.seconds),
                _error(row),
                f"{read_rate / 1e9:.1f}",
                _ratio(read_rate, read, "%"),
                f"{flops / 1e9:.0f}",
                _ratio(flops, square, "%"),
                _ratio(flops, here, "%"),
            ]
        )
    header = ["contender", "time", "× loop", "× best PyTorch", "error", "weights, GB/s", "of read"]
    return markdown([*header, "GFLOP/s", "of product", "of product here"], cells)


def _limits(results: Results, group: str, rows: Sequence[Row]) -> str:
    cells = []
    for row in rows:
        rate = results.rate(group, row.contender)
        unit = "GB/s" if row.info["bytes"] else "GFLOP/s"
        cells.append([row.contender, _spread(row), f"{(rate or 0) / 1e9:.1f} {unit}"])
    return markdown(["limit", "time", "rate"], cells)


def _memory(results: Results, group: str, rows: Sequence[Row]) -> str:
    cells = []
    for row in rows:
        peak, before = row.info["peak_bytes"], row.info["bytes_before"]
        cells.append(
            [
                row.contender,
                f"{(peak - before) / 2**30:.2f}",
                f"{peak / 2**30:.2f}",
                _time(row.seconds),
            ]
        )
    header = ["contender", "the search's peak, GiB", "whole process, GiB", "update step"]
    return markdown(header, cells)


def _decompose(results: Results, group: str, rows: Sequence[Row]) -> str:
    loop = results.seconds(group, PYTORCH_LOOP)
    cells = []
    for row in rows:
        measured = row.info.get("extrapolated_from")
        alive = row.info.get("entries_alive")
        cells.append(
            [
                row.contender,
                _time(row.seconds),
                _ratio(loop, row.seconds),
                str(row.info["n_steps"]),
                f"extrapolated from {measured} steps" if measured else row.info["stop_reason"],
                "" if alive is None or measured else f"{100 * alive:.0f} %",
                _error(row),
            ]
        )
    header = ["contender", "time", "× loop", "steps", "how it ended", "entries alive", "error"]
    return markdown(header, cells)


def _plain(results: Results, group: str, rows: Sequence[Row]) -> str:
    """A group that says nothing but times."""
    cells = [[row.contender, _spread(row), _error(row)] for row in rows]
    return markdown(["contender", "time", "error"], cells)


TABLES: dict[str, Callable[[Results, str, Sequence[Row]], str]] = {
    "limits": _limits,
    "memory": _memory,
    "decompose": _decompose,
    "forward": _race,
    "backward": _race,
    "step": _race,
}
"""By the last word of a group."""


def render(results: Results) -> str:
    """All groups, each with its table and whoever could not take part."""
    parts = ["# CPU kernels", *results.machines, NOTES]
    if results.quick:
        parts.insert(1, "**A quick run at tiny sizes: nothing here says how fast anything is.**")
    for group, rows in results.groups.items():
        table = TABLES.get(group.rpartition(" ")[2], _plain)
        timed = sorted((row for row in rows if row.refusal is None), key=lambda row: row.seconds)
        parts.append(f"## {group}")
        if timed:
            parts.append(table(results, group, timed))
        if refused := _refused(rows):
            parts.append("\n".join(refused))
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    print(render(load(Path(sys.argv[1]))))
