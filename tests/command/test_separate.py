"""``dds-fast separate``, in-process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from tiny import recording

from dds_fast.command.main import main
from dds_fast.command.separate import write

SCORE = "0.0 0.2 57 64 low\n0.05 0.3 60 64 high\n0.1 0.3 69 64 high\n"


def separate(tmp_path: Path, *arguments: object, score: bool = True) -> int:
    source = recording(tmp_path / "a.wav")
    (tmp_path / "score.txt").write_text(SCORE)
    scores = [tmp_path / "score.txt"] if score else []
    given = ["separate", source, *scores, "-o", tmp_path / "out", "--max-steps", 3, *arguments]
    return main(list(map(str, given)))


@pytest.mark.parametrize(
    ("by", "names"),
    [
        ("hand", {"left", "right"}),
        ("track", {"low", "high"}),
        ("pitch", {"A3", "C4", "A4"}),
        ("note", {"001_A3", "002_C4", "003_A4"}),
    ],
)
def test_stems_sum_to_the_recording(tmp_path: Path, by: str, names: set[str]) -> None:
    assert separate(tmp_path, "--by", by) == 0
    paths = sorted((tmp_path / "out" / "a").iterdir())
    assert {path.stem for path in paths} == names
    stems = [soundfile.read(path) for path in paths]
    assert {sr for _, sr in stems} == {16000}
    total = sum(stem for stem, _ in stems)
    np.testing.assert_allclose(total, soundfile.read(tmp_path / "a.wav")[0], atol=1e-4)


def test_by_a_dictionary(tmp_path: Path, model: str) -> None:
    # Sources 60, 64 and 67; the score sorts what is found in them.
    options = ("-d", model, "--split", 64)
    assert separate(tmp_path, *options, score=False) == 0
    assert separate(tmp_path, *options, "--by", "track", "--overwrite") == 0
    names = {path.stem for path in (tmp_path / "out" / "a").iterdir()}
    assert names == {"low", "high"}


def test_old_stems_do_not_stay_among_new_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert separate(tmp_path, "--by", "hand") == 0
    soundfile.write(tmp_path / "out" / "a" / "take.wav", np.zeros(9), 16000)
    assert separate(tmp_path, "--by", "pitch", "--overwrite") == 0
    assert "take.wav is no stem of dds-fast and stays" in capsys.readouterr().err
    names = {path.stem for path in (tmp_path / "out" / "a").iterdir()}
    assert names == {"A3", "C4", "A4", "take"}


def test_the_recording_is_no_old_stem(tmp_path: Path, model: str) -> None:
    assert separate(tmp_path) == 0
    path = (tmp_path / "out" / "a" / "left.wav").rename(tmp_path / "out" / "a" / "a.wav")
    arguments = ["separate", path, "-d", model, "-o", tmp_path / "out", "--overwrite"]
    assert main(list(map(str, arguments))) == 0
    assert {path.stem for path in (tmp_path / "out" / "a").iterdir()} == {"a", "left", "right"}


@pytest.mark.parametrize("names", [("a/b", "a_b"), ("x" * 300, "x" * 301)], ids=["sign", "long"])
def test_names_that_collide_are_an_error_before_any_work(
    tmp_path: Path, names: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tracks.txt").write_text(f"0 0.2 57 64 {names[0]}\n0 0.3 60 64 {names[1]}\n")
    path, score = recording(tmp_path / "a.wav"), tmp_path / "tracks.txt"
    given = ["separate", path, score, "-o", tmp_path / "out", "--by", "track"]
    assert main(list(map(str, given))) == 1
    message = capsys.readouterr().err
    assert "would both be" in message and "step" not in message
    assert not (tmp_path / "out").exists()


def test_nothing_is_overwritten_unasked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert separate(tmp_path) == 0
    before = (tmp_path / "out" / "a" / "left.wav").stat().st_mtime_ns
    assert separate(tmp_path) == 1
    assert "left.wav exists" in capsys.readouterr().err
    assert (tmp_path / "out" / "a" / "left.wav").stat().st_mtime_ns == before
    assert separate(tmp_path, "--overwrite") == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--align",), "--align needs a score"),
        (("--onset-templates",), "--onset-templates needs a score"),
        (("--by", "track"), "stems by track need a score"),
    ],
)
def test_what_needs_a_score(
    tmp_path: Path,
    model: str,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple,
    message: str,
) -> None:
    assert separate(tmp_path, "-d", model, *arguments, score=False) == 1
    assert message in capsys.readouterr().err


def test_a_recorded_piano(tmp_path: Path) -> None:
    folder = Path(__file__).parents[2] / "shared" / "data" / "real" / "ENSTDkAm"
    paths = sorted(folder.glob("*chpn-p4*.flac"))
    if not paths:
        pytest.skip(f"no recordings in {folder}")
    samples, sr = soundfile.read(paths[0], dtype="float32", frames=6 * 16000)
    soundfile.write(tmp_path / "piano.wav", samples, sr, subtype="FLOAT")
    score, out = paths[0].with_suffix(".txt"), tmp_path / "out"
    given = ["separate", tmp_path / "piano.wav", score, "-o", out, "--max-steps", 10]
    assert main(list(map(str, given))) == 0
    stems = [soundfile.read(path)[0] for path in sorted((out / "piano").iterdir())]
    assert len(stems) == 2 and all(np.abs(stem).max() > 0.01 for stem in stems)
    np.testing.assert_allclose(sum(stems), samples, atol=1e-4)


def test_files(tmp_path: Path) -> None:
    paths = write(tmp_path, [("r/h", np.array([0.5, -2.0])), ("C♯4", np.zeros(2))], 8000)
    assert [path.name for path in paths] == ["r_h.wav", "C♯4.wav"]
    samples, sr = soundfile.read(paths[0])
    assert samples.tolist() == [0.5, -2.0] and sr == 8000
    with pytest.raises(FileExistsError):
        write(tmp_path, [("r/h", np.zeros(2))], 8000)
    with pytest.raises(ValueError, match="'a/b' and 'a_b' would both"):
        write(tmp_path, [("a/b", np.zeros(2)), ("a_b", np.zeros(2))], 8000, overwrite=True)
