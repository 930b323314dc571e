"""From files of one's own to named notes: drums, instruments, a single take of each."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pretty_midi
import pytest
import soundfile
from tiny import CONFIG, tone

import dds_fast
from dds_fast.command.main import main
from dds_fast.fit import FEWEST_FRAMES

SR = 44100
SIZES = {"n_steps": 2, "width": 8, "depth": 1, "max_epochs": 2}


def drum(name: str, gain: float = 0.5, seconds: float = 0.4) -> np.ndarray:
    """A falling thump, or noise in a band of its own."""
    t = np.arange(round(seconds * SR)) / SR
    if name == "kick":
        return gain * np.sin(2 * np.pi * (60 * t - 2 * np.exp(-30 * t))) * np.exp(-15 * t)
    noise = np.random.default_rng(len(name)).standard_normal(len(t))
    spectrum = np.fft.rfft(noise)
    low, high = {"snare": (300, 3000), "hat": (8000, 16000)}[name]
    bins = np.fft.rfftfreq(len(t), 1 / SR)
    spectrum[(bins < low) | (bins > high)] = 0
    wave = np.fft.irfft(spectrum, len(t))
    return gain * wave / np.abs(wave).max() * np.exp(-25 * t)


def write_kit(folder: Path) -> Path:
    folder.mkdir()
    for name in ("kick", "snare", "hat"):
        for take, gain in enumerate((0.3, 0.6), start=1):
            soundfile.write(folder / f"{name}_{take:02}.flac", drum(name, gain), SR)
    return folder


def loop() -> tuple[np.ndarray, list[tuple[float, str]]]:
    pattern = [(0.25, "kick"), (0.5, "hat"), (0.75, "snare"), (1.0, "hat"), (1.125, "hat")]
    pattern += [(1.25, "kick"), (1.25, "hat"), (1.75, "snare")]
    mix = np.zeros(round(2.5 * SR))
    for time, name in pattern:
        wave = drum(name, 0.45)
        mix[round(time * SR) :][: len(wave)] += wave
    return mix, pattern


def finite(thing: Any) -> bool:
    """Whether no number of a record is NaN or infinite."""
    if isinstance(thing, dict):
        return all(map(finite, thing.values()))
    if isinstance(thing, list | tuple):
        return all(map(finite, thing))
    return not isinstance(thing, float) or math.isfinite(thing)


def test_a_kit_and_a_loop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kit, model = write_kit(tmp_path / "kit"), str(tmp_path / "kit.safetensors")
    assert main(["fit", str(kit), "-o", model, "--kind", "nmf", "--sources", "name"]) == 0
    made = dds_fast.load(model)
    assert made.sources == ("hat", "kick", "snare")
    assert made.detection is not None and made.detection.hits
    assert (made.spectrogram.sr, made.metadata["training"]["sources"]) == (SR, "name")
    mix, pattern = loop()
    soundfile.write(tmp_path / "loop.wav", mix, SR)
    (tmp_path / "loop.txt").write_text("".join(f"{time} {name}\n" for time, name in pattern))
    out = tmp_path / "out"
    assert main(["decompose", str(tmp_path / "loop.wav"), "-d", model, "-o", str(out)]) == 0
    with (out / "loop" / "notes.csv").open(newline="") as file:
        found = [(float(row["start_time_s"]), row["source"]) for row in csv.DictReader(file)]
    assert sorted(name for _, name in found) == sorted(name for _, name in pattern)
    for time, name in pattern:
        assert any(abs(time - start) < 0.03 and name == other for start, other in found)
    midi = pretty_midi.PrettyMIDI(str(out / "loop" / "notes.mid"))
    tracks = {track.name: (track.is_drum, len(track.notes)) for track in midi.instruments}
    assert tracks == {"hat": (True, 4), "kick": (True, 2), "snare": (True, 2)}
    capsys.readouterr()
    scores = str(tmp_path / "scores.json")
    assert main(["evaluate", str(out), str(tmp_path / "loop.txt"), "--json", scores]) == 0
    assert json.loads(Path(scores).read_text())["scores"]["loop"]["note_onset_f1"] == 1.0


@pytest.mark.parametrize("kind", ["dds2", "dds3"])
def test_a_single_take_of_each(tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    for name, frequency in (("piano", 262.0), ("guitar", 392.0)):
        (tmp_path / name).mkdir()
        soundfile.write(tmp_path / name / "60.wav", tone(8000, frequency), 16000)
    with caplog.at_level("INFO", logger="dds_fast.fit"):
        made = dds_fast.fit(
            tmp_path,
            kind,
            sources="folder/key",
            spectrogram=CONFIG,
            folder=tmp_path / "fit",
            **SIZES,
        )
    assert made.sources == ("guitar/60", "piano/60")
    assert "sources told by folder/key: guitar/60, piano/60" in caplog.text
    assert "the middle of the only take of 2 of 2 sources" in caplog.text
    training = made.metadata["training"]
    assert training["held_out"] == "the middle of the only take of 2 of 2 sources"
    assert finite(made.metadata) and finite(json.loads((tmp_path / "fit/report.json").read_text()))
    result = dds_fast.decompose(tone(), made, sr=16000, n_components=1, max_steps=2)
    stems = result.separate({"guitar": ["guitar/60"], "piano": ["piano/60"]})
    np.testing.assert_allclose(sum(stems.values()), tone(), atol=1e-4)
    assert list(dds_fast.separate(tone(), dictionary=made, by="track", sr=16000)) == [
        "guitar",
        "piano",
    ]


@pytest.mark.parametrize("kind", ["dds2", "dds3"])
def test_a_single_source_has_no_gap_to_others(kind: str) -> None:
    frames = np.random.default_rng(0).random((40, 64), dtype=np.float32)
    made = dds_fast.fit({"kick": frames}, kind, spectrogram=CONFIG, **SIZES)
    assert finite(made.metadata)
    assert made.metadata["held_out"]["smallest_gap"] is None


def test_a_source_with_too_few_frames(tmp_path: Path) -> None:
    for name, n in (("kick", 8000), ("click", 130)):
        soundfile.write(tmp_path / f"{name}.wav", tone(n), 16000)
    with pytest.raises(ValueError, match=rf"'click' has \d frames?: .* {FEWEST_FRAMES} at least"):
        dds_fast.fit(tmp_path, "dds2", spectrogram=CONFIG, **SIZES)


def test_sources_are_of_files() -> None:
    with pytest.raises(ValueError, match="frames have theirs"):
        dds_fast.fit({60: np.ones((5, 64))}, "nmf", sources="name", spectrogram=CONFIG)


def test_names_that_differ_by_case() -> None:
    with pytest.raises(ValueError, match="'kick' and 'Kick' differ by case"):
        dds_fast.fit({"kick": np.ones((5, 64)), "Kick": np.ones((5, 64))}, "nmf")
