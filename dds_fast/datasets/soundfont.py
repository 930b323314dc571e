"""Isolated notes from a SoundFont (.sf2), rendered by TinySoundFont.

    from dds_fast.datasets import soundfont, write_notes
    write_notes("notes/mine", soundfont.render("mine.sf2", velocities=(40, 100)))

Needs ``pip install 'dds-fast[soundfont]'``. That also installs PyAudio, which is used for nothing
here; where it cannot be built, ``pip install --no-deps tinysoundfont`` is enough.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dds_fast.datasets.note_files import Note

FADE = 0.02


def default_soundfont() -> Path:
    """TimGM6mb.sf2 (GPL-2), which comes with pretty_midi.

    Raises:
        RuntimeError: pretty_midi, or its SoundFont, is not installed.

    Example:
        >>> default_soundfont().name
        'TimGM6mb.sf2'
    """
    spec = importlib.util.find_spec("pretty_midi")
    if spec is not None and spec.origin is not None:
        path = Path(spec.origin).with_name("TimGM6mb.sf2")
        if path.is_file():
            return path
    raise RuntimeError("there is no SoundFont with pretty_midi; give the path of an .sf2 file")


def render(
    soundfont: str | Path | None = None,
    *,
    pitches: Iterable[int] = range(36, 96),
    velocities: Iterable[int] = (40, 88, 112),
    program: int = 0,
    bank: int = 0,
    seconds: float = 2.0,
    sr: int = 16000,
) -> Iterator[Note]:
    """Isolated notes of one instrument of a SoundFont.

    Neighbouring keys may share a sample: the notes of a SoundFont are less independent than
    recordings of every key. All velocities of a key count as one recording.

    Args:
        soundfont: an .sf2 file; pretty_midi's by default.
        pitches: MIDI numbers; those that the instrument lacks are left out.
        velocities: one note for each.
        program: General MIDI program, from 0 (grand piano).
        bank: of the program.
        seconds: length of a note, the last 20 ms faded out.
        sr: sampling rate in Hz.

    Yields:
        `Note`, for `write_notes` or `NoteFrames.from_notes`.

    Raises:
        ImportError: tinysoundfont is not installed.
        FileNotFoundError: no such file.
        ValueError: not a SoundFont, or one without the program.

    Example:
        >>> notes = list(render(pitches=[60, 64], velocities=[40, 100]))  # doctest: +SKIP
        >>> [(note.pitch, note.layer) for note in notes]  # doctest: +SKIP
        [(60, 'v40'), (60, 'v100'), (64, 'v40'), (64, 'v100')]
    """
    path = default_soundfont() if soundfont is None else Path(soundfont)
    synth = synthesizer(path, bank, program, sr)
    velocities = tuple(velocities)
    ramp = np.linspace(1, 0, round(FADE * sr), dtype=np.float32)
    for pitch in pitches:
        for velocity in velocities:
            synth.sounds_off()
            synth.generate(sr // 10)  # what still sounds of the note before
            if not synth.noteon(0, pitch, velocity):
                continue
            stereo = np.frombuffer(synth.generate(round(seconds * sr)), dtype=np.float32)
            wave = stereo.reshape(-1, 2).mean(axis=1)
            wave[-len(ramp) :] *= ramp
            source = f"{path.name}, bank {bank}, program {program}"
            yield Note(pitch, f"v{velocity}", source, wave, sr)


def synthesizer(path: Path, bank: int, program: int, sr: int) -> Any:
    """tinysoundfont's `Synth`, with a program of a SoundFont on channel 0; raises as `render`.

    Example:
        >>> synthesizer(default_soundfont(), 0, 0, 44100)  # doctest: +SKIP
        <tinysoundfont.synth.Synth object at 0x7f2d6c0b5d10>
    """
    try:
        import tinysoundfont
    except ImportError as error:
        raise ImportError(
            "rendering a SoundFont needs tinysoundfont: pip install 'dds-fast[soundfont]', or pip "
            "install --no-deps tinysoundfont where PyAudio, which it asks for, cannot be built"
        ) from error
    if not path.is_file():
        raise FileNotFoundError(f"no such SoundFont: {path}")
    synth = tinysoundfont.Synth(samplerate=sr)
    try:
        identity = synth.sfload(str(path))
    except Exception as error:
        raise ValueError(f"{path} is not a readable SoundFont: {error}") from error
    if synth.sfpreset_name(identity, bank, program) is None:
        raise ValueError(f"{path} has no program {program} in bank {bank}")
    synth.program_select(0, identity, bank, program)
    return synth
