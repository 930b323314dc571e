"""One picture of the ways from sound to notes: real-time factors, and what takes the time."""

from __future__ import annotations

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from store import Results


def draw(results: Results) -> Figure | None:
    """The figure; None where nothing was measured."""
    notes = [group for group in results.groups if group.endswith(" notes")]
    if not notes:
        return None
    figure = Figure(figsize=(14, 5), layout="constrained")
    left, right = figure.subplots(1, 2)
    _factors(left, results, notes)
    _stages(right, results, [group.replace(" notes", " stages") for group in notes])
    return figure


def _case(group: str) -> str:
    return group.split(" ")[0].partition("-")[2]


def _factors(ax: Axes, results: Results, groups: list[str]) -> None:
    """Seconds of sound per second, a line per contender."""
    names = dict.fromkeys(row.contender for group in groups for row in results.groups[group])
    for i, name in enumerate(names):
        points = [
            (x, row.info["sound_seconds"] / row.seconds)
            for x, group in enumerate(groups)
            for row in results.groups[group]
            if row.contender == name and row.refusal is None
        ]
        ours = name.startswith("dds_fast") and "gradient" not in name
        ax.plot(
            *(zip(*points, strict=True) if points else ([], [])),
            color=colormaps["tab20"](i),
            marker="o" if ours else "x",
            linestyle="-" if ours else ":",
            label=name,
        )
    ax.axhline(1, color="grey", linewidth=0.8)
    ax.set_xticks(range(len(groups)), [_case(group) for group in groups])
    ax.set(yscale="log", xlabel="sound", ylabel="× real time", title="from sound to notes")
    ax.grid(alpha=0.3)
    ax.legend(fontsize="x-small")


def _stages(ax: Axes, results: Results, groups: list[str]) -> None:
    """Milliseconds per second of sound, a bar per search."""
    colors: dict[str, str] = {}
    labels = []
    for group in groups:
        seconds = results.groups[group.replace(" stages", " notes")][0].info["sound_seconds"]
        bars: dict[str, float] = {}
        for row in results.groups.get(group, []):
            search, stage = row.info["search"], row.info["stage"]
            if stage.startswith("of it"):
                continue
            if search not in bars:
                bars[search] = 0.0
                labels.append(f"{_case(group)}: {search.removeprefix('dds_fast, ')}")
            width = 1000 * row.seconds / seconds
            new = stage not in colors
            color = colors.setdefault(stage, f"C{len(colors)}")
            label = stage if new else None
            ax.barh(len(labels) - 1, width, left=bars[search], color=color, label=label)
            bars[search] += width
    ax.set_yticks(range(len(labels)), labels)
    ax.invert_yaxis()
    ax.set(xlabel="ms per second of sound", title="stages of dds_fast")
    ax.legend(fontsize="x-small")
