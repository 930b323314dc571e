"""What a corpus holds: how sure its notes are, what failed, and which recordings to listen to."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dds_fast.corpus import manifest
from dds_fast.corpus.table import NOTES, Table, needs_extra
from dds_fast.files import writing
from dds_fast.notes.found import Note

REPORT = Path("report") / "index.html"
BINS = 10
"""Of the distribution of confidence."""

SOUND, PAGE_SR = "recording", 16000
"""Name and sampling rate of what a listening page plays."""

LISTENED = 600.0
"""Seconds from its beginning on that a listening page holds of a recording."""

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
SPREAD = 1.4826
"""Standard deviations of a normal distribution in a median absolute deviation."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Report:
    """A corpus in numbers.

    Attributes:
        n_recordings: in the table.
        hours: of sound in which notes were looked for.
        n_notes: found.
        confidence: how many notes lie in each tenth from 0 to 1; none where the dictionary is not
            calibrated.
        notes_per_second: its `QUANTILES` over recordings.
        stop_reasons: how many searches ended for which reason.
        failures: how many recordings failed, by error, the recording's name left out.
        suspicious: rows of the recordings that differ most from the others, each with its
            "suspicion" and "reason".

    Example:
        >>> print(Report(2, 0.5, 3, (0, 0, 0, 0, 0, 0, 0, 0, 1, 2), (1.0,) * 5, {"converged": 1},
        ...              {"holds no samples": 1}, ()))
        2 recordings, 0.5 hours of sound, 3 notes
        confidence of notes: 0.8 to 0.9: 33 %, 0.9 to 1.0: 67 %
        notes per second: 5 %: 1.00, 25 %: 1.00, 50 %: 1.00, 75 %: 1.00, 95 %: 1.00
        searches ended: converged 1
        failed: 1
          1: holds no samples
    """

    n_recordings: int
    hours: float
    n_notes: int
    confidence: tuple[int, ...]
    notes_per_second: tuple[float, ...]
    stop_reasons: dict[str, int]
    failures: dict[str, int]
    suspicious: tuple[Row, ...]

    def __str__(self) -> str:
        said = [f"{self.n_recordings} recordings, {self.hours:.1f} hours of sound, "]
        said[0] += f"{self.n_notes} notes"
        if told := sum(self.confidence):
            shares = (
                f"{index / BINS:.1f} to {(index + 1) / BINS:.1f}: {count / told:.0%}".replace(
                    "%", " %"
                )
                for index, count in enumerate(self.confidence)
                if count
            )
            said.append(f"confidence of notes: {', '.join(shares)}")
        rates = zip(QUANTILES, self.notes_per_second, strict=True)
        said.append("notes per second: " + ", ".join(f"{q * 100:g} %: {r:.2f}" for q, r in rates))
        ended = ", ".join(f"{reason} {count}" for reason, count in self.stop_reasons.items())
        said.append(f"searches ended: {ended}")
        said.append(f"failed: {sum(self.failures.values())}")
        said += [f"  {count}: {error}" for error, count in self.failures.items()]
        return "\n".join(said)


def report(output: str | Path, *, n_pages: int = 20, overwrite: bool = False) -> Report:
    """What a corpus holds, also as pages below ``output/report``.

    Its ``index.html`` leads to a listening page for each of the most suspicious recordings: their
    first ten minutes with the notes found. Suspicious is who is far from the others, in robust
    standard deviations, in notes per second or below them in mean confidence.

    Args:
        output: the folder of the table.
        n_pages: how many recordings are suspected.
        overwrite: replace an earlier report.

    Raises:
        FileNotFoundError: no corpus there.
        FileExistsError: there is a report, and `overwrite` is false.
        ImportError: the extra ``ray`` is not installed.

    Example:
        >>> report("/no/such/folder")
        Traceback (most recent call last):
        FileNotFoundError: /no/such/folder holds no corpus
    """
    table = Table(output)
    if table.record() is None:
        raise FileNotFoundError(f"{output} holds no corpus")
    needs_extra()
    index = table.folder / REPORT
    if index.exists() and not overwrite:
        raise FileExistsError(f"{index} exists; pass overwrite=True (--overwrite) to replace it")
    made = _summary(table, n_pages)
    pages = dict(_pages(table, made.suspicious))
    with writing(index, overwrite) as path:
        path.write_text(_index(made, pages), "utf-8")
    return made


