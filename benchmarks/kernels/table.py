"""Markdown tables of what ``dds-fast bench cpu`` and ``gpu`` measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from kernels.contenders import PYTORCH_LOOP
from report import markdown
from store import Results, Row


def _batched(row: Row) -> bool:
    """Whether it is PyTorch, with all flows in one batch where there are flows."""
    return row.contender.startswith("PyTorch") and row.contender != PYTORCH_LOOP


@dataclass(frozen=True)
class Style:
    """What is said of a suite's numbers.

    Attributes:
        title: of the report.
        notes: what the columns mean.
        bytes_limit: group (of a case) and name of the limit of bytes, and the column's heading.
        products: the square product that a precision's rate is relative to.
        here: whether there are products at each case's shape.
    """

    title: str
    notes: str
    bytes_limit: Callable[[str], tuple[str, str]]
    bytes_heading: str
    products: Mapping[str, str]
    here: bool


COMMON_NOTES = """\
Times are medians over a round-robin of all contenders of a table, quartiles in brackets. Every
contender agreed with float64 before it was timed; "error" is the largest of its RMS errors over
the RMS of the float64 values. Rates count what the task needs, whoever computes it: the weights
once per pass (4 bytes each, 2 in bfloat16; an update step has two passes), and the multiply-adds of
a decode (step: and a backward, and the products with W and H).
"""

CPU_NOTES = """\
"of read" is relative to summing an array as large as the weights, "of product" to PyTorch's square
matrix product in float32, or in bfloat16 for the two bf16 precisions (bf16x3 needs three such
products), "of product here" to PyTorch's product at the shape of the case's hidden layers."""

SOUND_NOTES = """\
From sound to notes: multiply-adds are counted from the entries that are alive in each step. The
floor is the time that they take at the rates of PyTorch's square products, in bfloat16 (three of
them for one that is split) where the search multiplies so and it is faster, else in float32;
spectrogram and notes count nothing. "residual" is the norm of X - W H over that of X. "error of
the costs" compares all costs of the first two seconds with those in float64; of the gradient
search, the first four. PyTorch's search leaves no dead entries out, and is compared with one that
does not either. Extrapolated times of the gradient search come from its first steps, before
entries die: they are upper bounds. scikit-learn fits the entries of the codes, decoded beforehand,
with as many iterations as the staged search has updates of the activations. basic-pitch reads the
sound at its own rate, resampled beforehand, and ends with notes as its defaults find them, without
pitch bends and MIDI. The flow's part of the adapted stage is timed by itself, the activations' is
what is left."""
"""Where sound to notes was measured."""

GPU_NOTES = """\
A sample is many calls in a row, so that host and device overlap as they do in use. "gradient" is a
decode and its backward. Passes of dds_fast (but for the reference) and of contenders with "CUDA
graph" are replays of a captured graph; all others are called as they are. "× best PyTorch" is
relative to the fastest batched PyTorch in float32, "at its precision" to the fastest that rounds as
this row does (bf16x3 counts as float32). "of copy" is relative to copying memory, read and written
bytes counted; a bank whose weights fit in the L2 cache may exceed it. "of product" is relative to
PyTorch's square product in the row's precision (bfloat16 for bf16x3, which needs three). "× floor"
is relative to the longer of the times that the weights' bytes and the multiply-adds take at the
rates of copy and product."""

STYLES = {
    "cpu": Style(
        "CPU kernels",
        CPU_NOTES,
        lambda case: (f"{case} limits", "read the weights"),
        "of read",
        {
            "float32": "float32 product",
            "bf16x3": "bfloat16 product",
            "bfloat16": "bfloat16 product",
        },
        here=True,
    ),
    "gpu": Style(
        "GPU kernels",
        GPU_NOTES,
        lambda case: ("machine limits", "copy 4 GB"),
        "of copy",
        {
            "float32": "float32 product",
            "tf32": "tf32 product",
            "bf16x3": "bfloat16 product",
            "bfloat16": "bfloat16 product",
        },
        here=False,
    ),
}


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
    """Who could not take part, by reason."""
    by_reason: dict[str, list[str]] = {}
    for row in rows:
        if row.refusal is not None:
            by_reason.setdefault(row.refusal, []).append(row.contender)
    return [f"- {'; '.join(names)}: not available: {why}" for why, names in by_reason.items()]


def _best(rows: Sequence[Row], precision: str) -> float | None:
    """The fastest batched PyTorch of a precision."""
    seconds = (row.seconds for row in rows if _batched(row) and row.info["precision"] == precision)
    return min(seconds, default=None)


def _race(results: Results, group: str, rows: Sequence[Row]) -> str:
    style, case = STYLES[results.suite], group.rpartition(" ")[0]
    loop = results.seconds(group, PYTORCH_LOOP)
    moved = results.rate(*style.bytes_limit(case))
    several = len({row.info["precision"] for row in rows if _batched(row)}) > 1
    giga, unit = (1e9, "GFLOP/s") if results.suite == "cpu" else (1e12, "TFLOP/s")
    cells = []
    for row in rows:
        precision = row.info["precision"]
        flops = 2 * row.info["multiply_adds"] / row.seconds
        rate = row.info["weight_bytes"] * row.info["passes"] / row.seconds
        product = style.products[precision]
        cells.append(
            [
                row.contender,
                _spread(row),
                _ratio(loop, row.seconds),
                _ratio(_best(rows, "float32"), row.seconds),
                _error(row),
                f"{rate / 1e9:.1f}",
                _ratio(rate, moved, "%"),
                f"{flops / giga:.3g}",
                _ratio(flops, results.rate("machine limits", product), "%"),
            ]
        )
        if several:
            own = _best(rows, "float32" if precision == "bf16x3" else precision)
            cells[-1].insert(4, _ratio(own, row.seconds))
        if style.here:
            here = results.rate(f"{case} limits", f"{product} at the case's shape")
            cells[-1].append(_ratio(flops, here, "%"))
    header = ["contender", "time", "× loop", "× best PyTorch"]
    header += ["at its precision"] if several else []
    header += ["error", "weights, GB/s", style.bytes_heading, unit, "of product"]
    header += ["of product here"] if style.here else []
    return markdown(header, cells)


def _floor(results: Results, group: str, row: Row) -> float | None:
    """Seconds that the row's bytes or its arithmetic take at the measured limits."""
    style = STYLES[results.suite]
    moved = results.rate(*style.bytes_limit(group.rpartition(" ")[0]))
    product = results.rate("machine limits", style.products[row.info["precision"]])
    if not moved or not product:
        return None
    n_products = 3 if row.info["precision"] == "bf16x3" else 1
    return max(
        row.info["weight_bytes"] * row.info["passes"] / moved,
        2 * n_products * row.info["multiply_adds"] / product,
    )


