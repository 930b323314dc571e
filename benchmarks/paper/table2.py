"""Table II of the DDS paper, measured; this is ``dds-fast bench table2``.

    dds-fast bench table2 --out DIR                                 made instruments, minutes
    dds-fast bench table2 --out DIR --preset full --maps MAPS       the paper's protocol, on a GPU
    dds-fast bench table2 --out DIR --notes DIR... --mixtures DIR[@DELAY]...

Over-complete NMF, DDS-1, DDS-2 and DDS-3 learn from the same isolated notes and search the same
recordings of another piano for as many steps, with the paper's settings. Every search is a row of
DIR/runs.json and is not repeated, so an interrupted run continues; DIR/table2.md and DIR/table2.svg
are made of all of them.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from paper import runs
from paper.complexity import METHODS
from paper.runs import Row, Runs
from report import markdown, save

PRINTED = {
    "psa": {"NMF": 0.3568, "DDS-1": 0.2760, "DDS-2": 0.4323, "DDS-3": 0.6475},
    "l0": {"NMF": 0.6824, "DDS-1": 0.7039, "DDS-2": 0.8121, "DDS-3": 0.9367},
}
"""Of the paper: MAPS RAND M36-95, I32-96, P2 of ENSTDkCl; its eps, F and K are not known."""


def score(name: str) -> Callable[[Row], float]:
    return lambda row: row["scores"][name]


COLUMNS: dict[str, tuple[Callable[[Row], float], int]] = {
    "PSA": (score("psa"), 3),
    "l0(1e-3)": (score("l0(0.001)"), 3),
    "l0(1e-2)": (score("l0(0.01)"), 3),
    "l0(1e-1)": (score("l0(0.1)"), 3),
    "l0(1e-3 max)": (score("l0(0.001 max)"), 3),
    "F1": (score("frame_f1"), 3),
    "best F1": (score("frame_f1_at_best_threshold"), 3),
    "error": (lambda row: row["relative_error"], 3),
    "seconds": (lambda row: row["processor_seconds"], 0),
}
"""How each is read from a row, and its decimals."""

NOTES = """\
- Means over n searches, ± their standard deviation. {moves}
- l0(eps): share of source activations of at most eps. The paper does not say its eps; "max" is the
  largest activation of the snippet.
- F1: of frames, at the threshold that is best on chords of the pianos learned from; "best":
  at the threshold that is best on the snippet itself.
- Error: norm of the residual over that of the spectrogram. Seconds: processor time of a search.
- Frames in which nothing is labelled are not scored.
- Printed: the paper's values, for two-note chords of a real Disklavier (MAPS, I32-96). Its F, K and
  eps are not in the text that we have."""


def rows_of(record: Row, method: str, set_name: str, search: str = "paper") -> list[Row]:
    """Finished rows at the F and K of table II, of one of `runs.SEARCHES`."""
    wanted = (method, *runs.sizes(record["about"], method), set_name, search)
    found = runs.finished(record).items()
    return [
        row
        for r, row in found
        if (r.method, r.n_features, r.n_components, r.set, r.search) == wanted
    ]


def spread(values: Iterable[float], decimals: int) -> str:
    values = np.array(list(values))
    text = f"{values.mean():.{decimals}f}"
    return text if len(values) < 2 else f"{text} ± {values.std(ddof=1):.{decimals}f}"


def table(record: Row, set_name: str) -> str:
    """Markdown: a row per method that has been run."""
    lines = []
    for method in METHODS:
        if not (rows := rows_of(record, method, set_name)):
            continue
        cells = [spread(map(read, rows), n) for read, n in COLUMNS.values()]
        printed = [f"{PRINTED[name][method]:.4f}" for name in PRINTED]
        lines.append([method, *printed, str(len(rows)), *cells])
    return markdown(["method", "PSA, printed", "l0, printed", "n", *COLUMNS], lines)


BESIDE = ("PSA", "l0(1e-2)", "best F1", "error", "seconds")


def searches(record: Row) -> str:
    """Markdown: the other searches beside the paper's, on the same snippets; empty without any."""
    lines = []
    for name, method in itertools.product(sets_of(record), METHODS):
        by_seed = {row["seed"]: row for row in rows_of(record, method, name)}
        for search in list(runs.SEARCHES)[1:]:
            rows = [r for r in rows_of(record, method, name, search) if r["seed"] in by_seed]
            if not rows:
                continue
            for label, some in (("paper", [by_seed[r["seed"]] for r in rows]), (search, rows)):
                cells = [spread(map(COLUMNS[c][0], some), COLUMNS[c][1]) for c in BESIDE]
                lines.append([name, method, label, str(len(some)), *cells])
    if not lines:
        return ""
    said = "; ".join(f"*{name}*: {text}" for name, text in runs.SEARCHES.items())
    return f"{markdown(['set', 'method', 'search', 'n', *BESIDE], lines)}\n\nSearches: {said}."


def sets_of(record: Row) -> list[str]:
    """Names of the sets searched at the F and K of table II, in the order of the rows."""
    names = dict.fromkeys(row["set"] for row in record["rows"])
    return [name for name in names if any(rows_of(record, m, name) for m in METHODS)]


def complete(record: Row) -> list[str]:
    """Those that all methods have rows of."""
    return [n for n in sets_of(record) if all(rows_of(record, m, n) for m in METHODS)]


