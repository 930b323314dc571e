"""Markdown tables of what ``dds-fast bench cpu`` and ``gpu`` measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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


def _time(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"


def _ratio(value: float | None, reference: float | None) -> str:
    return f"{value / reference:.2f}" if value and reference else ""


def _share(value: float | None, reference: float | None) -> str:
    return f"{100 * value / reference:.0f} %" if value and reference else ""


def _refused(rows: Sequence[Row]) -> list[str]:
    """Who could not take part, by reason."""
    by_reason: dict[str, list[str]] = {}
    for row in rows:
        if row.refusal is not None:
            by_reason.setdefault(row.refusal, []).append(row.contender)
    return [f"- {'; '.join(names)}: not available: {why}" for why, names in by_reason.items()]


@dataclass(frozen=True)
class Line:
    """A row of a table: what can be said of a contender, beside the others of its group."""

    results: Results
    row: Row

    @property
    def info(self) -> dict[str, Any]:
        return self.row.info

    @property
    def seconds(self) -> float:
        return self.row.seconds

    @property
    def style(self) -> Style:
        return STYLES[self.results.suite]

    @property
    def case(self) -> str:
        return self.row.group.rpartition(" ")[0]

    @property
    def rivals(self) -> list[Row]:
        return [row for row in self.results.groups[self.row.group] if row.refusal is None]

    def of(self, contender: str) -> float | None:
        """Seconds of another."""
        return self.results.seconds(self.row.group, contender)

    def best(self, precision: str) -> float | None:
        """Of the fastest batched PyTorch of a precision."""
        rivals = (r for r in self.rivals if _batched(r) and r.info["precision"] == precision)
        return min((row.seconds for row in rivals), default=None)

    def spread(self) -> str:
        low, high = (1000 * q if self.seconds < 1 else q for q in self.row.quartiles)
        return f"{_time(self.seconds)} [{low:.3g}, {high:.3g}]"

    def error(self) -> str:
        errors = self.info.get("errors")
        return f"{max(errors.values()):.0e}" if errors else ""

    def extrapolated(self) -> str:
        steps = self.info.get("extrapolated_from")
        return f"extrapolated from {steps}" if steps else ""

    def number(self, name: str, form: str = "") -> str:
        return f"{self.info[name]:{form}}" if name in self.info else ""

    def weights(self) -> float:
        """Bytes of weights per second."""
        return self.info["weight_bytes"] * self.info["passes"] / self.seconds

    def flops(self) -> float:
        return 2 * self.info["multiply_adds"] / self.seconds

    def moved(self) -> float | None:
        """Bytes per second at best."""
        return self.results.rate(*self.style.bytes_limit(self.case))

    def product(self, group: str, where: str = "") -> float | None:
        """Operations per second at best."""
        name = self.style.products[self.info["precision"]]
        return self.results.rate(f"{group} limits", name + where)

    def floor(self) -> float | None:
        """Seconds that the row's bytes or its arithmetic take at the measured limits."""
        moved, product = self.moved(), self.product("machine")
        if not moved or not product:
            return None
        n_products = 3 if self.info["precision"] == "bf16x3" else 1
        arithmetic = 2 * n_products * self.info["multiply_adds"] / product
        return max(self.info["weight_bytes"] * self.info["passes"] / moved, arithmetic)

    def arithmetic(self) -> float | None:
        """Seconds that a search's multiply-adds take at the measured rates of products."""
        names = ("float32", "bfloat16")
        single, half = (self.results.rate("machine limits", f"{name} product") for name in names)
        if not single or not half or not self.info.get("multiply_adds"):
            return None
        # Without instructions for bfloat16 its products are slower.
        rates = {"float32": single, "bfloat16": max(single, half), "split": max(single, half / 3)}
        return sum(2 * n / rates[name] for name, n in self.info["multiply_adds"].items())

    def giga(self) -> str:
        """Billions of multiply-adds of a search."""
        counted = sum(self.info.get("multiply_adds", {}).values())
        return f"{counted / 1e9:.3g}" if counted else ""

    def rate(self) -> str:
        """Of a limit."""
        rate = self.results.rate(self.row.group, self.row.contender) or 0
        return f"{rate / 1e9:,.1f} {'GB/s' if self.info['bytes'] else 'GFLOP/s'}"

    def alive(self) -> str:
        share = self.info.get("entries_alive")
        return "" if share is None or self.extrapolated() else f"{100 * share:.0f} %"

    def last_cost(self) -> str:
        costs = {row.contender: row.info.get("cost") for row in self.rivals}
        exact, cost = costs.get("dds_fast, float32"), self.info.get("cost")
        return f"{100 * (cost / exact - 1):+.3f} %" if cost and exact else ""


Columns = dict[str, Callable[[Line], str]]

