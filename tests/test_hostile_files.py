"""Recordings and labels that something happened to: what is read is right, the rest is refused.

``DDS_FAST_FUZZ=2000 pytest tests/test_hostile_files.py`` tries so many of each in place of 250.
"""

from __future__ import annotations

import os
import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import pytest
import soundfile
from tiny import dictionary, tone

import dds_fast
from dds_fast import audio
from dds_fast.notes.score import load_labels

N_FILES = int(os.environ.get("DDS_FAST_FUZZ", 250))
SR = 16000
N_SAMPLES = 8000
FORMS = {
    "wav": [("WAV", "PCM_16"), ("WAV", "PCM_24"), ("WAV", "PCM_U8"), ("WAV", "FLOAT")],
    "aiff": [("AIFF", "PCM_16"), ("AIFF", "DOUBLE")],
    "au": [("AU", "PCM_16"), ("AU", "FLOAT")],
    "w64": [("W64", "PCM_16")],
    "rf64": [("RF64", "PCM_16")],
    "caf": [("CAF", "PCM_16")],
    "flac": [("FLAC", "PCM_16")],
    "ogg": [("OGG", "VORBIS"), ("OGG", "OPUS")],
    "mp3": [("MP3", "MPEG_LAYER_III")],
}
CUTS_ARE_TOLD = {"wav", "aiff", "au", "w64", "rf64", "flac"}
"""Formats whose header tells the length of the sound; of the others, an mp3's may."""


# ---- recordings ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, bytes, np.ndarray]]:
    """Suffix, content and waveform of a sound file of each form, mono and stereo."""
    folder, made = tmp_path_factory.mktemp("sounds"), []
    wave = tone(N_SAMPLES)
    for suffix, forms in FORMS.items():
        for container, subtype in forms:
            for samples in (wave, np.stack([wave, 0.5 * wave], axis=1)):
                path = folder / f"a.{suffix}"
                soundfile.write(path, samples, SR, format=container, subtype=subtype)
                made.append((suffix, path.read_bytes(), audio.read_file(path)[0]))
    return made


def flip(random: Random, content: bytes, end: int) -> bytes:
    changed = bytearray(content)
    changed[random.randrange(end)] ^= 1 << random.randrange(8)
    return bytes(changed)


def odd_number(random: Random, content: bytes) -> bytes:
    """A number of the header that is odd."""
    changed, place = bytearray(content), random.randrange(0, 96, 2)
    number = random.choice((0, 1, 0x7FFF, 0x8000, 0xFFFF, 1 << 20, 0x7FFFFFFF, 0xFFFFFFFF))
    order = random.choice("<>")
    size = "I" if number > 0xFFFF or random.random() < 0.5 else "H"
    packed = struct.pack(f"{order}{size}", number)
    changed[place : place + len(packed)] = packed
    return bytes(changed)