def _summary(results: Results) -> str:
    """The fastest of ours in each race and precision."""
    cells = []
    for group, rows in results.groups.items():
        if TABLES.get(group.rpartition(" ")[2]) is not _race:
            continue
        timed = [row for row in rows if row.refusal is None]
        for precision in ("float32", "tf32", "bf16x3", "bfloat16"):
            mine = [
                row
                for row in timed
                if row.contender.startswith("dds_fast") and row.info["precision"] == precision
            ]
            if not mine:
                continue
            row = min(mine, key=lambda row: row.seconds)
            rate = row.info["weight_bytes"] * row.info["passes"] / row.seconds
            moved = results.rate(*STYLES[results.suite].bytes_limit(group.rpartition(" ")[0]))
            cells.append(
                [
                    group,
                    row.contender.removeprefix("dds_fast, "),
                    _time(row.seconds),
                    f"{rate / 1e9:.0f}",
                    _ratio(rate, moved, "%"),
                    _ratio(row.seconds, _floor(results, group, row)),
                    _ratio(results.seconds(group, PYTORCH_LOOP), row.seconds),
                    _ratio(_best(timed, "float32"), row.seconds),
                    _error(row),
                ]
            )
    if not cells:
        return ""
    header = ["", "fastest of ours", "time", "weights, GB/s"]
    header += [STYLES[results.suite].bytes_heading, "× floor", "× loop"]
    header += ["× best PyTorch", "error"]
    return "## Summary\n\n" + markdown(header, cells)


def _limits(results: Results, group: str, rows: Sequence[Row]) -> str:
    cells = []
    for row in rows:
        rate = results.rate(group, row.contender)
        unit = "GB/s" if row.info["bytes"] else "GFLOP/s"
        cells.append([row.contender, _spread(row), f"{(rate or 0) / 1e9:,.1f} {unit}"])
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
    exact = {row.contender: row.info.get("cost") for row in rows}.get("dds_fast, float32")
    cells = []
    for row in rows:
        measured = row.info.get("extrapolated_from")
        alive, cost = row.info.get("entries_alive"), row.info.get("cost")
        first = row.info.get("first_seconds")
        cells.append(
            [
                row.contender,
                _time(row.seconds),
                _ratio(loop, row.seconds),
                "" if first is None else _time(first),
                str(row.info["n_steps"]),
                f"extrapolated from {measured} steps" if measured else row.info["stop_reason"],
                "" if alive is None or measured else f"{100 * alive:.0f} %",
                _error(row),
                "" if not cost or not exact else f"{100 * (cost / exact - 1):+.3f} %",
            ]
        )
    header = ["contender", "time", "× loop", "first call, few steps", "steps", "how it ended"]
    header += ["entries alive", "error of the first costs", "last cost for float32's"]
    return markdown(header, cells)


