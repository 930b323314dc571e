"""Results: notes, MIDI, CSV, figures, stems, and the file that keeps them."""

from __future__ import annotations

import csv
import json
import pickle
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pretty_midi
import pytest
import soundfile
import torch
from matplotlib.axes import Axes
from tiny import CONFIG, FRAME, KINDS, SOURCES, dictionary, handmade, tone

from dds_fast import Decomposition, Spectrogram, SpectrogramConfig, audio, decompose
from dds_fast.datasets import Labels
from dds_fast.decomposition import source_activations
from dds_fast.notes import found
from dds_fast.notes.found import Detection, Note
from dds_fast.notes.general_midi import numbers
from dds_fast.notes.score import load_labels

matplotlib.use("Agg")


def searched(kind: str = "dds3", source: Any = None, **options: Any) -> Decomposition:
    if kind in ("dds2", "dds3"):
        options.setdefault("n_components", 2)
    result = decompose(
        tone() if source is None else source, dictionary(kind), sr=16000, max_steps=3, **options
    )
    assert isinstance(result, Decomposition)
    return result


class TestNotes:
    def rows(self, **runs: list[tuple[int, int, float]]) -> np.ndarray:
        """``(3, 40)`` activations; runs (first frame, end frame, level) of rows a, b and c."""
        H = np.zeros((3, 40))
        for row, name in enumerate("abc"):
            for first, end, level in runs.get(name, []):
                H[row, first:end] = level
        return H

    def test_a_note_begins_and_ends_half_a_frame_outside_its_run(self) -> None:
        (note,) = handmade(self.rows(b=[(10, 30, 1.0)])).notes(upper=0.5, lower=0.5)
        assert note.start == pytest.approx(9.5 * FRAME)
        assert note.end == pytest.approx(29.5 * FRAME)
        assert (note.source, note.velocity) == (64, 127)

    def test_notes_at_the_edges_of_the_recording(self) -> None:
        result = handmade(self.rows(a=[(0, 20, 1.0), (22, 40, 1.0)]))
        first, last = result.notes(upper=0.5, lower=0.5, max_gap=FRAME)
        assert first.start == 0
        assert first.end == pytest.approx(19.5 * FRAME)
        assert last.start == pytest.approx(21.5 * FRAME)
        assert last.end == pytest.approx(39.5 * FRAME)

    def test_short_notes_are_dropped(self) -> None:
        result = handmade(self.rows(a=[(2, 12, 1.0), (20, 31, 1.0)]))
        found = result.notes(upper=0.5, lower=0.5, min_duration=10.5 * FRAME, max_gap=0)
        assert [round(note.start / FRAME, 3) for note in found] == [19.5]
        assert len(result.notes(upper=0.5, lower=0.5, min_duration=0, max_gap=0)) == 2

    def test_default_min_duration_is_100_ms(self) -> None:
        result = handmade(self.rows(a=[(2, 14, 1.0)], b=[(2, 15, 1.0)]))  # 96 and 104 ms
        assert [note.source for note in result.notes(upper=0.5, lower=0.5)] == [64]

    def test_short_pauses_do_not_split_a_note(self) -> None:
        runs = [(2, 10, 1.0), (13, 20, 1.0), (25, 35, 1.0)]  # pauses of 3 and 5 frames
        result = handmade(self.rows(a=runs))
        for max_gap, expected in ((2, [(2, 10), (13, 20), (25, 35)]), (3, [(2, 20), (25, 35)])):
            found = result.notes(
                upper=0.5, lower=0.5, min_duration=0, max_gap=(max_gap + 0.1) * FRAME
            )
            spans = [(round(n.start / FRAME + 0.5), round(n.end / FRAME + 0.5)) for n in found]
            assert spans == expected
        (whole,) = result.notes(upper=0.5, lower=0.5)
        assert whole.end == pytest.approx(34.5 * FRAME)

    def test_velocity_is_the_peak_relative_to_the_strongest(self) -> None:
        H = self.rows(a=[(2, 20, 0.5)], b=[(2, 20, 2.0)], c=[(2, 20, 1.0)])
        H[2, 7] = 1.5
        velocities = {
            note.source: note.velocity for note in handmade(H).notes(upper=0.1, lower=0.1)
        }
        assert velocities == {60: 32, 64: 127, 67: 95}

    def test_faint_notes_have_velocity_one(self) -> None:
        H = self.rows(a=[(2, 20, 1e-4)], b=[(2, 20, 1.0)])
        assert [n.velocity for n in handmade(H).notes(upper=1e-5, lower=0)] == [1, 127]

    def test_sorted_by_start(self) -> None:
        H = self.rows(a=[(20, 39, 1.0)], b=[(1, 19, 1.0)], c=[(10, 30, 1.0)])
        assert [note.source for note in handmade(H).notes(upper=0.5, lower=0.5)] == [64, 67, 60]

    def test_activations_at_the_threshold_are_not_notes(self) -> None:
        H = self.rows(a=[(2, 30, 0.5)])
        assert handmade(H).notes(upper=0.5, lower=0.5) == []
        assert len(handmade(H).notes(upper=0.49, lower=0.49)) == 1

    def test_a_note_lasts_above_lower_and_reaches_upper(self) -> None:
        H = self.rows(a=[(2, 10, 0.3), (10, 12, 0.8), (12, 20, 0.2)], b=[(2, 38, 0.7)])
        H[0, 20:30] = 0.1
        (note,) = handmade(H).notes(upper=0.8, lower=0.15)
        assert (note.source, note.velocity) == (60, 127)
        assert note.start == pytest.approx(1.5 * FRAME)
        assert note.end == pytest.approx(19.5 * FRAME)

    def test_the_strongest_note_found_has_full_velocity(self) -> None:
        H = self.rows(a=[(2, 30, 1.0)], b=[(5, 7, 2.0)])  # too short for a note
        (note,) = handmade(H).notes(upper=0.5, lower=0.5)
        assert (note.source, note.velocity) == (60, 127)

    def test_detection_is_the_calibrated_one_else_relative_to_the_strongest(self) -> None:
        H = self.rows(a=[(2, 30, 1.0)], b=[(2, 30, 0.3)], c=[(2, 30, 0.2)])
        assert {note.source for note in handmade(H).notes()} == {60, 64}
        assert handmade(H).note_detection() == Detection(0.25, 0.125)
        calibrated = handmade(H, detection=Detection(0.5, 0.1, min_duration=0.2, max_gap=0.0))
        assert {note.source for note in calibrated.notes()} == {60}
        assert {note.source for note in calibrated.notes(upper=0.1)} == {60, 64, 67}
        assert calibrated.notes(min_duration=0.3) == []

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"upper": 0.5, "lower": 0.6}, r"lower \(0.6\) is above upper \(0.5\)"),
            ({"upper": float("nan")}, "upper must be finite"),
            ({"lower": -0.1}, "lower must be finite and not negative"),
            ({"min_duration": float("inf")}, "min_duration"),
            ({"max_gap": -1.0}, "max_gap"),
        ],
    )
    def test_bad_detections(self, changes: dict[str, float], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            handmade(np.ones((3, 40))).notes(**changes)

    def test_silence_has_no_notes(self) -> None:
        assert handmade(np.zeros((3, 40))).notes() == []

    def test_torch_results(self) -> None:
        H = torch.from_numpy(self.rows(a=[(2, 30, 1.0)]))
        result = handmade(H, source_activations=H)
        assert [note.source for note in result.notes()] == [60]


class TestNoteFiles:
    NOTES = (Note(0.0, 0.25, 60, 127), Note(0.5, 1.0, 64, 1))

    def test_csv(self, tmp_path: Path) -> None:
        found.write_notes(tmp_path / "n.csv", self.NOTES)
        with (tmp_path / "n.csv").open(newline="") as file:
            rows = list(csv.reader(file))
        assert rows == [
            ["start_time_s", "end_time_s", "pitch_midi", "velocity"],
            ["0.0000", "0.2500", "60", "127"],
            ["0.5000", "1.0000", "64", "1"],
        ]

    def test_csv_without_notes_has_a_header(self, tmp_path: Path) -> None:
        found.write_notes(tmp_path / "n.csv", [])
        assert (tmp_path / "n.csv").read_text().split() == [
            "start_time_s,end_time_s,pitch_midi,velocity"
        ]

    def test_midi_read_back(self, tmp_path: Path) -> None:
        found.write_midi(tmp_path / "n.mid", self.NOTES)
        (piano,) = pretty_midi.PrettyMIDI(str(tmp_path / "n.mid")).instruments
        notes = [(n.start, n.end, n.pitch, n.velocity) for n in piano.notes]
        expected = [(n.start, n.end, n.source, n.velocity) for n in self.NOTES]
        np.testing.assert_allclose(notes, expected, atol=0.003)

    def test_to_midi_holds_the_notes(self) -> None:
        H = np.zeros((3, 40))
        H[1, 5:35] = 1
        (piano,) = handmade(H).to_midi(upper=0.5, lower=0.5).instruments
        assert [(n.pitch, n.velocity) for n in piano.notes] == [(64, 127)]

    @pytest.mark.parametrize("source", [128, -1])
    def test_midi_needs_midi_numbers(self, source: int | str) -> None:
        with pytest.raises(ValueError, match=f"{source}.*MIDI number"):
            found.to_midi([Note(0, 1, source, 64)])

    NAMED = (
        Note(0.0, 0.05, "kick", 127),
        Note(0.1, 0.2, "guitar/60", 100),
        Note(0.1, 0.3, "piano/60", 90),
        Note(0.3, 0.35, "blip", 80),
    )

    def test_names_are_a_column(self, tmp_path: Path) -> None:
        found.write_notes(tmp_path / "n.csv", self.NAMED)
        rows = (tmp_path / "n.csv").read_text().splitlines()
        assert rows[:3] == [
            "start_time_s,end_time_s,pitch_midi,velocity,source",
            "0.0000,0.0500,,127,kick",
            "0.1000,0.2000,60,100,guitar/60",
        ]
        labels = load_labels(tmp_path / "n.csv")
        sources = ["blip", "guitar/60", "kick", "piano/60"]
        assert labels.rows(sources).tolist() == [2, 1, 3, 0]

    @pytest.mark.parametrize("named", [None, {"blip": "Cowbell", "guitar": 26}])
    def test_a_track_for_each_instrument(
        self, tmp_path: Path, named: dict[str, int | str] | None
    ) -> None:
        sources = ["blip", "guitar/60", "kick", "piano/60", "snare"]
        given = numbers(sources, named)
        found.write_midi(tmp_path / "n.mid", self.NAMED, given)
        tracks = {i.name: i for i in pretty_midi.PrettyMIDI(str(tmp_path / "n.mid")).instruments}
        assert {name for name, track in tracks.items() if track.is_drum} == {"blip", "kick"}
        programs = tracks["guitar"].program, tracks["piano"].program
        notes = [tracks[name].notes[0].pitch for name in ("kick", "blip", "guitar")]
        assert (programs, notes) == (((24, 0), [36, 82, 60]), ((26, 0), [36, 56, 60]))[bool(named)]
        labels = load_labels(tmp_path / "n.mid", drums={n: given[n] for n in ("kick", "blip")})
        assert labels.rows(sources).tolist() == [2, 1, 3, 0]
        assert len(load_labels(tmp_path / "n.mid")) == 2

    @pytest.mark.parametrize("write", [found.write_notes, found.write_midi])
    def test_existing_files_are_kept(self, tmp_path: Path, write: Any) -> None:
        path = tmp_path / "notes"
        path.write_text("precious")
        with pytest.raises(FileExistsError, match="notes"):
            write(path, self.NOTES)
        assert path.read_text() == "precious"
        write(path, self.NOTES, overwrite=True)
        assert path.read_bytes() != b"precious"


class TestFile:
    FIELDS = ("components", "activations", "source_activations", "log_likelihoods")

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("source", ["array", "tensor"])
    def test_round_trip(self, tmp_path: Path, kind: str, source: str) -> None:
        waveform = tone() if source == "array" else torch.from_numpy(tone())
        result = searched(kind, waveform)
        result.save(tmp_path / "r.npz")
        loaded = Decomposition.load(str(tmp_path / "r.npz"))
        for name in self.FIELDS:
            before, after = getattr(result, name), getattr(loaded, name)
            if before is None:
                assert after is None
            else:
                assert isinstance(after, np.ndarray)
                np.testing.assert_array_equal(after, np.asarray(before))
        np.testing.assert_array_equal(loaded.history, result.history)
        np.testing.assert_array_equal(loaded.labels, result.labels)
        np.testing.assert_array_equal(loaded.times, result.times)
        for name in (
            "sources",
            "kind",
            "config",
            "stop_reason",
            "detection",
            "settings",
            "tuning",
            "n_steps",
        ):
            assert getattr(loaded, name) == getattr(result, name), name
        assert loaded.n_samples == 3200
        assert loaded.gain == result.gain > 1
        assert loaded.recording is None and loaded.stft is None

    def test_dropped_components(self, tmp_path: Path) -> None:
        searched(keep_components=False).save(tmp_path / "r.npz")
        assert Decomposition.load(tmp_path / "r.npz").components is None

    def test_named_sources_and_what_a_search_assumed(self, tmp_path: Path) -> None:
        assumed = {"detection": Detection(0.25, 0.125, max_gap=0.0), "gain": 3.0, "tuning": -31.8}
        result = handmade(np.ones((3, 4)), sources=("a", "b", 60), **assumed)
        result.save(tmp_path / "r.npz")
        loaded = Decomposition.load(tmp_path / "r.npz")
        assert loaded.sources == ("a", "b", 60)
        assert {name: getattr(loaded, name) for name in assumed} == assumed
        np.testing.assert_array_equal(loaded.times, result.times)

    @pytest.mark.parametrize(
        ("threshold", "expected"), [(None, None), (0.125, Detection(0.125, 0.125))]
    )
    def test_files_with_one_threshold(
        self, tmp_path: Path, threshold: float | None, expected: Detection | None
    ) -> None:
        handmade(np.ones((3, 4))).save(tmp_path / "r.npz")
        with np.load(tmp_path / "r.npz") as file:
            arrays = {name: file[name] for name in file.files}
        header = json.loads(str(arrays.pop("header")))
        old = {k: v for k, v in header.items() if k not in ("detection", "gain", "tuning")}
        header = np.array(json.dumps(old | {"threshold": threshold}))
        np.savez(tmp_path / "old.npz", header=header, **arrays)
        loaded = Decomposition.load(tmp_path / "old.npz")
        assert loaded.detection == expected
        assert (loaded.gain, loaded.tuning) == (1, 0)

    def test_readable_without_pickle_or_the_library(self, tmp_path: Path) -> None:
        result = searched()
        result.save(tmp_path / "r.npz")
        with np.load(tmp_path / "r.npz", allow_pickle=False) as file:
            assert all(file[name].dtype != object for name in file.files)
            np.testing.assert_array_equal(file["times"], result.times)
            np.testing.assert_array_equal(file["frequencies"], result.frequencies)
            assert json.loads(str(file["header"]))["sources"] == list(SOURCES)

    def test_refuses_to_overwrite(self, tmp_path: Path) -> None:
        path = tmp_path / "r.npz"
        path.write_bytes(b"precious")
        with pytest.raises(FileExistsError, match="r.npz"):
            searched().save(path)
        assert path.read_bytes() == b"precious"
        searched().save(path, overwrite=True)
        assert Decomposition.load(path).n_steps == 3

    def test_a_failing_write_leaves_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*args: object, **kwargs: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(np, "savez_compressed", fail)
        with pytest.raises(OSError, match="No space"):
            searched().save(tmp_path / "r.npz")
        assert list(tmp_path.iterdir()) == []

    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="gone"):
            Decomposition.load(tmp_path / "gone.npz")

    @pytest.mark.parametrize("what", ["foreign", "text", "npy", "empty", "truncated", "zip"])
    def test_other_files_are_refused(self, tmp_path: Path, what: str) -> None:
        path = tmp_path / "r.npz"
        if what == "foreign":
            np.savez(path, W=np.ones(3))
        elif what == "npy":
            with path.open("wb") as file:
                np.save(file, np.ones(3))
        elif what == "truncated":
            searched().save(path)
            path.write_bytes(path.read_bytes()[:-200])
        else:
            path.write_bytes({"text": b"hello" * 99, "empty": b"", "zip": b"PK\x03\x04"}[what])
        with pytest.raises(ValueError, match="r.npz is not a saved decomposition"):
            Decomposition.load(path)

    @pytest.mark.parametrize("name", ["activations", "source_activations", "labels", "history"])
    def test_missing_arrays_are_named(self, tmp_path: Path, name: str) -> None:
        path = tmp_path / "r.npz"
        searched().save(path)
        with np.load(path) as file:
            arrays = {key: file[key] for key in file.files if key != name}
        np.savez(path, **arrays)
        with pytest.raises(ValueError, match=name):
            Decomposition.load(path)

    @pytest.mark.parametrize("name", ["sources", "kind", "config", "stop_reason"])
    def test_missing_fields_are_named(self, tmp_path: Path, name: str) -> None:
        path = tmp_path / "r.npz"
        searched().save(path)
        with np.load(path) as file:
            arrays = dict(file)
        header = json.loads(str(arrays["header"]))
        del header[name]
        np.savez(path, **(arrays | {"header": np.array(json.dumps(header))}))
        with pytest.raises(ValueError, match=f"not a saved decomposition: '{name}'"):
            Decomposition.load(path)

    def test_pickled_arrays_are_never_run(self, tmp_path: Path) -> None:
        trace, path = tmp_path / "code-was-run", tmp_path / "r.npz"

        class Bomb:
            def __reduce__(self) -> tuple[Any, ...]:
                return Path.touch, (trace,)

        np.savez(path, header=np.array([Bomb()], dtype=object))
        with pytest.raises(ValueError, match="not a saved decomposition"):
            Decomposition.load(path)
        path.write_bytes(pickle.dumps(Bomb()))
        with pytest.raises(ValueError, match="not a saved decomposition"):
            Decomposition.load(path)
        assert not trace.exists()


