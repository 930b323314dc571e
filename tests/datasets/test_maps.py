"""MAPS, on small trees of its layout."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pretty_midi
import pytest
import soundfile
from paper import maps_tree

import dds_fast
from dds_fast import SpectrogramConfig, audio, metrics
from dds_fast.datasets import Labels, Maps, find_notes, load_labels
from dds_fast.datasets.maps import MapsFile, default_cache
from dds_fast.datasets.synthetic import Instrument, write_instruments

CONFIG = SpectrogramConfig(n_fft=512, hop=256)
PITCHES = (36, 60, 64, 95)


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = maps_tree.write_tree(
        tmp_path_factory.mktemp("maps"),
        instruments=("AkPnBcht", "ENSTDkCl"),
        pitches=PITCHES,
        polyphonies=(2, 3),
        n_chords=2,
    )
    piano = Instrument.draw("AkPnBcht", 0)
    maps_tree.write_isolated(root, piano, "AkPnBcht", pitches=(60,), modes=("RE", "LG"))
    return root


@pytest.fixture
def maps(tree: Path) -> Maps:
    return Maps(tree, cache=False)


class TestNames:
    def test_isolated(self) -> None:
        file = MapsFile.of("x/MAPS_ISOL_NO_F_S1_M21_AkPnBcht.wav")
        assert file == MapsFile(
            Path("x/MAPS_ISOL_NO_F_S1_M21_AkPnBcht.wav"),
            *("ISOL", "AkPnBcht", True, "NO", "F", 21),
        )

    def test_scales_have_no_pitch(self) -> None:
        file = MapsFile.of("MAPS_ISOL_CH0.1_F_AkPnBcht.wav")
        assert (file.mode, file.loudness, file.pitch, file.pedal) == ("CH0.1", "F", None, None)

    def test_chords(self) -> None:
        file = MapsFile.of("MAPS_RAND_P7_M21-108_I60-68_S0_n50_SptkBGCl.wav")
        assert (file.polyphony, file.pitches, file.intensity) == (7, "21-108", "60-68")
        assert (file.pedal, file.number, file.instrument) == (False, 50, "SptkBGCl")

    def test_music(self) -> None:
        file = MapsFile.of("MAPS_MUS-chpn_op7_1_ENSTDkAm.wav")
        assert (file.piece, file.instrument) == ("chpn_op7_1", "ENSTDkAm")

    @pytest.mark.parametrize("name", ["60.wav", "MAPS_ISOL_NO_X_S1_M21_AkPnBcht.wav", "MAPS.wav"])
    def test_others(self, name: str) -> None:
        assert MapsFile.of(name) is None


class TestTree:
    def test_recordings_are_like_those_of_the_database(self, tree: Path) -> None:
        path = tree / "AkPnBcht/ISOL/ST"
        (wav,) = path.glob("MAPS_ISOL_ST_F_S?_M60_AkPnBcht.wav")
        info = soundfile.info(wav)
        assert (info.samplerate, info.channels, info.subtype) == (44100, 2, "PCM_16")
        lines = wav.with_suffix(".txt").read_text().splitlines()
        assert lines == ["OnsetTime\tOffsetTime\tMidiPitch", "0.500000\t0.700000\t60"]
        (note,) = pretty_midi.PrettyMIDI(str(wav.with_suffix(".mid"))).instruments[0].notes
        assert (note.pitch, note.velocity) == (60, 100)
        assert (note.start, note.end) == pytest.approx((0.5, 0.7), abs=1e-3)

    def test_nothing_is_overwritten_unasked(self, tree: Path) -> None:
        with pytest.raises(FileExistsError, match="MAPS_ISOL"):
            maps_tree.write_tree(tree, instruments=("AkPnBcht",), pitches=(60,))

    def test_the_pedal_lets_notes_sound_on(self, tree: Path) -> None:
        files = [MapsFile.of(p) for p in (tree / "AkPnBcht/ISOL/ST").glob("*_M36_*.wav")]
        files += [MapsFile.of(p) for p in (tree / "AkPnBcht/ISOL/ST").glob("*_M60_*.wav")]
        assert {file.pedal for file in files} == {False, True}
        for file in files:
            rest = audio.load(file.path, 44100)[round(0.85 * 44100) :]
            assert (np.abs(rest).max() > 1e-3) == file.pedal

    def test_chords_of_recorded_notes(self, tmp_path: Path) -> None:
        notes = find_notes(
            write_instruments(tmp_path / "n", n_instruments=1, pitches=range(60, 70))
        )
        maps_tree.write_chords(
            *(tmp_path / "maps", notes, "ENSTDkAm"), polyphonies=(7,), n_chords=2, sr=16000
        )
        maps = Maps(tmp_path / "maps", cache=False)
        for intensity, low, high in (("60-68", 60, 68), ("32-96", 32, 96)):
            files = maps.chords("ENSTDkAm", polyphony=7, intensity=intensity)
            assert [file.number for file in files] == [1, 2]
            for file in files:
                labels = file.labels()
                assert len(set(labels.pitches)) == 7
                assert low <= labels.velocities.min() <= labels.velocities.max() <= high


class TestFinding:
    def test_isolated_notes(self, maps: Maps) -> None:
        files = maps.isolated(("AkPnBcht",), pitches=(60, 64), modes=("NO", "ST"))
        assert len(files) == 2 * 2 * 2
        assert {(file.pitch, file.mode, file.loudness) for file in files} == {
            (pitch, mode, loudness)
            for pitch in (60, 64)
            for mode in ("NO", "ST")
            for loudness in ("P", "F")
        }
        everything = maps.isolated(("AkPnBcht", "ENSTDkCl"))
        assert len(everything) == 2 * 4 * 2 * 2 + 6
        assert everything == sorted(everything, key=lambda f: (f.instrument, str(f.path)))

    def test_sixty_notes_of_seven_pianos(self, tmp_path: Path) -> None:
        """C2 to B6 of those that are no Disklavier."""
        pianos = "StbgTGd2 AkPnBsdf AkPnBcht AkPnCGdD AkPnStgb SptkBGAm SptkBGCl ENSTDkAm ENSTDkCl"
        for piano in pianos.split():
            folder = tmp_path / piano / "ISOL/NO"
            folder.mkdir(parents=True)
            for pitch in range(21, 109):
                (folder / f"MAPS_ISOL_NO_F_S0_M{pitch}_{piano}.wav").touch()
        files = Maps(tmp_path, cache=False).isolated()
        expected = {(piano, pitch) for piano in pianos.split()[:7] for pitch in range(36, 96)}
        assert {(file.instrument, file.pitch) for file in files} == expected
        assert len(files) == 7 * 60

    def test_trills_and_scales_are_left_out(self, maps: Maps, tree: Path) -> None:
        folder = tree / "ENSTDkCl/ISOL/TR"
        folder.mkdir(exist_ok=True)
        (folder / "MAPS_ISOL_TR1_F_S0_M60_ENSTDkCl.wav").touch()
        assert not [f for f in maps.isolated(("ENSTDkCl",)) if f.mode == "TR1"]
        assert len(maps.isolated(("ENSTDkCl",), modes=("TR1",))) == 1

    def test_chords_of_one_folder(self, maps: Maps) -> None:
        files = maps.chords("ENSTDkCl", polyphony=3, intensity="60-68")
        assert [(f.polyphony, f.intensity, f.number) for f in files] == [
            *((3, "60-68", 1), (3, "60-68", 2))
        ]
        assert files[0].path.parent.name == "P3"

    def test_music(self, maps: Maps) -> None:
        assert [f.piece for f in maps.music("AkPnBcht")] == ["synthetic"]

    def test_only_the_folders_asked_for_are_listed(self, tree: Path, tmp_path: Path) -> None:
        cache = tmp_path / "cache" / "maps.json"
        Maps(tree, cache).chords("ENSTDkCl", polyphony=2)
        (listed,) = json.loads(cache.read_text())["folders"]
        assert listed.endswith("ENSTDkCl/RAND/M36-95/I32-96/P2")

    def test_folders_of_archives_may_lie_between(self, tree: Path, tmp_path: Path) -> None:
        (tmp_path / "MAPS_ENSTDkCl_1").mkdir()
        (tmp_path / "MAPS_ENSTDkCl_1" / "ENSTDkCl").symlink_to(tree / "ENSTDkCl")
        assert len(Maps(tmp_path, cache=False).chords(polyphony=2)) == 2

    def test_what_is_not_there(self, maps: Maps, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="no such MAPS folder.*gone"):
            Maps(tmp_path / "gone")
        with pytest.raises(FileNotFoundError, match="no folder SptkBGAm"):
            maps.music("SptkBGAm")
        with pytest.raises(ValueError, match="'Steinway' is no instrument"):
            maps.music("Steinway")
        with pytest.raises(FileNotFoundError, match="M21-108"):
            maps.chords(polyphony=2, pitches="21-108")
        with pytest.raises(ValueError, match="holds no isolated notes of modes XX"):
            maps.isolated(("AkPnBcht",), modes=("XX",))


class TestCache:
    def test_new_files_are_seen(self, tmp_path: Path) -> None:
        folder = tmp_path / "maps/ENSTDkCl/MUS"
        folder.mkdir(parents=True)
        (folder / "MAPS_MUS-a_ENSTDkCl.wav").touch()
        cache = tmp_path / "names.json"
        assert [f.piece for f in Maps(tmp_path / "maps", cache).music()] == ["a"]
        (folder / "MAPS_MUS-b_ENSTDkCl.wav").touch()
        assert [f.piece for f in Maps(tmp_path / "maps", cache).music()] == ["a", "b"]

    def test_unchanged_folders_are_not_listed_again(
        self, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cache = tmp_path / "names.json"
        before = Maps(tree, cache).isolated(("AkPnBcht",))
        monkeypatch.setattr(Path, "iterdir", lambda path: pytest.fail(f"{path} was listed"))
        assert Maps(tree, cache).isolated(("AkPnBcht",)) == before

    def test_a_broken_cache_is_made_again(self, tree: Path, tmp_path: Path) -> None:
        for content in ("{", "[]", '{"format": 0}'):
            (tmp_path / "names.json").write_text(content)
            assert len(Maps(tree, tmp_path / "names.json").music()) == 1
            assert "MUS" in (tmp_path / "names.json").read_text()

    def test_a_cache_that_cannot_be_written_is_no_error(self, tree: Path, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        assert Maps(tree, tmp_path / "file" / "names.json").music()

    def test_place(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert default_cache() == tmp_path / "dds_fast" / "maps.json"


class TestFrames:
    def test_frames_lie_inside_the_events(self, maps: Maps) -> None:
        (file,) = (f for f in maps.isolated(("AkPnBcht",), (60,), ("RE",)) if f.loudness == "F")
        notes = maps.frames([file], CONFIG)
        X = audio.spectrogram(audio.load(file.path, 16000), CONFIG).values
        rate = X.shape[1] / soundfile.info(file.path).duration
        rows = [
            row
            for onset, offset in ((0.5, 0.7), (0.9, 1.1))
            for row in X.T[round(onset * rate) : round(offset * rate)]
        ]
        np.testing.assert_array_equal(notes.frames, rows)
        assert notes.sources == (60,)

    def test_the_rate_is_that_of_the_file(self, tmp_path: Path) -> None:
        """A second has 63 centred frames, not 62.5: 0.9 s is frame 57 of the file, not 56."""
        path = tmp_path / "MAPS_ISOL_NO_F_S0_M60_AkPnBcht.wav"
        wave = np.random.default_rng(0).uniform(-0.5, 0.5, (16000, 2))
        soundfile.write(path, wave, 16000)
        lines = "OnsetTime\tOffsetTime\tMidiPitch\n0.9\t0.99\t60\n"
        path.with_suffix(".txt").write_text(lines)
        file = MapsFile.of(path)
        found = Maps(tmp_path, cache=False).frames([file], CONFIG).frames
        X = audio.spectrogram(audio.load(path, 16000), CONFIG).values.T
        assert len(X) == 63
        np.testing.assert_array_equal(found, X[57:62])

    def test_all_at_once(self, maps: Maps) -> None:
        notes = maps.frames(maps.isolated(("AkPnBcht", "ENSTDkCl"), modes=("NO",)), CONFIG)
        assert notes.sources == PITCHES
        assert len(np.unique(notes.origins)) == 16
        assert notes.frames.shape[1] == 256
        dictionary = dds_fast.fit(notes, "nmf", spectrogram=CONFIG)
        assert dictionary.sources == PITCHES

    def test_split_by_frames(self, maps: Maps) -> None:
        notes = maps.frames(maps.isolated(("AkPnBcht",), modes=("NO",)), CONFIG).frame_by_frame()
        training, validation = notes.split(0.2, random_state=0)
        for source in range(len(PITCHES)):
            n, m = (np.sum(part.labels == source) for part in (training, validation))
            assert m == round(0.2 * (n + m))

    def test_what_cannot_be_read_is_reported_once(
        self, maps: Maps, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        good = maps.isolated(("AkPnBcht",), (60,), ("NO",))[0]
        folder = tmp_path / "maps/AkPnBcht/ISOL/NO"
        folder.mkdir(parents=True)
        for pitch, parts in ((60, ".wav.mid.txt"), (61, ".wav"), (62, ".wav.mid"), (63, ".txt")):
            name = f"MAPS_ISOL_NO_F_S0_M{pitch}_AkPnBcht"
            for suffix in parts.split(".")[1:]:
                content = good.path.with_suffix(f".{suffix}").read_bytes()
                (folder / f"{name}.{suffix}").write_bytes(content)
        (folder / "notes.wav").touch()
        broken = Maps(tmp_path / "maps", cache=False)
        with caplog.at_level(logging.WARNING, logger="dds_fast"):
            files = broken.isolated(("AkPnBcht",))
            notes = broken.frames(files, CONFIG)
        assert notes.sources == (60,)
        assert "notes.wav: its name is none of MAPS" in caplog.text
        assert "2 problems" in caplog.text
        assert "M61_AkPnBcht.txt" in caplog.text
        assert "its labels hold no note of pitch 62" in caplog.text

    def test_errors(self, maps: Maps, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="is no isolated note"):
            maps.frames(maps.music(), CONFIG)
        gone = MapsFile.of(tmp_path / "MAPS_ISOL_NO_F_S0_M60_AkPnBcht.wav")
        with pytest.raises(ValueError, match="none of the MAPS files"):
            maps.frames([gone], CONFIG)


class TestConcatenated:
    def test_cut_to_the_notes_one_after_the_other(self, maps: Maps) -> None:
        files = maps.chords("ENSTDkCl", polyphony=2)
        X, labels = maps.concatenated(files, CONFIG)
        pieces, rolls = [], []
        for file in files:
            own = load_labels(file.path.with_suffix(".mid"))
            first, end = (
                round(own.intervals[:, 0].min() * CONFIG.frame_rate),
                round(own.intervals[:, 1].max() * CONFIG.frame_rate),
            )
            values = audio.spectrogram(audio.load(file.path, 16000), CONFIG).values
            pieces.append(values[:, first:end])
            rolls.append(own.roll(PITCHES, CONFIG.times(values.shape[1]))[:, first:end])
        np.testing.assert_array_equal(X.values, np.concatenate(pieces, axis=1))
        roll = labels.roll(PITCHES, CONFIG.times(X.values.shape[1]))
        # A note may end on a frame's centre, which the shifted times round to either side.
        assert (roll != np.concatenate(rolls, axis=1)).sum() <= 2

    def test_with_the_pedal_notes_last_longer(self, maps: Maps) -> None:
        files = maps.music("ENSTDkCl")
        held, _ = maps.concatenated(files, CONFIG)
        played, _ = maps.concatenated(files, CONFIG, pedal=False)
        assert held.values.shape[1] > 1.2 * played.values.shape[1]

    def test_without_files(self, maps: Maps) -> None:
        with pytest.raises(ValueError, match="no recordings"):
            maps.concatenated([], CONFIG)

    def test_decomposes(self, maps: Maps) -> None:
        notes = maps.frames(maps.isolated(("AkPnBcht",), modes=("NO",)), CONFIG)
        dictionary = dds_fast.fit(notes, "nmf", spectrogram=CONFIG)
        X, labels = maps.concatenated(maps.chords(polyphony=2), CONFIG)
        result = dds_fast.decompose(X, dictionary, max_steps=30)
        roll = labels.roll(result.sources, result.times)
        assert metrics.psa(result.source_activations, roll) > 0.6


def test_labels_fall_back_to_text(tmp_path: Path) -> None:
    (tmp_path / "MAPS_MUS-a_ENSTDkCl.txt").write_text("OnsetTime OffsetTime MidiPitch\n1 2 60\n")
    file = MapsFile.of(tmp_path / "MAPS_MUS-a_ENSTDkCl.wav")
    labels = file.labels()
    assert isinstance(labels, Labels) and labels.pitches.tolist() == [60]
    with pytest.raises(FileNotFoundError, match=r"a_ENSTDkCl\.mid"):
        file.labels(pedal=True)
