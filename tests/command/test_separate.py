"""``dds-fast separate``, in-process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from tiny import recording

from dds_fast.command.main import main

HANDS = ("left", "right")
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
    assert {path.stem for path in (tmp_path / "out" / "a").iterdir()} == {"a", "right"}


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


@pytest.mark.parametrize(
    ("format", "subtype"),
    [("WAV", "PCM_U8"), ("WAV", "PCM_16"), ("WAV", "PCM_24"), ("WAV", "PCM_32"), ("FLAC", "PCM_16")]
    + [("FLAC", "PCM_24"), ("WAV", "FLOAT"), ("WAV", "DOUBLE"), ("AIFF", "PCM_24")],
)
def test_stems_have_the_format_of_the_recording(tmp_path: Path, format: str, subtype: str) -> None:
    source = tmp_path / f"a.{format.lower()}"
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (14000, 2))
    soundfile.write(source, noise, 44100, subtype=subtype, format=format)
    (tmp_path / "score.txt").write_text(SCORE)
    given = ["separate", source, tmp_path / "score.txt", "-o", tmp_path / "out", "--max-steps", 3]
    assert main([*map(str, given), "--by", "note"]) == 0
    paths = sorted((tmp_path / "out" / "a").iterdir())
    assert {path.suffix for path in paths} == {".flac" if format == "FLAC" else ".wav"}
    infos = [soundfile.info(path) for path in paths]
    assert {(i.subtype, i.samplerate, i.channels) for i in infos} == {(subtype, 44100, 2)}
    integers = subtype.startswith("PCM")
    read = {"dtype": "int32" if integers else "float64"}
    total = sum(soundfile.read(path, **read)[0] for path in paths)
    recording = soundfile.read(source, **read)[0]
    if integers and subtype != "PCM_32":  # whose samples float64, in which they are made, rounds
        np.testing.assert_array_equal(total, recording)
    else:
        np.testing.assert_allclose(
            total / 2.0**31**integers, recording / 2.0**31**integers, atol=1e-6
        )


def test_compressed_recordings_give_floats(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.ogg", np.random.default_rng(0).normal(0, 0.1, 14000), 44100)
    (tmp_path / "score.txt").write_text(SCORE)
    given = ["separate", tmp_path / "a.ogg", tmp_path / "score.txt", "-o", tmp_path / "out"]
    assert main([*map(str, given), "--max-steps", "3"]) == 0
    left, right = (soundfile.read(tmp_path / "out" / "a" / f"{hand}.wav")[0] for hand in HANDS)
    np.testing.assert_allclose(left + right, soundfile.read(tmp_path / "a.ogg")[0], atol=1e-6)
    assert soundfile.info(tmp_path / "out" / "a" / "left.wav").subtype == "FLOAT"


def test_another_rate_one_channel_and_other_samples(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    stereo = np.random.default_rng(0).normal(0, 0.1, (14000, 2))
    soundfile.write(tmp_path / "a.wav", stereo, 44100, subtype="PCM_24")
    (tmp_path / "score.txt").write_text(SCORE)
    given = ["separate", tmp_path / "a.wav", tmp_path / "score.txt", "-o", tmp_path / "out"]
    given += ["--max-steps", 3, "--sr", 16000, "--mono", "--subtype", "FLOAT"]
    assert main(list(map(str, given))) == 0
    info = soundfile.info(tmp_path / "out" / "a" / "left.wav")
    assert (info.samplerate, info.channels, info.subtype) == (16000, 1, "FLOAT")


@pytest.mark.parametrize("n_channels", [3, 6])
def test_odd_numbers_of_channels(tmp_path: Path, n_channels: int) -> None:
    sound = np.random.default_rng(0).normal(0, 0.1, (14000, n_channels))
    soundfile.write(tmp_path / "a.wav", sound, 44100, subtype="FLOAT")
    (tmp_path / "score.txt").write_text(SCORE)
    given = ["separate", tmp_path / "a.wav", tmp_path / "score.txt", "-o", tmp_path / "out"]
    assert main([*map(str, given), "--max-steps", "3"]) == 0
    total = sum(soundfile.read(tmp_path / "out" / "a" / f"{hand}.wav")[0] for hand in HANDS)
    np.testing.assert_allclose(total, sound, atol=1e-6)


def test_more_channels_than_are_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros((14000, 9)), 44100)
    (tmp_path / "score.txt").write_text(SCORE)
    given = ["separate", tmp_path / "a.wav", tmp_path / "score.txt", "-o", tmp_path / "out"]
    assert main(list(map(str, given))) == 1
    assert "9 channels, at most 8 are read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (("--groups", "bass=36-59,C4=60,top=A4-C8"), {"bass", "C4", "top"}),
        (("--groups", "bass=36-59"), {"bass", "rest"}),
        (("--groups", "{json}"), {"a, b", "rest"}),
        (("--by", "source"), {"A3", "C4", "A4"}),
        (("--by", "pitch", "--only", "C4"), {"C4", "rest"}),
        (("--by", "track", "--only", "low"), {"low", "rest"}),
    ],
)
def test_groups(tmp_path: Path, arguments: tuple[str, ...], names: set[str]) -> None:
    groups = tmp_path / "groups.json"
    groups.write_text('{"a, b": ["36-59", 60]}')
    given = (argument.replace("{json}", str(groups)) for argument in arguments)
    assert separate(tmp_path, *given) == 0
    paths = sorted((tmp_path / "out" / "a").iterdir())
    assert {path.stem for path in paths} == names
    total = sum(soundfile.read(path)[0] for path in paths)
    np.testing.assert_allclose(total, soundfile.read(tmp_path / "a.wav")[0], atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--groups", "bass=20-30"), "the group 'bass' names no source of this recording: 57, 60"),
        (("--groups", "bass=kick"), "group 'bass': 'kick' is no source; there are 57, 60, 69"),
        (("--groups", "a=57-60,b=60-69"), "60 is in two groups, 'a' and 'b'"),
        (("--groups", "Left=57,left=60"), "'Left' and 'left' would both be"),
        (("--groups", "a=57,a=60"), "the group 'a' is there twice"),
        (("--groups", "36-59"), "groups are written as left=36-59"),
        (("--groups", "=36-59"), "a group needs a name"),
        (("--groups", "none.json"), "none.json"),
        (("--only", "middle"), "there is no stem 'middle' to keep, but left, right"),
    ],
)
def test_groups_that_are_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    assert separate(tmp_path, *arguments) == 1
    assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("out/*/*"))


def test_a_score_of_another_time_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "late.txt").write_text("100 101 60\n")
    given = ["separate", recording(tmp_path / "a.wav"), tmp_path / "late.txt", "-o", tmp_path / "o"]
    assert main(list(map(str, given))) == 1
    assert "no note of the score lies within the recording" in capsys.readouterr().err
    assert not list(tmp_path.glob("o/*"))
