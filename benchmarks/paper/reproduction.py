"""docs/reproduction.md, made from the committed results; a test compares the two.

    python benchmarks reproduction

Table I is taken from benchmarks/results/table1, where ``dds-fast bench table1`` has written it;
Table II and the trends from the folders of benchmarks/results/reproduction, where ``dds-fast bench
table2`` and ``dds-fast bench trends`` have. Reports and figures there are made again, too.
"""

from __future__ import annotations

import statistics
from pathlib import Path

import store
from paper import scaling, table2, trends
from paper.complexity import METHODS
from paper.runs import Row
from paper.verdicts import RULE, overall
from report import markdown
from store import RESULTS

PAGE = store.CHECKOUT / "docs" / "reproduction.md"
LINK = "../benchmarks/results"

SOURCES = {
    "pianos": "dds-fast bench {command} --out DIR --preset pianos --notes isol/real_c3close "
    "isol/real_oldbacon isol/real_steinway --every 3 --held-out isol/real_c5 "
    "--mixtures rand/real_kawai_mix/P2 real/ENSTDkAm@0.05 --seeds 14{only}",
    "recorded": "dds-fast bench {command} --out DIR --notes isol/* "
    "--mixtures real_kawai_mix/P2 ENSTDkAm@0.05 real_kawai_mix/P3 real_kawai_mix/P5 "
    "--model dds2=FILE dds3=FILE --files 2 --seconds 2 --steps 200 --components 1 5 10{only}",
    "generated": "dds-fast bench {command} --out DIR{only}",
}
"""How each folder was made."""

INTRODUCTION = """\
The claims of the DDS paper ([arXiv 2211.15524](https://arxiv.org/abs/2211.15524)) beside what this
library measures. MAPS, the paper's data, is licensed and not here; who owns it gives its path:
`dds-fast bench table2 --preset full --maps PATH` follows the paper's protocol, trains and searches
at its sizes, and wants a GPU. What is measured below are smaller stand-ins:

{sources}

This page is made by `python benchmarks reproduction` from the JSON in
[benchmarks/results/reproduction]({link}/reproduction); a test fails where they differ."""

DESCRIPTIONS = {
    "pianos": "three recorded pianos to learn from; to test on, chords mixed from the recorded "
    "notes of a fourth, of every polyphony and both intensities, chords of a fifth, and music on "
    "the Disklavier of MAPS. The command trains the dictionaries that it searches with.",
    "recorded": "four recorded pianos and two SoundFonts to learn from; to test on, chords mixed "
    "from recorded notes of another piano, and music on the Disklavier of MAPS. Its dictionaries "
    "were trained before and are not kept; seconds were counted from the beginning of a file.",
    "generated": "tones that any machine makes, in the layout of MAPS, read by the same code; "
    "another timbre to test on. Anyone gets these numbers with one command and no data.",
}

CODE = "the authors' published code"
CONSTANTS = (
    ("Table I, all its cells", "the laws below", "reconstructed from the paper's prose"),
    ("sampling rate, hop, compression", "16 kHz, 512, log with gamma 1e4", CODE),
    ("F", "512, 1024", "inferred: the widths in the text are F / 4 and 2 F"),
    ("residual; weight of the likelihood", "not squared; 1e-4", CODE),
    ("step size of a search", "NMF 1e-2, DDS 1e-3", CODE),
    ("where a search begins", "NMF 1 / N; codes 0, activations uniform", CODE),
    ("plateau rule", "halved after 10 steps above the best, ended after 100", CODE),
    ("K", "20, or as listed", "a default of that code; Table II's is not known"),
    ("eps of l0", "1e-2, others beside it", "chosen; the paper's is not known"),
    ("numbers of Table II; flow steps, layers, keys, most update steps", "", "the paper's text"),
)
"""What the text of the paper that we have lacks, and what stands in its place."""

REDUCED = """\
Reduced against the paper: smaller flows and shorter training, fewer and shorter snippets, fewer
update steps; F, K, S and sampling rate as listed: an F and its half stand in for 1024 and 512. A
verdict below is about these runs, not about the paper's."""


def records(results: Path = RESULTS) -> dict[str, Row]:
    """The committed runs by source."""
    paths = {name: results / "reproduction" / name / "runs.json" for name in SOURCES}
    return {name: store.read(path) for name, path in paths.items() if path.exists()}