def _training(results: Results, group: str, rows: Sequence[Row]) -> str:
    slowest = max(rows, key=lambda row: row.seconds)
    cells = [
        [
            row.contender,
            _spread(row),
            _ratio(slowest.seconds, row.seconds),
            _error(row),
            f"{2 * row.info['multiply_adds'] / row.seconds / 1e12:.3g}",
            f"{row.info['bytes_of_adam'] / row.seconds / 1e9:.0f}",
        ]
        for row in rows
    ]
    header = ["contender", "step", "× slowest", "error", "TFLOP/s", "Adam alone, GB/s"]
    return markdown(header, cells)


def _arithmetic(results: Results, row: Row) -> float | None:
    """Seconds that a search's multiply-adds take at the measured rates of products."""
    rates = {
        name: results.rate("machine limits", f"{name} product") for name in ("float32", "bfloat16")
    }
    if None in rates.values() or not row.info.get("multiply_adds"):
        return None
    fastest = max(rates.values())  # without instructions for bfloat16 its products are slower
    per_second = {
        "float32": rates["float32"],
        "bfloat16": fastest,
        "split": max(rates["float32"], rates["bfloat16"] / 3),
    }
    return sum(2 * n / per_second[name] for name, n in row.info["multiply_adds"].items())


def _giga(row: Row) -> str:
    """Billions of multiply-adds."""
    counted = sum(row.info.get("multiply_adds", {}).values())
    return f"{counted / 1e9:.3g}" if counted else ""


def _notes(results: Results, group: str, rows: Sequence[Row]) -> str:
    ours = results.seconds(group, "dds_fast, float32")
    cells = []
    for row in rows:
        info, floor = row.info, _arithmetic(results, row)
        measured = info.get("extrapolated_from")
        cells.append(
            [
                row.contender,
                _spread(row),
                f"{info['sound_seconds'] / row.seconds:.3g}",
                _ratio(row.seconds, ours),
                _giga(row),
                "" if floor is None else _time(floor),
                _ratio(row.seconds, floor),
                f"{info.get('n_steps', '')}" + (f", extrapolated from {measured}" * bool(measured)),
                _error(row),
                "" if "cost" not in info else f"{info['cost']:.4g}",
                "" if "residual" not in info else f"{info['residual']:.4f}",
                str(info.get("n_notes", "")),
            ]
        )
    header = ["contender", "time", "× real time", "time / dds_fast, float32"]
    header += ["G multiply-adds", "floor", "× floor", "steps", "error of the costs"]
    header += ["last cost", "residual", "notes"]
    return markdown(header, cells)


def _stages(results: Results, group: str, rows: Sequence[Row]) -> str:
    """In the order of the stages."""
    order = [row.contender for row in results.groups[group]]
    cells = []
    for row in sorted(rows, key=lambda row: order.index(row.contender)):
        floor = _arithmetic(results, row)
        cells.append(
            [
                row.info["search"],
                row.info["stage"],
                _spread(row),
                _giga(row),
                "" if floor is None else _time(floor),
                _ratio(row.seconds, floor),
            ]
        )
    return markdown(["search", "stage", "time", "G multiply-adds", "floor", "× floor"], cells)


def _plain(results: Results, group: str, rows: Sequence[Row]) -> str:
    """A group that says nothing but times."""
    cells = [[row.contender, _spread(row), _error(row)] for row in rows]
    return markdown(["contender", "time", "error"], cells)


TABLES: dict[str, Callable[[Results, str, Sequence[Row]], str]] = {
    "limits": _limits,
    "memory": _memory,
    "decompose": _decompose,
    "training": _training,
    "notes": _notes,
    "stages": _stages,
    "forward": _race,
    "backward": _race,
    "gradient": _race,
    "step": _race,
    **dict.fromkeys(("adam", "euclidean", "kl"), _race),
}
"""By the last word of a group."""


def render(results: Results) -> str:
    """All groups, each with its table and whoever could not take part."""
    style = STYLES[results.suite]
    parts = [f"# {style.title}", *results.machines, COMMON_NOTES + style.notes]
    if any(group.endswith(" notes") for group in results.groups):
        parts.append(SOUND_NOTES)
    if results.quick:
        parts.insert(1, "**A quick run at tiny sizes: nothing here says how fast anything is.**")
    if results.suite == "gpu" and (summary := _summary(results)):
        parts.append(summary)
    for group, rows in results.groups.items():
        table = TABLES.get(group.rpartition(" ")[2], _plain)
        timed = sorted((row for row in rows if row.refusal is None), key=lambda row: row.seconds)
        parts.append(f"## {group}")
        if timed:
            parts.append(table(results, group, timed))
        if refused := _refused(rows):
            parts.append("\n".join(refused))
    return "\n\n".join(parts) + "\n"
