"""Notes written as text: one a line, in columns that a header may name."""

from __future__ import annotations

import csv
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING

from dds_fast.notes.names import NO_PITCH, parts

if TYPE_CHECKING:
    from dds_fast.notes.score import Row

COLUMNS = ("onset", "offset", "pitch", "velocity", "track")
"""Of a file without a header."""

_NAMES = {
    name: column
    for column, names in {
        "onset": "onset onsets onsettime start starttime begin begintime time noteon from tmin",
        "offset": "offset offsets offsettime end endtime stop stoptime noteoff to tmax",
        "duration": "duration dur durationtime noteduration length",
        "pitch": "pitch midipitch pitchmidi note notenumber midi midinote midinumber",
        "frequency": "frequency freq hz f0 pitchhz fundamental",
        "velocity": "velocity vel midivelocity onsetvelocity",
        "track": "track trackname part instrument source drum",
    }.items()
    for name in names.split()
}
"""What headers call the columns, without capitals, signs and units."""

_UNIT = re.compile(r"(.+?)[\s_\[(/-]+(s|secs?|seconds?|ms|msecs?|milliseconds?|hz)[\])]*")
_NUMBER = re.compile(r"[-+]?(\d+([.,]\d*)?|[.,]\d+)(e[-+]?\d+)?", re.ASCII | re.IGNORECASE)
_SPACED = re.compile(r"([-+]?\d+([.,]\d+)?(\s+|$)){3}", re.ASCII)
"""Three numbers between spaces: commas inside are decimal ones."""

_MUSICNET = {"start_time", "end_time", "start_beat", "end_beat", "note_value"}
_SAMPLE = 1 / 44100
"""Seconds: the unit of MusicNet's times."""

HIT = 0.05
"""Seconds that a note lasts whose end nothing tells: that of a drum."""

_LOWEST = 12
"""16 Hz. That all pitches are below means, without a header, that another column is read."""

_EXPECTED = "; without a header, the columns are onset offset pitch [velocity [track]]"

Columns = dict[str, tuple[int, float]]
"""Place of each column, and the seconds of its unit."""

_STANDARD: Columns = {name: (index, 1.0) for index, name in enumerate(COLUMNS)}


def read_text(path: Path, content: bytes) -> list[Row]:
    """Rows of a file; see `dds_fast.notes.score.load_labels`."""
    rows: list[Row] = []
    columns, n_columns = _STANDARD, None
    decimals: set[str] = set()
    widths: set[int] = set()
    for number, line in enumerate(map(str.strip, _decode(path, content).splitlines()), start=1):
        first = n_columns is None and not rows
        try:
            if line.startswith("#"):
                if first and (named := _commented(line)):
                    columns, n_columns = named, len(named)
            elif line:
                fields, separator = _split(line)
                numbers = [field for field in fields if _NUMBER.fullmatch(field)]
                if first and not numbers:
                    columns, n_columns = _named(fields), len(fields)
                    continue
                decimals |= set("".join(numbers)) & set(".,")
                if len(decimals) > 1:
                    raise ValueError("numbers of the file have decimal commas and decimal points")
                fields = _joined(fields, separator, columns, n_columns)
                # A field that is missing, or one too many, shifts the others.
                if n_columns is None:
                    widths.add(len(fields))
                    if len(widths) > 1:
                        raise ValueError("it has more or fewer columns than the lines before")
                elif len(fields) <= columns.get("velocity", (-1, 1.0))[0]:
                    raise ValueError("no velocity")
                rows.append(_row(fields, columns))
                if rows[-1][1] < rows[-1][0]:
                    raise ValueError(f"note {len(rows)} ends before it begins")
        except (ValueError, csv.Error) as error:
            expected = "" if n_columns else _EXPECTED
            raise ValueError(f"{path}, line {number}: {error}, in {line!r}{expected}") from None
    if n_columns is None and len(rows) > 1 and all(0 <= row[2] < _LOWEST for row in rows):
        raise ValueError(
            f"{path}, line 1: the third column holds no pitches but numbers below {_LOWEST}; name "
            "the columns in a header, as onset, duration, frequency"
        )
    return rows


def _decode(path: Path, content: bytes) -> str:
    encodings = ["utf-8-sig", "cp1252"]
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        encodings = ["utf-16"]
    elif b"\0" in content[:2]:
        encodings = ["utf-16-be" if content[0] == 0 else "utf-16-le"]
    for encoding in encodings:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if not re.search(r"[\0-\x08\x0e-\x1f\x7f]", text):
            return text
    raise ValueError(f"{path} is neither MIDI nor text")