class TestReconstruction:
    @pytest.mark.parametrize("kind", ["nmf", "dds2", "dds3"])
    def test_product(self, kind: str) -> None:
        result = searched(kind)
        expected = result.components.astype(float) @ result.activations.astype(float)
        np.testing.assert_allclose(result.reconstruction(), expected, rtol=1e-4, atol=1e-6)

    def test_dds1_scales_each_frame(self) -> None:
        result = searched("dds1")
        expected = np.einsum("sft,st->ft", result.components, result.activations)
        np.testing.assert_allclose(result.reconstruction(), expected, rtol=1e-4, atol=1e-6)


class TestSourceActivations:
    def test_rescaled_and_summed(self) -> None:
        W = torch.tensor([[3.0, 0.0, 1.0], [4.0, 0.0, 0.0]])  # norms 5, 0 (counts as 1), 1
        H = torch.tensor([[1.0, 2.0], [7.0, 0.0], [0.5, 0.25]])
        found = source_activations(W, H, torch.tensor([1, 1, 0]), 2)
        assert found.tolist() == [[0.5, 0.25], [12.0, 10.0]]

    def test_per_frame_components(self) -> None:
        W = torch.zeros(2, 2, 3)
        W[0, :, 0] = torch.tensor([3.0, 4.0])
        W[1, :, 2] = torch.tensor([0.0, 2.0])
        H = torch.tensor([[2.0, 2.0, 0.0], [1.0, 1.0, 3.0]])
        found = source_activations(W, H, torch.arange(2), 2)
        assert found.tolist() == [[10.0, 2.0, 0.0], [1.0, 1.0, 6.0]]

    def test_a_source_without_components_is_silent(self) -> None:
        found = source_activations(torch.ones(4, 1), torch.ones(1, 2), torch.tensor([1]), 3)
        assert found.tolist() == [[0, 0], [2, 2], [0, 0]]


