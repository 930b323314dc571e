"""Names of pitches."""

_NAMES = ("C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B")


def note_name(pitch: int) -> str:
    """Name of a MIDI number, as C4 for 60.

    Example:
        >>> note_name(60), note_name(61)
        ('C4', 'C♯4')
    """
    return f"{_NAMES[pitch % 12]}{pitch // 12 - 1}"
