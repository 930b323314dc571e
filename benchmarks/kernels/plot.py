"""One picture of the update steps: time by case, a line per contender, a panel per workload."""

from __future__ import annotations

from kernels.contenders import REFERENCE
from matplotlib.figure import Figure
from store import Results, Row


def draw(results: Results) -> Figure | None:
    """The figure; None where no update step was measured."""
    steps = {g: rows for g, rows in results.groups.items() if g.endswith(" step")}
    workloads = sorted({group.split("-")[0] for group in steps})
    if not workloads:
        return None
    figure = Figure(figsize=(4 + 4 * len(workloads), 5), layout="constrained")
    axes = figure.subplots(1, len(workloads), squeeze=False)[0]
    contenders = sorted({row.contender for rows in steps.values() for row in rows})
    for ax, workload in zip(axes, workloads, strict=True):
        cases = sorted(
            (group for group in steps if group.startswith(f"{workload}-")),
            key=lambda group: _slowest(steps[group]),
        )
        for i, contender in enumerate(contenders):
            milliseconds = [
                None if (s := results.seconds(case, contender)) is None else 1000 * s
                for case in cases
            ]
            points = [(x, y) for x, y in enumerate(milliseconds) if y is not None]
            ours = contender.startswith("dds_fast, ") and contender != REFERENCE
            ax.plot(
                *(zip(*points, strict=True) if points else ([], [])),
                color=f"C{i % 10}",
                marker="o" if ours else "x",
                linestyle="-" if ours else ":",
                label=contender,
            )
        labels = [case.removesuffix(" step").partition("-")[2] for case in cases]
        ax.set_xticks(range(len(cases)), labels, rotation=30)
        ax.set(yscale="log", title=workload, ylabel="update step, ms")
        ax.grid(alpha=0.3)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right", fontsize="small")
    return figure


def _slowest(rows: list[Row]) -> float:
    return max((row.seconds for row in rows if row.refusal is None), default=0.0)
