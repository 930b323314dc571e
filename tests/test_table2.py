"""Table II's harness: data, searches that stay, and what is made of them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
from paper import maps_tree, piano_data, runs, table2
from paper.complexity import METHODS
from paper.piano_data import PianoData, TestSet
from paper.runs import PRESETS, Run, Runs

import dds_fast
from dds_fast import SpectrogramConfig, metrics
from dds_fast.datasets import Labels, load_labels
from dds_fast.datasets.synthetic import write_instruments

CONFIG = SpectrogramConfig(n_fft=128)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PianoData:
    return piano_data.generated(
        tmp_path_factory.mktemp("tree"),
        pitches=(60, 64, 67),
        n_pianos=1,
        polyphonies=(2, 3),
        n_chords=3,
    )


@pytest.fixture(scope="module")
def made(data: PianoData, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """All of table II on chords of both intensities, at tiny sizes."""
    made = Runs(tmp_path_factory.mktemp("out"), data, PRESETS["check"])
    made.make(run for test in made.table_sets() for m in METHODS for run in made.of(m, test))
    return made


class TestData:
    def test_generated_pianos_differ(self, data: PianoData) -> None:
        assert [one.name for one in data.sets] == [
            "P2 I32-96",
            "P3 I32-96",
            "P2 I60-68",
            "P3 I60-68",
        ]
        assert data.chords(3, "60-68").name == "P3 I60-68"
        assert data.chords(4) is None
        notes = data.notes(CONFIG)
        assert notes.sources == (60, 64, 67)
        heard = data.calibration.files[0].parent.parent.parent.parent.parent
        tested = data.sets[0].files[0].parent.parent.parent.parent.parent
        assert (heard.name, tested.name) == ("StbgTGd2", "ENSTDkCl")

    def test_each_seed_has_files_of_its_own_if_there_are_enough(self) -> None:
        test = TestSet("x", tuple(Path(str(i)) for i in range(7)), load_labels)
        chosen = [test.chosen(2, seed) for seed in range(4)]
        assert [path.name for files, _ in chosen for path in files] == list("01234501")
        assert [times for _, times in chosen] == [0, 0, 0, 1]
        assert test.chosen(3, 2) == (test.files[:3], 1)
        assert test.chosen(None, 1) == test.chosen(9, 1) == (test.files, 1)

    def test_snippet_is_delayed_and_cut(self, data: PianoData) -> None:
        path = data.sets[0].files[0]
        intervals = np.array([[0.2, 1.0], [0.9, 1.6], [1.5, 1.7]])
        labels = Labels(intervals, np.array([60, 64, 67]), np.full(3, 64.0))
        test = TestSet("x", (path,), lambda _: labels, delay=0.1)
        X, found = test.snippet(CONFIG, test.files, seconds=1.0)
        whole = dds_fast.audio.spectrogram(dds_fast.audio.load(path, CONFIG.sr), CONFIG).values
        first, end = CONFIG.frames(np.array([0.3, 1.3]))
        np.testing.assert_array_equal(X.values, whole[:, first:end])
        assert found.pitches.tolist() == [60, 64]
        expected = np.array([[0.3, 1.1], [1.0, 1.3]]) - first / CONFIG.frame_rate
        np.testing.assert_allclose(found.intervals, expected)

    def test_folders(self, tmp_path: Path) -> None:
        write_instruments(tmp_path / "notes", n_instruments=1, pitches=(60, 64, 67), seconds=0.3)
        mixes = tmp_path / "piano" / "P2"
        recordings = dds_fast.datasets.find_notes(tmp_path / "notes")
        chords = dds_fast.datasets.random_chords(recordings, polyphony=2, n_chords=2)
        mixes.mkdir(parents=True)
        for i, (wave, labels) in enumerate(chords):
            piano_data.soundfile.write(mixes / f"{i}.flac", wave, 16000)
            lines = [
                f"{on} {off} {pitch}"
                for (on, off), pitch in zip(labels.intervals, labels.pitches, strict=True)
            ]
            (mixes / f"{i}.txt").write_text("\n".join(lines))
        found = piano_data.from_folders(
            [tmp_path / "notes"], [f"{mixes}@0.05"], tmp_path / "chords"
        )
        (test,) = found.sets
        assert (test.name, test.polyphony, test.delay) == ("piano/P2", 2, 0.05)
        assert found.chords(2) is test
        assert found.notes(CONFIG).sources == (60, 64, 67)
        X, labels = found.calibration.snippet(CONFIG, found.calibration.files[:1])
        assert len(labels) == 2 and X.values.any()

    def test_held_out_piano(self, tmp_path: Path) -> None:
        write_instruments(tmp_path / "notes", n_instruments=2, pitches=range(60, 69), seconds=0.3)
        learned, other = sorted((tmp_path / "notes").iterdir())
        found = piano_data.from_folders([learned], (), tmp_path, held_out=other, every=3)
        assert [(one.polyphony, one.intensity) for one in found.sets] == [
            *((p, "32-96") for p in range(2, 8)),
            (2, "60-68"),
        ]
        wide, narrow = (found.chords(2, intensity) for intensity in ("32-96", "60-68"))
        for one, same in zip(wide.files, narrow.files, strict=True):
            assert wide.labels(one).pitches.tolist() == narrow.labels(same).pitches.tolist()
            assert set(narrow.labels(same).velocities) <= set(range(60, 69))
        whole = dds_fast.datasets.load_notes(dds_fast.datasets.find_notes(learned), CONFIG)
        np.testing.assert_array_equal(found.notes(CONFIG).frames, whole.frames[::3])
        with pytest.raises(ValueError, match="held out and learned from"):
            piano_data.from_folders([learned], (), tmp_path, held_out=learned)

    def test_later_parts_of_a_file(self, data: PianoData) -> None:
        path = data.sets[0].files[0]
        labels = Labels(np.array([[0.3, 0.5], [1.2, 1.6]]), np.array([60, 64]), np.full(2, 64.0))
        test = TestSet("x", (path,), lambda _: labels)
        parts = [test.snippet(CONFIG, test.files, 0.4, part)[1] for part in range(4)]
        # From 0.3, 0.7, 1.1 and 1.5 s on: nothing sounds in the second.
        assert [part.pitches.tolist() for part in parts] == [[60], [64], [64], [60]]
        np.testing.assert_allclose([np.ptp(part.intervals) for part in parts], [0.2, 0.3, 0.1, 0.2])

    def test_maps_split_frames_as_the_paper_does(self, tmp_path: Path) -> None:
        tree = maps_tree.write_tree(
            tmp_path,
            instruments=("AkPnBcht", "ENSTDkCl"),
            pitches=(60, 64),
            modes=("ST",),
            polyphonies=(2,),
            n_chords=1,
        )
        notes = piano_data.from_maps(tree).notes(CONFIG)
        assert len(np.unique(notes.origins)) == len(notes.frames)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"maps": Path("x"), "notes": [Path("y")]}, "either --maps, or"),
            ({"notes": [Path("y")]}, "belong together"),
            (
                {"notes": [Path(".")], "mixtures": ["nowhere"]},
                "no such folder of mixtures: nowhere",
            ),
            ({"notes": [Path(".")], "mixtures": [".@soon"]}, "'soon' is no number"),
            ({"maps": Path(".")}, "has no folder of StbgTGd2"),
        ],
    )
    def test_bad_options(self, options: dict, message: str, tmp_path: Path) -> None:
        nothing = dict.fromkeys(("maps", "notes", "mixtures", "held_out")) | {"every": 1}
        given = argparse.Namespace(**(nothing | options))
        with pytest.raises((ValueError, OSError), match=message):
            piano_data.chosen(given, tmp_path)


class TestRuns:
    def test_a_row_is_the_search_that_it_says(self, made: Runs) -> None:
        run = made.of("DDS-3", made.data.sets[0])[1]
        row = runs.finished(made.record)[run]
        test = made.data.sets[0]
        config = SpectrogramConfig(n_fft=2 * run.n_features)
        X, labels = test.snippet(config, test.files[1:2])
        assert row["files"] == [test.files[1].name]
        dictionary = dds_fast.load(made.path.parent / "models" / "dds3-F64-0.safetensors")
        result = dds_fast.decompose(
            X, dictionary, preset="paper", max_steps=5, n_components=2, random_state=1
        )
        roll = labels.roll(result.sources, result.times)
        live = roll.any(axis=0)
        H = result.source_activations[:, live]
        assert row["scores"]["psa"] == pytest.approx(metrics.psa(H, roll[:, live]), rel=1e-6)
        assert row["scores"]["l0(0.001 max)"] == pytest.approx(
            metrics.sparsity(result.source_activations, 1e-3 * result.source_activations.max())
        )
        residual = np.linalg.norm(X.values - result.components @ result.activations)
        assert row["relative_error"] == pytest.approx(residual / np.linalg.norm(X.values), rel=1e-5)
        plain = np.stack([result.activations[result.labels == s].sum(0) for s in range(3)])
        assert row["without_rescaling"]["psa"] == pytest.approx(
            metrics.psa(plain[:, live], roll[:, live]), rel=1e-6
        )
        threshold = made.record["thresholds"]["DDS-3"]
        expected = metrics.frame_scores(H, roll[:, live], threshold)["f1"]
        assert row["scores"]["frame_f1"] == pytest.approx(expected)

    def test_dds1_searches_with_the_bank_of_dds2(self, made: Runs) -> None:
        kept = {path.name for path in (made.path.parent / "models").glob("*.safetensors")}
        assert kept == {"dds2-F64-0.safetensors", "dds3-F64-0.safetensors"}
        kinds = {row["method"]: row["kind"] for row in made.record["rows"]}
        assert kinds == {"NMF": "nmf", "DDS-1": "dds1", "DDS-2": "dds2", "DDS-3": "dds3"}

    def test_thresholds_are_not_from_the_test_set(self, made: Runs) -> None:
        assert set(made.record["thresholds"]) == set(METHODS)
        rows = made.record["rows"]
        assert any(
            row["scores"]["upper_threshold"] != row["scores"]["best_threshold"] for row in rows
        )
        assert all(
            row["scores"]["frame_f1"] <= row["scores"]["frame_f1_at_best_threshold"] + 1e-9
            for row in rows
        )

    def test_finished_rows_are_kept(self, made: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
        again = Runs(made.path.parent, made.data, PRESETS["check"])
        assert again.record == made.record
        monkeypatch.setattr(runs, "measure", None)
        again.make(made.of("NMF", made.data.sets[0]))
        with pytest.raises(TypeError):
            again.make(made.of("NMF", made.data.sets[1]))

    def test_another_budget_is_not_mixed_in(self, made: Runs) -> None:
        with pytest.raises(ValueError, match="is of another budget; take another --out"):
            Runs(made.path.parent, made.data, PRESETS["quick"])

    def test_off_table_ii_there_is_no_threshold(self, data: PianoData, tmp_path: Path) -> None:
        made = Runs(tmp_path, data, PRESETS["check"])
        run = Run("NMF", 32, None, "P2 I32-96", 0)
        made.make([run])
        (row,) = made.record["rows"]
        assert "frame_f1" not in row["scores"] and "frame_f1_at_best_threshold" in row["scores"]
        assert made.record["thresholds"] == {}

    def test_nmf_is_not_searched_twice_on_the_same_files(
        self, data: PianoData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        searched = []
        measure = runs.measure
        monkeypatch.setattr(
            runs, "measure", lambda *args, **kw: searched.append(args[0]) or measure(*args, **kw)
        )
        budget = runs.replace(PRESETS["check"], n_files=None)
        made = Runs(tmp_path, data, budget)
        made.make(made.of("NMF", data.sets[0]))
        assert searched == ["P2 I32-96", "P2 I32-96"]  # one to choose the threshold on
        assert [row["seed"] for row in made.record["rows"]] == [0, 1, 2]

    def test_given_models(self, made: Runs, data: PianoData, tmp_path: Path) -> None:
        bank = made.path.parent / "models" / "dds2-F64-0.safetensors"
        given = Runs(tmp_path, data, PRESETS["check"], {"dds2": bank})
        assert given.budget.n_features == (64,)
        given.make(given.of("DDS-2", data.sets[0])[:1])
        assert not (tmp_path / "models").exists()
        same = runs.finished(made.record)[given.of("DDS-2", data.sets[0])[0]]
        assert given.record["rows"][0]["cost"] == same["cost"]
        with pytest.raises(ValueError, match="is a 'dds2' dictionary, not 'dds3'"):
            Runs(tmp_path / "b", data, PRESETS["check"], {"dds3": bank})


class TestReport:
    def test_means_and_spreads(self, made: Runs) -> None:
        text = table2.table(made.record, "P2 I32-96")
        rows = table2.rows_of(made.record, "DDS-2", "P2 I32-96")
        psa = np.array([row["scores"]["psa"] for row in rows])
        assert len(psa) == 3
        (line,) = [line for line in text.splitlines() if line.startswith("| DDS-2")]
        assert line.startswith(
            f"| DDS-2 | 0.4323 | 0.8121 | 3 | {psa.mean():.3f} ± {psa.std(ddof=1):.3f}"
        )

    def test_files(self, made: Runs, tmp_path: Path) -> None:
        table2.write(tmp_path, made.record)
        assert {path.name for path in tmp_path.iterdir()} == {"table2.md", "table2.svg"}
        text = (tmp_path / "table2.md").read_text()
        assert "no number here means anything" in text
        for name in ("P2 I32-96", "P2 I60-68"):
            assert f"## {name}\n" in text

    def test_without_a_complete_set(self, made: Runs) -> None:
        rows = [row for row in made.record["rows"] if row["method"] != "DDS-1"]
        assert table2.draw(made.record | {"rows": rows}) is None


def command_line(tmp_path: Path, *options: str) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["table2", "--out", str(tmp_path / "out"), *options])
        return table2.main()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--only", "NMF,DDS-4"), "--only: unknown DDS-4; there are NMF, DDS-1,"),
        (("--model", "dds9=x"), "--model: unknown kind 'dds9'"),
        (("--maps", "nowhere"), "no such MAPS folder: nowhere"),
    ],
)
def test_bad_command_lines(
    options: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line(tmp_path, *options) == 1
    assert message in capsys.readouterr().err


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--preset", "check", "--only", "NMF", "--seeds", "2")
    assert command_line(tmp_path, *options) == 0
    record = json.loads((tmp_path / "out" / "runs.json").read_text())
    assert len(record["rows"]) == 4
    assert capsys.readouterr().out.strip().endswith("table2.md")