def sources(found: dict[str, Row]) -> str:
    """Markdown: what was learned from and tested on, and the command of what was not yet."""
    lines = [f"- *{name}*: {text}" for name, text in DESCRIPTIONS.items()]
    for i, (name, command) in enumerate(SOURCES.items()):
        if name not in found:
            lines[i] += f" Not measured yet: `{command.format(command='trends', only='')}`."
    return "\n".join(lines)


def verdict(record: Row, number: int) -> str:
    """Of a trend; says so where nothing of it was measured."""
    parts = trends.TRENDS[number].judge(record)
    return overall(parts) if any(part.measured for part in parts) else "not measured"


def overview(found: dict[str, Row]) -> str:
    """Markdown: the claims in a row each, a column per source."""
    rows = [
        [str(n), trend.claim, *(f"**{verdict(record, n)}**" for record in found.values())]
        for n, trend in trends.TRENDS.items()
    ]
    return markdown(["", "claim", *found], rows)


def order(record: Row) -> str:
    """The methods by PSA, set by set, beside the paper's order."""
    lines = []
    for name in table2.complete(record):
        means = {}
        for method in METHODS:
            rows = table2.rows_of(record, method, name)
            means[method] = sum(row["scores"]["psa"] for row in rows) / len(rows)
        ranked = sorted(METHODS, key=lambda method: -means[method])
        text = " > ".join(f"{method} {means[method]:.3f}" for method in ranked)
        same = ranked == sorted(METHODS, key=lambda m: -table2.PRINTED["psa"][m])
        lines.append(f"- {name}: {text}: {'the order printed' if same else 'another order'}.")
    printed = sorted(table2.PRINTED["psa"].items(), key=lambda item: -item[1])
    return "\n".join([f"Printed: {' > '.join(f'{m} {v}' for m, v in printed)}.", "", *lines])


def remarks(record: Row) -> str:
    """What else the table says, in words."""
    rows = {
        m: [r for name in table2.complete(record) for r in table2.rows_of(record, m, name)]
        for m in METHODS
    }
    if not rows["NMF"]:
        return ""
    losses, times = {}, {}
    for method, found in rows.items():
        scores = [row["scores"] for row in found]
        losses[method] = [s["frame_f1_at_best_threshold"] - s["frame_f1"] for s in scores]
        times[method] = statistics.median(row["processor_seconds"] for row in found)
    loss = ", ".join(f"{m} {statistics.mean(v):.2f}" for m, v in losses.items())
    time = ", ".join(f"{m} {times[m] / times['NMF']:.2f}" for m in METHODS[1:])
    return "\n".join(
        [
            "- F1 lost by a threshold from other pianos, against the snippet's own best one, on "
            f"average: {loss}.",
            f"- Processor time of a search over that of NMF, medians: {time}.",
        ]
    )


def _outside(fits: list[scaling.Fit]) -> list[str]:
    """The fitted slopes that are farther than 0.1 from the exponent."""
    if not fits:
        return []
    rows = [
        [
            f"{fit.quantity}, {fit.component}, {fit.method}",
            *(fit.axis, fit.backend, str(fit.counted), f"{fit.slope:.2f}"),
            f"{fit.low:,} to {fit.high:,}",
        ]
        for fit in fits
    ]
    return [
        "Outside are, with the range of each fit:",
        markdown(["cell", "over", "backend", "exponent", "slope", "range"], rows),
    ]


def table1_section(results: Path) -> list[str]:
    folder = results / "table1"
    command = "`dds-fast bench table1 --out DIR`"
    if not list(folder.glob("axis_*.json")):
        return [
            "## Table I: complexity",
            f"Not measured on a machine of its own yet; {command} does it in under 30 minutes. "
            "Exact exponents of multiply-adds and bytes are compared with Table I's by a "
            "test.",
        ]
    found = store.load(folder)
    fits = scaling.fits(found)
    outside = [f for f in fits if f.slope is not None and abs(f.slope - f.counted) > scaling.NEAR]
    return [
        "## Table I: complexity",
        f"{command}, on {'; '.join(found.machines)}. All tables, ranges and figures: "
        f"[results/table1]({LINK}/table1/README.md).",
        scaling.summary(fits).format(method="method.md"),
        *_outside(outside),
        *(f"### {q.capitalize()}\n\n{scaling.exponents(fits, q)}" for q in scaling.UNITS),
        f"![Whole passes over N and T]({LINK}/table1/crossings.svg)",
    ]


