"""Notes in the formats of others, read by the others where they can be had."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import mir_eval
import numpy as np
import pretty_midi
import pytest
import soundfile
from tiny import dictionary, handmade, tone

import dds_fast
from dds_fast import Decomposition
from dds_fast.choices import NOTE_FORMATS
from dds_fast.notes.found import Note, to_midi
from dds_fast.notes.note_frame import to_frame, to_mir_eval
from dds_fast.notes.note_jams import write_jams
from dds_fast.notes.note_layer import write_layer
from dds_fast.notes.sonification import sonify

NOTES = [Note(0.5, 1.0, 60, 100), Note(0.6, 1.2, "guitar/64", 90), Note(0.7, 0.8, "kick", 127)]


def result(**changes: object) -> Decomposition:
    """Two notes, of C4 and E4."""
    H = np.zeros((3, 200))
    H[0, 20:60], H[1, 80:150] = 1.0, 0.5
    return handmade(H, **changes)


def test_frame() -> None:
    pandas = pytest.importorskip("pandas")
    frame = to_frame(NOTES)
    assert frame.source.tolist() == [60, "guitar/64", "kick"]
    assert frame.pitch.isna().tolist() == [False, False, True] and frame.pitch[1] == 64
    assert frame.end.tolist() == [1.0, 1.2, 0.8] and frame.velocity.sum() == 317
    empty = to_frame([])
    assert len(empty) == 0 and (empty.dtypes == frame.dtypes).all()
    pandas.testing.assert_frame_equal(result().to_frame(), to_frame(result().notes()))


def test_mir_eval_finds_all() -> None:
    intervals, pitches = result().to_mir_eval()
    scores = mir_eval.transcription.evaluate(intervals, pitches, intervals, pitches)
    assert scores["F-measure"] == 1.0 and len(pitches) == 2
    assert to_mir_eval(NOTES)[1] == pytest.approx(440 * 2 ** ((np.array([60, 64]) - 69) / 12))
    assert [array.shape for array in to_mir_eval([])] == [(0, 2), (0,)]


def test_jams(tmp_path: Path) -> None:
    jams = pytest.importorskip("jams")
    write_jams(tmp_path / "notes.jams", NOTES, duration=2.0, title="x")
    write_jams(tmp_path / "none.jams", [], duration=2.0)
    for name in ("notes", "none"):
        assert jams.load(str(tmp_path / f"{name}.jams")).validate(strict=True)
    made = jams.load(str(tmp_path / "notes.jams"))
    pitched = made.search(namespace="note_midi")
    assert [a.sandbox.source for a in pitched] == ["", "guitar"]
    assert [o.value for a in pitched for o in a.data] == [60, 64]
    (kick,) = made.search(namespace="tag_open")[0].data
    assert (kick.time, kick.value) == (0.7, "kick") and kick.duration == pytest.approx(0.1)


def test_layer(tmp_path: Path) -> None:
    write_layer(tmp_path / "notes.svl", NOTES, {"kick": 35}, sr=8000)
    assert "<!DOCTYPE sonic-visualiser>" in (tmp_path / "notes.svl").read_text()
    root = ElementTree.parse(tmp_path / "notes.svl").getroot()
    model, dataset = root.find("data/model"), root.find("data/dataset")
    layer = root.find("display/layer")
    assert model is not None and dataset is not None and layer is not None
    assert model.get("dataset") == dataset.get("id") and layer.get("model") == model.get("id")
    assert model.get("sampleRate") == "8000"
    assert [point.get("value") for point in dataset] == ["60", "64", "35"]
    assert [point.get("frame") for point in dataset] == ["4000", "4800", "5600"]


def test_tempo_and_program_leave_times_alone() -> None:
    midi = to_midi(NOTES, tempo=77, program="Violin")
    assert midi.get_tempo_changes()[1] == pytest.approx([77], rel=1e-4)
    programs = {track.name: track.program for track in midi.instruments if not track.is_drum}
    assert programs == {"dds_fast": 40, "guitar": 24}
    starts = sorted(note.start for track in midi.instruments for note in track.notes)
    assert starts == [0.5, 0.6, 0.7]
    for wrong in ({"tempo": 0}, {"program": 128}, {"program": "Theremin"}):
        with pytest.raises(ValueError, match="tempo|program|Theremin"):
            to_midi(NOTES, **wrong)


def test_sound_has_the_pitch_and_the_clicks() -> None:
    wave = sonify([Note(0.5, 1.5, 69, 100)], 16000, 8000)
    spectrum = np.abs(np.fft.rfft(wave[5000:11000]))
    assert np.argmax(spectrum) * 8000 / 6000 == pytest.approx(440, abs=2)
    assert not wave[:3900].any() and not wave[12800:].any()
    clicks = sonify([Note(0.5, 0.6, "kick", 100)], 16000, 8000)
    assert clicks[4000:4100].any() and not clicks[:3900].any()
    assert not sonify([], 100, 8000).any()


@pytest.mark.parametrize("kind", NOTE_FORMATS)
def test_files_by_suffix(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"notes.{kind.upper()}"
    result().save_notes(path)
    assert path.stat().st_size > 0
    with pytest.raises(FileExistsError):
        result().save_notes(path)
    result().save_notes(path, overwrite=True, upper=1e9)  # none is found


def test_another_suffix(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.svl \(a layer for Sonic Visualiser\)"):
        result().save_notes(tmp_path / "notes.pdf")


def test_sound_beside_a_recording(tmp_path: Path) -> None:
    stereo = np.stack([tone(32000), np.zeros(32000, np.float32)])
    found = dds_fast.decompose(stereo, dictionary("nmf"), sr=32000, max_steps=2, tuning=50)
    found.save_notes(tmp_path / "notes.wav")
    wave, sr = soundfile.read(tmp_path / "notes.wav")
    assert wave.shape == (32000, 2) and sr == 32000
    assert np.corrcoef(wave[:, 0], stereo[0])[0, 1] > 0.99
    assert len(found.sonify()) == pytest.approx(16000, abs=2)
    assert found.duration == pytest.approx(1.0, abs=1e-3)


def test_a_result_is_told_in_a_line() -> None:
    shown = "<Decomposition: 1.60 s in 200 frames, dds1 of 3 sources 60..67, 1 steps (max_steps)>"
    assert repr(result()) == shown
    assert "\n" not in repr(dds_fast.nmf.factorize(np.ones((9, 9)), 2))


def test_midi_of_a_result() -> None:
    midi = result().to_midi(program=40, tempo=60)
    assert isinstance(midi, pretty_midi.PrettyMIDI)
    assert midi.instruments[0].program == 40