def _split(line: str) -> tuple[list[str], str]:
    """The fields of a line, and what separates them."""
    problem: Exception | None = None
    for separator in "\t;, ":
        if separator == " ":
            line = " ".join(line.split())
        elif separator not in line or (separator == "," and _SPACED.match(line)):
            continue
        try:
            (row,) = csv.reader([line], delimiter=separator, skipinitialspace=True, strict=True)
        except (ValueError, csv.Error) as error:
            problem = error
            continue
        fields = [field.strip() for field in row]
        if len(fields) >= 3 or separator == " " or _is_hit(fields):
            while fields and not fields[-1]:
                fields.pop()
            return fields, separator
    raise ValueError(problem)


def _is_hit(fields: list[str]) -> bool:
    """Whether a line is a time and a drum, or their header."""
    return len(fields) == 2 and fields[1][:1].isalpha()


def _named(fields: list[str]) -> Columns:
    """The columns that a header names."""
    found: Columns = {}
    lower = [field.lower() for field in fields]
    for index, name in enumerate(lower):
        match = _UNIT.fullmatch(name)
        name, unit = match.groups() if match else (name, "")
        column = "frequency" if unit == "hz" else _NAMES.get(re.sub("[^a-z0-9]", "", name))
        if column in found:
            raise ValueError(f"two columns of the header may be the {column}")
        if column:
            found[column] = index, 1e-3 if unit.startswith("m") else 1.0
    for either in (("onset",), ("pitch", "frequency", "track"), ("offset", "duration")):
        if not any(column in found for column in either):
            if either[0] == "offset" and not {"pitch", "frequency"} & found.keys():
                continue
            raise ValueError(f"the header names no {' or '.join(either)}")
    if _MUSICNET <= set(lower):
        found |= {column: (found[column][0], _SAMPLE) for column in ("onset", "offset")}
    return found


def _commented(line: str) -> Columns | None:
    """The columns that a comment names, if it does nothing else."""
    try:
        fields, _ = _split(line.lstrip("# "))
        found = _named(fields)
    except (ValueError, csv.Error):
        return None
    return found if len(found) == len(fields) else None


def _joined(
    fields: list[str], separator: str, columns: Columns, n_columns: int | None
) -> list[str]:
    """The fields of a line, the words of a track that comes last as one."""
    if n_columns is None:
        if separator == "\t":
            fields = [field for field in fields if field]  # several tabs align columns
        if separator == "," and len(fields) > 4 and all(map(str.isdigit, fields[:5])):
            raise ValueError("its commas may be decimal ones: put tabs between the columns")
    elif len(fields) > n_columns and (separator, columns.get("track")) != (" ", (n_columns - 1, 1)):
        raise ValueError(f"it has {len(fields)} columns, the header names {n_columns}")
    last = (n_columns or len(COLUMNS)) - 1
    return [*fields[:last], *filter(None, [" ".join(fields[last:])])]


def _row(fields: list[str], columns: Columns) -> Row:
    def text(name: str) -> str:
        index = columns[name][0] if name in columns else len(fields)
        return fields[index] if index < len(fields) else ""

    def number(name: str) -> float:
        field, scale = text(name), columns.get(name, (0, 1.0))[1]
        pattern = re.compile(r"\d+") if scale == _SAMPLE else _NUMBER
        value = float(field.replace(",", ".")) if pattern.fullmatch(field) else math.nan
        if not math.isfinite(value):
            raise ValueError(f"the {name} is no number: {field!r}" if field else f"no {name}")
        return value * scale

    if columns is _STANDARD and _is_hit(fields):
        columns = {"onset": (0, 1.0), "track": (1, 1.0)}
    onset = number("onset")
    if "offset" in columns:
        offset = number("offset")
    else:
        offset = onset + (number("duration") if "duration" in columns else HIT)
    track, key = parts(text("track"))
    if "frequency" in columns and "pitch" not in columns:
        if (frequency := number("frequency")) <= 0:
            raise ValueError(f"the frequency is {frequency:g} Hz")
        pitch = float(round(69 + 12 * math.log2(frequency / 440)))
    elif text("pitch") or not track:
        pitch = number("pitch")
    else:  # a drum, or a key of an instrument
        pitch = float(NO_PITCH if key is None else key)
    if (text("pitch") or pitch != NO_PITCH) and not (0 <= pitch <= 127 and pitch.is_integer()):
        raise ValueError(f"the pitch is no MIDI number from 0 to 127 but {pitch:g}")
    velocity = number("velocity") if text("velocity") else 64.0
    if not 1 <= velocity <= 127:
        raise ValueError(f"the velocity is {velocity:g}, not from 1 to 127")
    return onset, offset, pitch, velocity, track