def table2_section(name: str, record: Row) -> list[str]:
    beside = table2.searches(record)
    sets = [f"#### {one}\n\n{table2.table(record, one)}" for one in table2.sets_of(record)]
    return [
        f"### {name.capitalize()}",
        f"`{SOURCES[name].format(command='table2', only='')}`",
        table2.settings(record),
        *sets,
        f"![PSA and sparsity by method]({LINK}/reproduction/{name}/table2.svg)",
        order(record),
        remarks(record),
        *([f"Other searches beside the paper's:\n\n{beside}"] if beside else []),
        "How the searches ended (*frozen*: the plateau rule had halved the step size six times or "
        f"more, of those of which the last step size was kept):\n\n{trends.ends(record)}",
    ]


def trend_section(number: int, found: dict[str, Row]) -> list[str]:
    parts = [f"### {number}. {trends.TRENDS[number].claim}"]
    for name, record in found.items():
        said = verdict(record, number)
        if said == "not measured":
            parts.append(f"*{name}*: not measured.")
            continue
        parts += [f"*{name}*: **{said}**.", trends.parts_table(record, number)]
        if any(panel.series for panel in trends.TRENDS[number].panels(record)):
            figure = f"{LINK}/reproduction/{name}/trend_{number}.svg"
            parts.append(f"![Trend {number}, {name}]({figure})")
    return parts


def page(results: Path = RESULTS) -> str:
    """The whole page."""
    found = records(results)
    parts = [
        "# The paper's tables and claims, measured",
        INTRODUCTION.format(link=LINK, sources=sources(found)),
        "## The nine trends at a glance",
        RULE,
        overview(found),
        "## The paper's constants",
        "The text of the paper that we have lacks its formulas and many of its numbers. What "
        "stands in their place:",
        markdown(["what", "value", "from"], CONSTANTS),
        *table1_section(results),
        "## Table II: the methods",
        REDUCED,
    ]
    if found:
        parts.append(table2.notes(next(iter(found.values()))))
    for name, record in found.items():
        parts += table2_section(name, record)
    parts.append("## The trends one by one")
    parts += [f"`{SOURCES[name].format(command='trends', only='')}`" for name in found]
    for number in trends.TRENDS:
        parts += trend_section(number, found)
    parts += ["## Where the numbers come from", origins(results)]
    return "\n\n".join(parts) + "\n"


def origins(results: Path) -> str:
    """Markdown: what the results of this page, and all others, say of where they come from."""
    paths = sorted(path for path in results.rglob("*.json") if "runs" in store.read(path))
    of_page = [p for p in paths if p.parent.parent.name == "reproduction" or "table1" in p.parts]
    rows = []
    for path in of_page:
        record = store.read(path)
        commits = {(run["commit"] or "none")[:7] for run in record["runs"]}
        lacking = store.lacking(record)
        name = path.relative_to(results).as_posix()
        rows.append([f"[{name}]({LINK}/{name})", ", ".join(sorted(commits)), ", ".join(lacking)])
    others = {p.relative_to(results).as_posix(): store.lacking(store.read(p)) for p in paths}
    others = {name: lacks for name, lacks in others.items() if results / name not in of_page}
    lines = []
    for what in ("commit", "clean tree", "seed", "models"):
        without = [name for name, lacks in others.items() if what in lacks]
        if 2 * len(without) <= len(others):
            lines.append(f"- no {what}: {', '.join(without) or 'none'}")
        else:
            named = ", ".join(name for name in others if name not in without)
            lines.append(f"- no {what}: all but {named or 'none'}")
    return "\n\n".join(
        [
            "Each result names its machine and versions. Since all are written so, it names the "
            "command, the commit, whether the tree was clean, the seed and the models by SHA-256, "
            "too; what older ones do not say:",
            markdown(["result", "commit", "lacks"], rows),
            "Of the other results in [benchmarks/results](../benchmarks/results):",
            "\n".join(lines),
        ]
    )


def main() -> None:
    scaling.write(RESULTS / "table1")
    for name, record in records().items():
        folder = RESULTS / "reproduction" / name
        table2.write(folder, record)
        trends.write(folder, record, trends.TRENDS)
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