def _summary(table: Table, n_suspicious: int) -> Report:
    from pyarrow import parquet

    rows = table.rows(
        ["recording", "seconds", "n_notes", "confidence", "stop_reason", "warning", "error"]
    )
    good = [row for row in rows if row["error"] is None]
    failed = Counter(_kind(row) for row in rows if row["error"] is not None)
    confidence = np.zeros(BINS, dtype=int)
    for path in table.parts(NOTES):
        told = parquet.read_table(path, columns=["confidence"])["confidence"].drop_null()
        confidence += np.histogram(told.to_numpy(), BINS, (0, 1))[0]
    rates = [row["n_notes"] / row["seconds"] for row in good]
    return Report(
        len(rows),
        sum(row["seconds"] for row in good) / 3600,
        sum(row["n_notes"] for row in good),
        tuple(confidence.tolist()),
        tuple(np.quantile(rates or [0.0], QUANTILES).tolist()),
        dict(Counter(row["stop_reason"] for row in good).most_common()),
        dict(failed.most_common()),
        tuple(_suspicious(good)[:n_suspicious]),
    )


def _kind(row: Row) -> str:
    """An error without the recording's own name, so that equal ones count together."""
    return row["error"].replace(row["recording"], "").strip(" :") or row["error"]


def _suspicious(rows: list[Row]) -> list[Row]:
    """Rows with their suspicion, the greatest first."""
    if not rows:
        return []
    rates = _deviations([np.log1p(row["n_notes"] / row["seconds"]) for row in rows])
    doubts = -_deviations(
        [np.nan if row["confidence"] is None else row["confidence"] for row in rows]
    )
    found = []
    for row, rate, doubt in zip(rows, rates.tolist(), doubts.tolist(), strict=True):
        reason = f"{row['n_notes'] / row['seconds']:.2f} notes per second"
        if doubt > abs(rate):
            reason = f"mean confidence {row['confidence']:.2f}"
        found.append({**row, "suspicion": max(abs(rate), doubt), "reason": reason})
    return sorted(found, key=lambda row: -row["suspicion"])


def _deviations(values: Iterable[float]) -> np.ndarray:
    """From the median, in robust standard deviations; 0 for NaN, and where all are equal."""
    given = np.array(list(values), dtype=float)
    if np.isnan(given).all():
        return np.zeros(len(given))
    apart = given - np.nanmedian(given)
    spread = SPREAD * np.nanmedian(np.abs(apart)) or np.nanstd(given) or 1.0
    return np.nan_to_num(apart / spread)


def _pages(table: Table, rows: Iterable[Row]) -> Iterator[tuple[str, str]]:
    """Recordings with the names of their listening pages, which are written."""
    from dds_fast.audio.waveforms import load
    from dds_fast.page import page

    notes = _notes(table, {row["recording"] for row in rows})
    for number, row in enumerate(rows, start=1):
        recording = row["recording"]
        try:
            with manifest.fetched(recording) as (path, _):
                waveform = load(path, PAGE_SR)[: int(LISTENED * PAGE_SR)]
        except (OSError, ValueError):  # it was there when it was decomposed
            continue
        seconds = len(waveform) / PAGE_SR
        heard = [(SOUND, note) for note in notes[recording] if note.start < seconds]
        name = f"{number:02d}.html"
        with writing((table.folder / REPORT).with_name(name), overwrite=True) as temporary:
            text = page(Path(recording).name, [SOUND], waveform[None], PAGE_SR, notes=heard)
            temporary.write_text(text, "utf-8")
        yield recording, name


def _notes(table: Table, recordings: set[str]) -> dict[str, list[Note]]:
    """The notes of some recordings."""
    from pyarrow import parquet

    found: dict[str, list[Note]] = {recording: [] for recording in recordings}
    wanted = [("recording", "in", recordings)]
    for path in table.parts(NOTES) if recordings else ():
        for row in parquet.read_table(path, filters=wanted).to_pylist():
            found[row.pop("recording")].append(Note(**row))
    return found


def _index(made: Report, pages: dict[str, str]) -> str:
    """The page that leads to the others."""
    lines = []
    for row in made.suspicious:
        name = html.escape(row["recording"])
        link = pages.get(row["recording"])
        shown = f'<a href="{link}">{name}</a>' if link else f"{name} (cannot be read any more)"
        lines.append(
            f"<tr><td>{row['suspicion']:.1f}<td>{shown}<td>{html.escape(row['reason'])}"
            f"<td>{html.escape(row['warning'] or '')}"
        )
    return (
        '<!doctype html><meta charset="utf-8"><title>Corpus</title>'
        "<style>body{font:15px sans-serif;margin:2em}td,th{text-align:left;padding:.2em 1em}"
        "</style><h1>Corpus</h1>"
        f"<pre>{html.escape(str(made))}</pre><h2>To listen to</h2>"
        "<table><tr><th>suspicion<th>recording<th>why<th>warnings"
        f"{''.join(lines)}</table>\n"
    )
