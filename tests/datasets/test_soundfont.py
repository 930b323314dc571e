"""Isolated notes rendered from a SoundFont: pretty_midi's."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny import CONFIG

from dds_fast.datasets import NoteFrames, load_notes, soundfont, write_notes
from dds_fast.datasets.pitch_check import contradicting_pitch

needs_synth = pytest.mark.skipif(
    importlib.util.find_spec("tinysoundfont") is None, reason="tinysoundfont is not installed"
)


def test_default_soundfont_is_the_one_of_pretty_midi() -> None:
    path = soundfont.default_soundfont()
    assert path.parent.name == "pretty_midi"
    assert path.read_bytes()[8:12] == b"sfbk"


def test_without_the_synthesizer_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tinysoundfont", None)
    with pytest.raises(ImportError, match=r"pip install 'dds-fast\[soundfont\]'"):
        next(soundfont.render())


@needs_synth
def test_notes_have_the_asked_pitch_length_and_rate() -> None:
    notes = list(soundfont.render(pitches=(48, 72), velocities=(40, 110), seconds=0.5, sr=22050))
    assert [(n.pitch, n.layer) for n in notes] == [
        *((48, "v40"), (48, "v110"), (72, "v40"), (72, "v110"))
    ]
    for note in notes:
        assert note.waveform.shape == (11025,)
        assert note.waveform.dtype == np.float32
        assert contradicting_pitch(note.waveform, 22050, note.pitch) is None
        assert contradicting_pitch(note.waveform, 22050, note.pitch + 1) == note.pitch
        assert abs(note.waveform[-1]) == 0
    soft, loud = (np.abs(n.waveform).max() for n in notes[:2])
    assert soft < loud <= 1


@needs_synth
def test_a_note_does_not_depend_on_the_one_before() -> None:
    alone = list(soundfont.render(pitches=[60], velocities=[40], seconds=0.3))
    after = list(soundfont.render(pitches=[59, 60], velocities=[40], seconds=0.3))
    np.testing.assert_array_equal(alone[0].waveform, after[1].waveform)


@needs_synth
def test_to_frames_and_to_a_folder(tmp_path: Path) -> None:
    options = {"pitches": (60, 64), "velocities": (40, 110), "seconds": 0.3}
    frames = NoteFrames.from_notes(soundfont.render(**options), CONFIG)
    folder = write_notes(tmp_path / "piano", soundfont.render(**options))
    read = load_notes(folder, CONFIG)
    assert frames.sources == read.sources == (60, 64)
    assert len(np.unique(frames.origins)) == len(np.unique(read.origins)) == 2
    # Samples in files are off by half a step of 16 bits at most, and so is the amplitude of a bin.
    made, stored = (
        np.expm1(np.sort(notes.frames, axis=0) * np.log1p(CONFIG.gamma)) / CONFIG.gamma
        for notes in (frames, read)
    )
    assert np.abs(made - stored).max() < 2**-15


@needs_synth
def test_errors(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="gone.sf2"):
        next(soundfont.render(tmp_path / "gone.sf2"))
    (tmp_path / "text.sf2").write_text("text")
    with pytest.raises(ValueError, match="text.sf2 is not a readable SoundFont"):
        next(soundfont.render(tmp_path / "text.sf2"))
    with pytest.raises(ValueError, match="no program 3 in bank 77"):
        next(soundfont.render(program=3, bank=77))