class TestPlot:
    def test_returns_axes_with_every_source(self) -> None:
        ax = searched().plot(title="a tone")
        assert isinstance(ax, Axes)
        assert ax.get_title() == "a tone"
        assert [label.get_text() for label in ax.get_yticklabels()] == ["C4", "E4", "G4"]
        assert ax.get_xlabel() == "time in seconds"
        np.testing.assert_array_equal(ax.get_images()[0].get_array(), searched().source_activations)

    def test_notes_are_drawn_unless_unwanted(self) -> None:
        H = np.zeros((3, 40))
        H[1, 5:35] = 1
        assert len(handmade(H).plot().collections) == 1
        assert not handmade(H).plot(notes=False).collections

    def test_draws_on_given_axes(self) -> None:
        import matplotlib.pyplot as plt

        given = plt.subplots()[1]
        assert handmade(np.ones((3, 5))).plot(ax=given) is given

    @pytest.mark.parametrize(
        "result",
        [
            handmade(np.zeros((3, 40))),
            handmade(np.ones((3, 1))),
            handmade(np.ones((3, 9)), sources=("kick", "snare", 60)),
            handmade(np.ones((3, 9)), detection=Detection(0.0, 0.0)),
        ],
        ids=["silent", "one-frame", "named", "zero-thresholds"],
    )
    def test_unusual_results(self, result: Decomposition, tmp_path: Path) -> None:
        from dds_fast.plots import save_figure

        roll = np.zeros(result.source_activations.shape, bool)
        save_figure(result.plot(roll=roll), tmp_path / "p.png")
        assert (tmp_path / "p.png").read_bytes()[:4] == b"\x89PNG"

    def test_cost(self) -> None:
        from dds_fast import plots

        result = searched()
        (line,) = plots.cost(result.history).get_lines()
        np.testing.assert_array_equal(line.get_ydata(), result.history)


