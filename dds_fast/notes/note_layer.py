"""Notes as a layer that Sonic Visualiser imports."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree

from dds_fast.files import writing
from dds_fast.notes.found import Note
from dds_fast.notes.general_midi import Numbers, numbers
from dds_fast.notes.names import in_order, parts, shown


def write_layer(
    path: str | Path,
    notes: Iterable[Note],
    midi: Numbers | None = None,
    *,
    sr: float = 44100,
    overwrite: bool = False,
) -> None:
    """Write notes as a note layer of Sonic Visualiser; drums are at their notes of General MIDI.

    Args:
        path: of the ``.svl`` file.
        notes: of one recording.
        midi: notes of drums, see `notes.general_midi.numbers`.
        sr: sampling rate of the recording in Hz, in whose samples the layer counts.
        overwrite: replace an existing file.

    Raises:
        FileExistsError: the file exists and `overwrite` is false.

    Source: Cannam, Landone and Sandler, Sonic Visualiser, ACM Multimedia 2010; layers as it saves
    them.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_layer(f"{folder}/notes.svl", [Note(0.5, 1.0, 60, 127)], sr=8000)
        ...     tree = ElementTree.parse(f"{folder}/notes.svl")
        >>> list(tree.find("data/dataset/point").attrib.values())
        ['4000', '60', '4000', '1.0000', 'C4']
    """
    notes = list(notes)
    sources = in_order(note.source for note in notes)
    number_of = numbers(sources, {n: v for n, v in (midi or {}).items() if n in sources})
    root = ElementTree.Element("sv")
    data = ElementTree.SubElement(root, "data")
    model = {"id": "0", "dataset": "1", "name": "notes", "sampleRate": f"{round(sr)}"}
    kind = {"type": "sparse", "dimensions": "3", "subtype": "note", "units": "MIDI"}
    ElementTree.SubElement(data, "model", model | kind, resolution="1", valueQuantization="1")
    dataset = ElementTree.SubElement(data, "dataset", id="1", dimensions="3")
    for note in notes:
        name, pitch = parts(note.source)
        frame = round(note.start * sr)
        ElementTree.SubElement(
            dataset,
            "point",
            frame=f"{frame}",
            value=f"{number_of[name] if pitch is None else pitch}",
            duration=f"{round(note.end * sr) - frame}",
            level=f"{note.velocity / 127:.4f}",
            label=shown(note.source),
        )
    display = ElementTree.SubElement(root, "display")
    layer = {"id": "2", "type": "notes", "name": "notes", "model": "0"}
    ElementTree.SubElement(display, "layer", layer)
    ElementTree.indent(root)
    head = '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE sonic-visualiser>\n'
    with writing(path, overwrite) as temporary:
        text = head + ElementTree.tostring(root, encoding="unicode") + "\n"
        temporary.write_text(text, encoding="utf-8")