SOUND_CHANGES: dict[str, Callable[[Random, bytes], bytes]] = {
    "truncate": lambda random, b: b[: random.randrange(len(b))],
    "append": lambda random, b: b + random.randbytes(random.randrange(1, 400)),
    "flip": lambda random, b: flip(random, b, len(b)),
    "flip in header": lambda random, b: flip(random, b, min(96, len(b))),
    "odd number": odd_number,
    "noise": lambda random, b: b[: len(b) // 2] + random.randbytes(200) + b[len(b) // 2 + 200 :],
    "gone": lambda random, b: b[: (n := random.randrange(len(b)))] + b[n + random.randrange(99) :],
    "zeros": lambda random, b: b[: (n := random.randrange(len(b)))] + bytes(len(b) - n),
    "NaN": lambda random, b: b[:-64] + struct.pack("<16f", *[float("nan"), 3e38] * 8),
}


def test_recordings(sounds: list[tuple[str, bytes, np.ndarray]], tmp_path: Path) -> None:
    made, n_refused = dictionary("nmf"), 0
    for case in range(N_FILES):
        random = Random(f"recording {case}")
        suffix, content, wave = random.choice(sounds)
        how = random.choice(tuple(SOUND_CHANGES))
        path = tmp_path / f"odd.{suffix}"
        path.write_bytes(SOUND_CHANGES[how](random, content))
        words = f"{case}: {how} of {suffix}"
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                found, sr = audio.read_file(path)
                result = dds_fast.decompose(path, made, max_steps=1)
            except ValueError as error:
                n_refused += 1
                assert str(path) in str(error) or "shorter than one window" in str(error), words
                continue
            except Exception as error:
                raise AssertionError(f"{words}: {error!r}") from error
        assert found.dtype == np.float32 and found.ndim == 1 and len(found), words
        assert np.isfinite(found).all() and np.isfinite(result.source_activations).all(), words
        if how == "truncate" and suffix in CUTS_ARE_TOLD:
            assert sr == SR and np.array_equal(found, wave[: len(found)]), words
            told = any("cut short" in str(warning.message) for warning in caught)
            assert told == (len(found) < len(wave)), words
        elif how == "append" and suffix != "mp3":
            assert np.array_equal(found[: len(wave)], wave), words
    assert N_FILES // 20 < n_refused < N_FILES // 2


# ---- labels --------------------------------------------------------------------------------------

COLUMNS = ("onset", "offset", "pitch", "velocity")
SIGNS = (
    *(("\t", "."), (",", "."), (", ", "."), (";", "."), (" ", "."), ("  ", ".")),
    *(("\t", ","), (";", ","), (" ", ",")),
)
Note = tuple[float, float, int, float]


def label_file(random: Random) -> tuple[list[Note], list[list[str]], str]:
    """Notes; the fields of the lines in which some program may write them; its separator."""
    names = list(COLUMNS[: random.choice((3, 4))])
    separator, decimal = random.choice(SIGNS)
    if named := random.random() < 0.6:
        random.shuffle(names)
    notes, lines = [], [names] if named else []
    for _ in range(random.randrange(2, 9)):
        onset, duration = random.randrange(10**6), random.randrange(1, 9000)
        numbers = {
            "onset": f"{onset / 1000:.3f}",
            "offset": f"{(onset + duration) / 1000:.3f}",
            "pitch": str(random.randrange(21, 109)),
            "velocity": str(random.randrange(1, 128)),
        }
        velocity = float(numbers["velocity"]) if "velocity" in names else 64.0
        onset_offset = float(numbers["onset"]), float(numbers["offset"])
        notes.append((*onset_offset, int(numbers["pitch"]), velocity))
        fields = [numbers[name].replace(".", decimal) for name in names]
        lines.append(fields)
    return notes, lines, separator


def no_field(random: Random, lines: list[list[str]]) -> None:
    line = random.choice(lines)
    del line[random.randrange(len(line))]


def other_field(random: Random, lines: list[list[str]]) -> None:
    line = random.choice(lines)
    odd = ("", "x", "nan", "inf", "-1", "1e3", "1,2,3", "0x10", "C4", "\u0661", "128", '"', "1.5.2")
    line[random.randrange(len(line))] = random.choice(odd)


def one_field_more(random: Random, lines: list[list[str]]) -> None:
    line = random.choice(lines)
    line.insert(random.randrange(len(line) + 1), random.choice(("7", "0.5", "", "piano")))


def one_line_more(random: Random, lines: list[list[str]]) -> None:
    more = (["# a comment"], [""], ["onset", "offset"], ["-1"], ["title: x"], ['"'])
    lines.insert(random.randrange(len(lines) + 1), list(random.choice(more)))


LINE_CHANGES = (no_field, other_field, one_field_more, one_line_more)


def rows_of(path: Path) -> list[Note]:
    labels = load_labels(path)
    assert ((labels.pitches >= 0) & (labels.pitches <= 127)).all()
    assert (labels.intervals[:, 0] <= labels.intervals[:, 1]).all()
    assert np.isfinite(labels.intervals).all()
    columns = (*labels.intervals.T.tolist(), labels.pitches.tolist(), labels.velocities.tolist())
    return list(zip(*columns, strict=True))


def test_labels(tmp_path: Path) -> None:
    """As some program writes them, they are read, exactly; else refused, or the same notes."""
    path, n_refused = tmp_path / "odd.txt", 0
    for case in range(N_FILES):
        random = Random(f"labels {case}")
        notes, lines, separator = label_file(random)
        change = random.choice((None, *LINE_CHANGES, "bytes"))
        if callable(change):
            change(random, lines)
        newline = random.choice(("\n", "\r\n", "\r"))
        encoding = random.choice(("utf-8", "utf-8-sig", "utf-16", "latin-1"))
        text = newline.join(map(separator.join, lines)) + random.choice(("", newline))
        content = text.encode(encoding, errors="replace")
        if change == "bytes":
            content = flip(random, content, len(content))[: random.randrange(len(content)) or None]
        path.write_bytes(content)
        words = f"{case}: {change} {encoding} {text!r}"
        try:
            rows = rows_of(path)
        except ValueError as error:
            n_refused += 1
            assert change is not None and str(path) in str(error), f"{words}: {error}"
            continue
        except Exception as error:
            raise AssertionError(f"{words}: {error!r}") from error
        if change is None:
            assert rows == notes, words
        elif change in (no_field, one_field_more, one_line_more):
            assert {row[:3] for row in rows} <= {note[:3] for note in notes}, f"{words}: {rows}"
    assert N_FILES // 10 < n_refused < N_FILES
