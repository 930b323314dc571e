"""What named sources are in a MIDI file: notes of the drum channel, programs of instruments."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from dds_fast import scalars
from dds_fast.notes.names import parts

Numbers = Mapping[str, int | str]
"""MIDI number, or name in General MIDI, by drum (its note) and instrument (its program)."""

_DRUMS = {
    pattern: number
    for number, pattern in (
        (44, "pedal.*hat|hat.*(pedal|foot)|hhp"),
        (46, "open.*hat|h(i.?h)?at.*open|hh.*open|open.*hh|ohh?|hho"),
        (42, "hat|hi.?hat|c?hh|ch|hhc"),
        (37, "rim|side.?stick|cross.?stick|rs"),
        (39, "clap|cp"),
        (40, "(electric|electronic).*snare|snare.*(electric|electronic)"),
        (38, "snare|sd|sn"),
        (41, "floor.*tom|tom.*floor|ft"),
        (45, "low.*tom|tom.*low|lt"),
        (47, "mid.*tom|tom.*mid|mt"),
        (50, "hi(gh)?.*tom|tom.*hi(gh)?|ht"),
        (36, "kick|bass.?drum|bd|kd"),
        (47, "toms?"),
        (56, "cow.?bell|cb"),
        (53, "(ride.*)?bell"),
        (51, "ride|rd"),
        (55, "splash"),
        (52, "china|chinese"),
        (49, "crash|cymbal|cr"),
        (54, "tambourine"),
        (70, "maracas?|shaker"),
        (61, "low.*bongo|bongo.*low"),
        (60, "bongos?"),
        (64, "low.*conga|conga.*low"),
        (63, "congas?"),
        (75, "claves?"),
        (76, "wood.?block"),
        (81, "triangle"),
    )
}
"""Notes of the General MIDI percussion map, by what sources may be called; the first that fits."""

_FREE = range(82, 128)
"""Notes that General MIDI gives no drum: those of drums that are not known."""


def drum_note(name: str) -> int | None:
    """Note of the General MIDI drum that a name tells, None if it tells none.

    Example:
        >>> drum_note("kick"), drum_note("HiHat_Open"), drum_note("tom1"), drum_note("violin")
        (36, 46, 47, None)
    """
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()
    words = " ".join(re.findall(r"[^\W\d_]+", words))
    for pattern, number in _DRUMS.items():
        if re.search(rf"(?<![a-z])({pattern})(?![a-z])", words):
            return number
    return None


def program(name: str) -> int:
    """General MIDI program, from 0, whose name holds this word; 0, a piano, without any.

    Example:
        >>> program("marimba"), program("Guitar"), program("my own thing")
        (12, 24, 0)
    """
    import pretty_midi

    known = pretty_midi.constants.INSTRUMENT_MAP
    word = re.compile(rf"\b{re.escape(name)}\b", re.IGNORECASE)
    return next((number for number, full in enumerate(known) if word.search(full)), 0)


def numbers(sources: Sequence[int | str], given: Numbers | None = None) -> dict[str, int]:
    """Note of each drum and program of each instrument among the sources.

    Drums that neither `given` nor `drum_note` knows get the notes from 82 on, to which General MIDI
    gives no sound.

    Args:
        sources: of a dictionary; what has no pitch is a drum.
        given: numbers, or names of General MIDI, by drum or instrument.

    Raises:
        ValueError: a name in `given` that is no source's, or not a legal value; too many drums.

    Example:
        >>> numbers(["kick", "blip", "guitar/60"], {"guitar": "Electric Guitar (clean)"})
        {'kick': 36, 'blip': 82, 'guitar': 27}
    """
    of_source = dict(parts(source) for source in sources)
    of_source.pop("", None)
    given = dict(given or {})
    if unknown := [name for name in given if name not in of_source]:
        raise ValueError(
            f"MIDI numbers: {unknown[0]!r} is no source; there are {', '.join(of_source) or 'none'}"
        )
    found: dict[str, int] = {}
    free = iter(_FREE)
    for name, pitch in of_source.items():
        if name in given:
            found[name] = number(name, given[name], drum=pitch is None)
        elif pitch is not None:
            found[name] = program(name)
        elif (known := drum_note(name)) is not None:
            found[name] = known
        else:
            left = next(free, None)
            if left is None:
                raise ValueError(f"{name!r} and others have no MIDI note: give them numbers")
            found[name] = left
    return found


def drums(sources: Sequence[int | str], given: Numbers | None = None) -> dict[str, int]:
    """MIDI notes of sources that are drums, by which reference notes name them.

    Args:
        sources: MIDI numbers or names.
        given: as for `numbers`.

    Example:
        >>> drums([60, "kick", "guitar/60"])
        {'kick': 36}
    """
    number_of = numbers(sources, given)
    return {s: number_of[s] for s in sources if isinstance(s, str) and s in number_of}


def number(name: str, value: int | str, drum: bool) -> int:
    """A drum's note, or an instrument's program, by number or General MIDI name.

    Raises:
        ValueError: it is neither.

    Example:
        >>> number("program", "Acoustic Grand Piano", drum=False), number("kick", "36", drum=True)
        (0, 36)
    """
    import pretty_midi

    if not isinstance(value, str) or value.isdecimal():
        return scalars.integer(f"the MIDI number of {name}", int(value), 0, 127)
    try:
        if drum:
            return pretty_midi.drum_name_to_note_number(value)
        return pretty_midi.instrument_name_to_program(value)
    except ValueError:
        what = "drum" if drum else "instrument"
        raise ValueError(f"{name}: General MIDI has no {what} {value!r}") from None


def read(text: str) -> dict[str, int | str]:
    """Numbers as they are given to the command: ``kick=36,guitar=24``, or a JSON file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: neither.

    Example:
        >>> read("kick=36, guitar=Acoustic Guitar (nylon)")
        {'kick': '36', 'guitar': 'Acoustic Guitar (nylon)'}
    """
    if "=" not in text or Path(text).is_file():
        path = Path(text)
        if not path.is_file():
            raise FileNotFoundError(f"MIDI numbers are NAME=NUMBER,... or a JSON file, not {text}")
        try:
            content = json.loads(path.read_text(encoding="utf-8-sig"))
        except ValueError as error:
            raise ValueError(f"{path} is not JSON: {error}") from None
        if not isinstance(content, dict) or not all(
            isinstance(value, int | str) and not isinstance(value, bool)
            for value in content.values()
        ):
            raise ValueError(f'{path} must hold MIDI numbers by name: {{"kick": 36}}')
        return content
    pairs = [pair.partition("=") for pair in text.split(",")]
    return {name.strip(): value.strip() for name, _, value in pairs}