def settings(record: Row) -> str:
    """What was run, a Markdown list."""
    about, budget = record["about"], record["about"]["budget"]
    run = record["runs"][-1]
    training = f"`fit` with preset {budget['training']}"
    if epochs := budget["max_epochs"]:
        training += ", " + " and ".join(f"{n} epochs ({kind})" for kind, n in epochs.items())
    if budget["batch_size"] is not None:
        training += f", batches of {budget['batch_size']}"
    training += "; a training per seed" if budget["train_each_seed"] else "; one training"
    if about["models"]:
        sizes = (
            f"{kind} of {one['n_steps']} steps, width {one['width']}, depth {one['depth']}"
            for kind, one in about["models"].items()
        )
        training = f"flows trained before: {'; '.join(sizes)}"
    K, F = budget["n_components"], budget["n_features"][0]
    files = "all files" if budget["n_files"] is None else f"{budget['n_files']} files per seed"
    if budget["seconds"] is not None:
        files += f", of each {budget['seconds']:g} s at most"
    frames = sorted({row["n_frames"] for row in record["rows"]})
    (entries,) = {
        row["n_entries"]
        for row in record["rows"]
        if (row["method"], row["n_features"], row.get("search", "paper")) == ("NMF", F, "paper")
    } or {0}
    search = f"the paper's settings at {budget['max_steps']} steps"
    for kind, size in budget["step_size"].items():
        search += f", step size {size:g} for {kind}"
    return "\n".join(
        [
            f"- Data: {about['description']}.",
            f"- Training: {training}. NMF's dictionary: {entries:,} frames.",
            f"- Search: {search}; F = {F}, K = {K}; DDS in {budget['precision']}, NMF in float32.",
            f"- Test: {files}; {frames[0]} to {frames[-1]} frames a snippet.",
            f"- Measured on {machine(run)}.",
        ]
    )


def machine(run: Row) -> str:
    """Of a run, with the versions that matter."""
    found, versions = run["machine"], run["versions"]
    where = found.get("gpu") or (
        f"{found['cpu']}, {found['threads']} of {found['cores']} cores, kernels at {found['level']}"
    )
    return f"{where}, torch {versions['torch']}, Python {versions['python']}"


def notes(record: Row) -> str:
    """How the table is to be read."""
    budget = record["about"]["budget"]
    moved = ["the initial activations of DDS"]
    if budget["train_each_seed"]:
        moved.append("the training of its flows")
    if budget["n_files"] is not None:
        moved.append("where a set has enough, the files")
    moves = f"A seed moves {', and '.join(moved)}; nothing else in NMF is random."
    return NOTES.format(moves=moves)


def report(record: Row) -> str:
    """Markdown; the figure is named, not drawn."""
    parts = ["# Table II: the methods", settings(record), notes(record)]
    if record["about"]["budget"]["preset"] == "check":
        parts.insert(1, "**Tiny sizes, to see that it works: no number here means anything.**")
    parts += [f"## {name}\n\n{table(record, name)}" for name in sets_of(record)]
    if beside := searches(record):
        parts.append(f"## Other searches\n\n{beside}")
    return "\n\n".join([*parts, "![PSA and sparsity by method](table2.svg)"]) + "\n"


def draw(record: Row) -> Figure | None:
    """PSA and l0(1e-2) by method, a panel each; None where no set is complete."""
    names = complete(record)
    if not names:
        return None
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    for ax, (printed, column) in zip(
        figure.subplots(1, 2), {"psa": "PSA", "l0": "l0(1e-2)"}.items(), strict=True
    ):
        x = np.arange(len(METHODS))
        read, _ = COLUMNS[column]
        for i, name in enumerate(names):
            values = [[read(row) for row in rows_of(record, m, name)] for m in METHODS]
            at = x + (i - (len(names) - 1) / 2) * 0.7 / len(names)
            # The colours of methods are those of other figures.
            colour, width = f"C{len(METHODS) + i}", 0.65 / len(names)
            ax.bar(at, [np.mean(v) for v in values], width, label=name, color=colour)
            for place, of_seeds in zip(at, values, strict=True):
                ax.plot([place] * len(of_seeds), of_seeds, ".", color="black", markersize=3)
        ax.plot(
            x,
            list(PRINTED[printed].values()),
            "D",
            color="black",
            mfc="none",
            label="printed in the paper",
        )
        ax.set_xticks(x, METHODS)
        ax.set(title=column, ylim=(0, 1))
        ax.grid(axis="y", alpha=0.3)
    handles = ax.get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", fontsize="x-small", ncols=3, frameon=False)
    return figure


def write(folder: Path, record: Row) -> None:
    (folder / "table2.md").write_text(report(record), encoding="utf-8")
    save(draw(record), folder / "table2.svg")


def select(text: str | None) -> tuple[str, ...]:
    """The methods named, comma-separated.

    Raises:
        ValueError: there is no such method.
    """
    methods = METHODS if text is None else tuple(text.split(","))
    if unknown := sorted(set(methods) - set(METHODS)):
        raise ValueError(f"--only: unknown {unknown[0]}; there are {', '.join(METHODS)}")
    return methods


def main() -> int:
    parser = argparse.ArgumentParser(prog="dds-fast bench table2", description="Table II")
    parser.add_argument("--only", help="methods, comma-separated: NMF, DDS-1, DDS-2, DDS-3")

    def measure(made: Runs, only: str | None) -> None:
        made.make(r for test in made.table_sets() for m in select(only) for r in made.of(m, test))

    def report_to(folder: Path, record: Row, only: str | None) -> Path:
        write(folder, record)
        return folder / "table2.md"

    return runs.command(parser, select, measure, report_to)