CONTENDER: Columns = {"contender": lambda line: line.row.contender}
TIME: Columns = {"time": Line.spread}
SEARCH: Columns = {
    "G multiply-adds": Line.giga,
    "floor": lambda line: _time(line.arithmetic()),
    "× floor": lambda line: _ratio(line.seconds, line.arithmetic()),
}
LOOP: Columns = {"× loop": lambda line: _ratio(line.of(PYTORCH_LOOP), line.seconds)}
BEST: Columns = {"× best PyTorch": lambda line: _ratio(line.best("float32"), line.seconds)}
OWN: Columns = {
    "at its precision": lambda line: _ratio(
        line.best(line.info["precision"].replace("bf16x3", "float32")), line.seconds
    )
}
HERE: Columns = {
    "of product here": lambda line: _share(
        line.flops(), line.product(line.case, " at the case's shape")
    )
}
COLUMNS: dict[str, Columns] = {
    "limits": {"limit": lambda line: line.row.contender, **TIME, "rate": Line.rate},
    "memory": {
        **CONTENDER,
        "the search's peak, GiB": lambda line: (
            f"{(line.info['peak_bytes'] - line.info['bytes_before']) / 2**30:.2f}"
        ),
        "whole process, GiB": lambda line: f"{line.info['peak_bytes'] / 2**30:.2f}",
        "update step": lambda line: _time(line.seconds),
    },
    "decompose": {
        **CONTENDER,
        "time": lambda line: _time(line.seconds),
        **LOOP,
        "first call, few steps": lambda line: _time(line.info.get("first_seconds")),
        "steps": lambda line: line.number("n_steps"),
        "how it ended": lambda line: (
            f"{line.extrapolated()} steps" if line.extrapolated() else line.info["stop_reason"]
        ),
        "entries alive": Line.alive,
        "error of the first costs": Line.error,
        "last cost for float32's": Line.last_cost,
    },
    "training": {
        **CONTENDER,
        "step": Line.spread,
        "× slowest": lambda line: _ratio(max(r.seconds for r in line.rivals), line.seconds),
        "error": Line.error,
        "TFLOP/s": lambda line: f"{line.flops() / 1e12:.3g}",
        "Adam alone, GB/s": lambda line: f"{line.info['bytes_of_adam'] / line.seconds / 1e9:.0f}",
    },
    "notes": {
        **CONTENDER,
        **TIME,
        "× real time": lambda line: f"{line.info['sound_seconds'] / line.seconds:.3g}",
        "time / dds_fast, float32": lambda line: _ratio(line.seconds, line.of("dds_fast, float32")),
        **SEARCH,
        "steps": lambda line: ", ".join(
            filter(None, (line.number("n_steps"), line.extrapolated()))
        ),
        "error of the costs": Line.error,
        "last cost": lambda line: line.number("cost", ".4g"),
        "residual": lambda line: line.number("residual", ".4f"),
        "notes": lambda line: line.number("n_notes"),
    },
    "stages": {
        "search": lambda line: line.info["search"],
        "stage": lambda line: line.info["stage"],
        **TIME,
        **SEARCH,
    },
}
"""By the last word of a group."""

PLAIN: Columns = {**CONTENDER, **TIME, "error": Line.error}
RACES = ("forward", "backward", "gradient", "step", "adam", "euclidean", "kl")


def _race(style: Style, several: bool) -> Columns:
    """`several`: whether PyTorch takes part in several precisions."""
    giga, unit = (1e9, "GFLOP/s") if style.here else (1e12, "TFLOP/s")
    return {
        **CONTENDER,
        **TIME,
        **LOOP,
        **BEST,
        **(OWN if several else {}),
        "error": Line.error,
        "weights, GB/s": lambda line: f"{line.weights() / 1e9:.1f}",
        style.bytes_heading: lambda line: _share(line.weights(), line.moved()),
        unit: lambda line: f"{line.flops() / giga:.3g}",
        "of product": lambda line: _share(line.flops(), line.product("machine")),
        **(HERE if style.here else {}),
    }


def _table(results: Results, rows: Sequence[Row], columns: Columns) -> str:
    lines = [Line(results, row) for row in rows]
    return markdown(list(columns), [[cell(line) for cell in columns.values()] for line in lines])


def _summary(results: Results) -> str:
    """The fastest of ours in each race and precision."""
    fastest: list[Row] = []
    for group, rows in results.groups.items():
        if group.rpartition(" ")[2] in RACES:
            ours = [r for r in rows if r.refusal is None and r.contender.startswith("dds_fast")]
            for precision in ("float32", "tf32", "bf16x3", "bfloat16"):
                mine = [row for row in ours if row.info["precision"] == precision]
                fastest += sorted(mine, key=lambda row: row.seconds)[:1]
    columns: Columns = {
        "": lambda line: line.row.group,
        "fastest of ours": lambda line: line.row.contender.removeprefix("dds_fast, "),
        "time": lambda line: _time(line.seconds),
        "weights, GB/s": lambda line: f"{line.weights() / 1e9:.0f}",
        STYLES[results.suite].bytes_heading: lambda line: _share(line.weights(), line.moved()),
        "× floor": lambda line: _ratio(line.seconds, line.floor()),
        **LOOP,
        **BEST,
        "error": Line.error,
    }
    return "## Summary\n\n" + _table(results, fastest, columns) if fastest else ""


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
        word = group.rpartition(" ")[2]
        timed = [row for row in rows if row.refusal is None]
        if word != "stages":  # which have an order of their own
            timed.sort(key=lambda row: row.seconds)
        columns = COLUMNS.get(word, PLAIN)
        if word in RACES:
            precisions = {row.info["precision"] for row in timed if _batched(row)}
            columns = _race(style, len(precisions) > 1)
        parts.append(f"## {group}")
        if timed:
            parts.append(_table(results, timed, columns))
        if refused := _refused(rows):
            parts.append("\n".join(refused))
    return "\n\n".join(parts) + "\n"