class TestSeparate:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("n", [3200, 3271], ids=["whole-hops", "odd-length"])
    def test_stems_sum_to_the_recording(self, kind: str, n: int) -> None:
        waveform = tone(n)
        stems = searched(kind, waveform).separate().stems
        assert stems.shape == (3, n)
        np.testing.assert_allclose(stems.sum(0), waveform, atol=1e-4)

    @pytest.mark.parametrize("sr", [8000, 16000, 44100])
    @pytest.mark.parametrize("tuning", [None, -31.8])
    def test_stems_of_a_stereo_file_sum_to_it(
        self, tmp_path: Path, sr: int, tuning: float | None
    ) -> None:
        stereo = np.random.default_rng(0).normal(scale=0.1, size=(2, 5000)).astype(np.float32)
        soundfile.write(tmp_path / "s.wav", stereo.T, sr, subtype="FLOAT")
        stems = searched(source=tmp_path / "s.wav", tuning=tuning).separate()
        assert stems.sr == sr and stems[60].shape == (2, 5000)
        np.testing.assert_allclose(stems.stems.sum(0), stereo, atol=1e-6)

    def test_stems_of_its_mean_at_another_rate(self, tmp_path: Path) -> None:
        stereo = np.stack([tone(), 0.5 * tone(frequency=700)], axis=1)
        soundfile.write(tmp_path / "s.wav", stereo, 32000, subtype="FLOAT")
        result = searched(source=tmp_path / "s.wav")
        stems = result.separate(target_sr=16000, mono=True)
        assert stems.sr == 16000 and stems.stems.shape == (3, 1600)
        np.testing.assert_allclose(stems.stems.sum(0), result.recording, atol=1e-6)
        assert result.separate(target_sr=16000).stems.shape == (3, 2, 1600)

    def test_masks_follow_the_linear_magnitudes(self) -> None:
        # Two sources that own one half of the bins each: their stems are the two bands.
        low, high = tone(4000, 500.0, dtype=float), tone(4000, 5000.0, dtype=float)
        stft = audio.stft(low + high, CONFIG)
        W = np.zeros((64, 3))
        W[:20, 0] = W[20:, 1] = 0.5
        result = handmade(
            np.ones((3, stft.shape[1])),
            components=W,
            recording=low + high,
            n_samples=4000,
            config=CONFIG,
            kind="dds2",
        )
        inner = slice(128, -128)  # reflected edges are not sinusoids
        stems = result.separate().stems[:, inner]
        np.testing.assert_allclose(stems[0], low[inner], atol=0.01)
        np.testing.assert_allclose(stems[1], high[inner], atol=0.01)
        np.testing.assert_allclose(stems[2], 0, atol=1e-6)

    def test_shares_are_those_of_expanded_parts(self) -> None:
        waveform = tone(4000, dtype=float)
        stft = audio.stft(waveform, CONFIG)
        W = np.stack([np.full(64, 0.6), np.full(64, 0.3), np.zeros(64)], axis=1)
        result = handmade(
            np.ones((3, stft.shape[1])).astype(float),
            components=W,
            recording=waveform,
            n_samples=4000,
            config=CONFIG,
        )
        share = np.expm1(0.6 * np.log1p(1e4)) / sum(np.expm1(v * np.log1p(1e4)) for v in (0.6, 0.3))
        np.testing.assert_allclose(result.separate()[60], share * waveform, atol=1e-5)

    def test_where_nothing_sounds_all_is_shared_equally(self) -> None:
        waveform = tone(4000)
        stft = audio.stft(waveform, CONFIG)
        result = handmade(
            np.zeros((3, stft.shape[1])),
            components=np.ones((64, 3)),
            recording=waveform,
            n_samples=4000,
            config=CONFIG,
        )
        stems = np.asarray(result.separate())
        np.testing.assert_allclose(stems, np.tile(waveform / 3, (3, 1)), atol=1e-5)

    def test_silent_recordings_have_silent_stems(self) -> None:
        with pytest.warns(UserWarning, match="silent"):
            result = searched(source=np.zeros(3200, np.float32))
        assert not result.separate().stems.any()

    def test_a_spectrogram_source_has_no_phase(self) -> None:
        X = Spectrogram(np.full((64, 5), 0.3, np.float32), CONFIG)
        with pytest.raises(ValueError, match="phase"):
            searched(source=X).separate()

    def test_loaded_results_have_no_phase(self, tmp_path: Path) -> None:
        searched().save(tmp_path / "r.npz")
        with pytest.raises(ValueError, match="phase"):
            Decomposition.load(tmp_path / "r.npz").separate()

    def test_dropped_components(self) -> None:
        with pytest.raises(ValueError, match="keep_components"):
            searched(keep_components=False).separate()


