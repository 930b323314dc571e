"""Names of sources: of pitches, of instruments, of an instrument's keys."""

from __future__ import annotations

from collections.abc import Iterable

NO_PITCH = -1
"""In place of a MIDI number, in arrays."""

_NAMES = ("C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B")


def note_name(pitch: int) -> str:
    """Name of a MIDI number, as C4 for 60.

    Example:
        >>> note_name(60), note_name(61)
        ('C4', 'C♯4')
    """
    return f"{_NAMES[pitch % 12]}{pitch // 12 - 1}"


def of_key(instrument: str, pitch: int) -> str:
    """Name of the source that is a key of one of several instruments.

    Example:
        >>> of_key("guitar", 60)
        'guitar/60'
    """
    return f"{instrument}/{pitch}"


def parts(source: int | str) -> tuple[str, int | None]:
    """Instrument and MIDI number of a source: no name for a plain number, None without a pitch.

    Example:
        >>> parts(60), parts("guitar/60"), parts("kick")
        (('', 60), ('guitar', 60), ('kick', None))
    """
    if not isinstance(source, str):
        return "", int(source)
    instrument, _, key = source.rpartition("/")
    if instrument and key.isascii() and key.isdecimal() and int(key) <= 127:
        return instrument, int(key)
    return source, None


def shown(source: int | str) -> str:
    """A source as people read it.

    Example:
        >>> shown(60), shown("guitar/60"), shown("kick")
        ('C4', 'guitar C4', 'kick')
    """
    instrument, pitch = parts(source)
    return instrument if pitch is None else f"{instrument} {note_name(pitch)}".lstrip()


def in_order(sources: Iterable[int | str]) -> list[int | str]:
    """Each source once: by pitch, then names, an instrument's keys by pitch.

    Example:
        >>> in_order(["kick", 64, "guitar/100", 60, "guitar/60", "kick"])
        [60, 64, 'guitar/60', 'guitar/100', 'kick']
    """

    def place(source: int | str) -> tuple[str, int]:
        instrument, pitch = parts(source)
        return instrument, NO_PITCH if pitch is None else pitch

    return sorted(set(sources), key=place)


def check_case(sources: Iterable[int | str]) -> None:
    """Names are to differ by more than capitals: files and labels may not tell them apart.

    Raises:
        ValueError: two do not.

    Example:
        >>> check_case(["kick", "snare"])
    """
    seen: dict[str, str] = {}
    for source in sources:
        if isinstance(source, str) and seen.setdefault(source.casefold(), source) != source:
            other = seen[source.casefold()]
            raise ValueError(f"the sources {other!r} and {source!r} differ by case alone: rename")