def test_times_follow_the_config_and_the_tuning() -> None:
    config = SpectrogramConfig(sr=8000, n_fft=128, hop=32)
    result = handmade(np.ones((3, 3)), config=config)
    assert result.times.tolist() == [0, 0.004, 0.008]
    low = handmade(np.ones((3, 3)), config=config, tuning=-1200.0)
    assert low.times.tolist() == [0, 0.008, 0.016]
    assert low.frame_rate == 125


class TestGroups:
    """Stems of groups of sources, and of notes."""

    def result(self, n: int = 4000) -> tuple[Decomposition, np.ndarray]:
        """Three sources of disjoint bands, active throughout."""
        rng = np.random.default_rng(0)
        waveform = 0.1 * rng.standard_normal(n)
        stft = audio.stft(waveform, CONFIG)
        W = np.zeros((64, 3))
        for source, band in enumerate(np.array_split(np.arange(64), 3)):
            W[band, source] = 0.5
        H = rng.random((3, stft.shape[1])) + 0.5
        return handmade(H, components=W, recording=waveform, n_samples=n, config=CONFIG), waveform

    def test_a_group_is_the_sum_of_its_sources(self) -> None:
        result, _ = self.result()
        alone, stems = result.separate(), result.separate({"low": [60, 64], "high": [67]})
        assert list(stems) == ["low", "high"]
        np.testing.assert_allclose(stems["low"], alone[60] + alone[64], atol=1e-6)
        np.testing.assert_allclose(stems["high"], alone[67], atol=1e-6)

    def test_the_rest_is_a_stem(self) -> None:
        result, waveform = self.result()
        stems = result.separate({"middle": (64,)})
        assert list(stems) == ["middle", "rest"]
        np.testing.assert_allclose(sum(stems.values()), waveform, atol=1e-5)

    def test_notes_own_their_source_in_time(self) -> None:
        result, waveform = self.result()
        velocities = np.array([64.0])

        def note(onset: float, offset: float, pitch: int) -> Labels:
            return Labels(np.array([[onset, offset]]), np.array([pitch]), velocities)

        # Source 60 changes hands at 0.15 s. Bins of the other sources go by who sounds.
        groups = {"first": note(0.0, 0.1, 60), "second": note(0.15, 0.2, 60)}
        stems = result.separate(groups)
        np.testing.assert_allclose(sum(stems.values()), waveform, atol=1e-5)
        change, window = int(0.15 * 16000), 128
        for name, inside in (
            ("first", slice(window, change - window)),
            ("second", slice(change + window, 4000 - window)),
        ):
            np.testing.assert_allclose(stems[name][inside], waveform[inside], atol=1e-5)

    def test_masks_make_the_stems(self) -> None:
        result, _ = self.result()
        groups = {"low": [60], "high": [64, 67]}
        masks = result.masks(groups)
        np.testing.assert_allclose(sum(masks.values()), 1)
        for name, stem in result.separate(groups).items():
            mask = np.concatenate([masks[name][:1], masks[name]])  # DC goes with its neighbour
            expected = audio.istft(result.stft * mask, CONFIG, 4000)
            inside = slice(None, -CONFIG.n_fft)  # the end has a frame more
            np.testing.assert_allclose(stem[inside], expected[inside], atol=1e-9)

    def test_one_stem_and_the_rest(self) -> None:
        result, waveform = self.result()
        groups = {"low": [60], "middle": [64], "high": [67]}
        all_of_them = result.separate(groups)
        stems = result.separate(groups, only="middle")
        assert list(stems) == ["middle", "rest"]
        np.testing.assert_allclose(stems["middle"], all_of_them["middle"], atol=1e-9)
        np.testing.assert_allclose(stems["rest"], waveform - stems["middle"], atol=1e-6)
        with pytest.raises(ValueError, match="no stem 'bass' to keep, but low, middle, high"):
            result.separate(groups, only="bass")
        with pytest.raises(ValueError, match="'all' is all there is"):
            result.separate({"all": [60, 64, 67]}, only="all")
        with pytest.raises(ValueError, match="'rest' is what is left"):
            result.separate({"low": [60]}, only="rest")

    def test_bad_groups(self) -> None:
        result, _ = self.result()
        notes = Labels(np.array([[0.0, 0.1]]), np.array([99]), np.array([64.0]))
        for groups, message in [
            ({}, "no groups"),
            ({"a": [61]}, "61 is no source"),
            ({"a": [60], "b": []}, "'b' names no source"),
            ({"a": [60], "b": [60, 64]}, "60 is in two groups, 'a' and 'b'"),
            ({"rest": [60]}, "'rest' lacks some sources"),
            ({"a": notes, "b": [60]}, "not a mixture"),
            ({"a": notes}, "no note of these groups"),
        ]:
            with pytest.raises(ValueError, match=message):
                result.separate(groups)
