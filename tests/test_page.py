"""The page to listen to stems: what it holds, and what a browser makes of it."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from browser import CHROMIUM, Browser
from tiny import dictionary, tone

import dds_fast
from dds_fast.notes.found import Note
from dds_fast.notes.score import Labels
from dds_fast.page import Sound, is_page, page
from dds_fast.separation import Separation

SR = 44100
NAMES = ("left", "</script><b>right", "ü & ♯")
FREQUENCIES = (220.0, 660.0, 1760.0)
LEVELS = (0.4, 0.2, 0.1)
NOTES = [
    ("left", Note(0.1, 1.0, 57, 100)),
    ("ü & ♯", Note(0.5, 2.0, 93, 60)),
    ("</script><b>right", Note(1.5, 2.5, 76, 127)),
]
SCORE = Labels(np.array([[0.1, 1.1], [1.4, 2.5]]), np.array([57, 76]), np.full(2, 64.0))


def tones(seconds: float = 3.0) -> np.ndarray:
    """``(3, 2, n)``: three tones in stereo."""
    t = np.arange(round(seconds * SR)) / SR
    waves = [a * np.sin(2 * np.pi * f * t) for a, f in zip(LEVELS, FREQUENCIES, strict=True)]
    return np.stack([np.stack([wave, 0.5 * wave]) for wave in waves])


def made(stems: np.ndarray | None = None, names: tuple[Any, ...] = NAMES) -> Separation:
    stems = tones() if stems is None else stems
    return Separation(names, stems, SR, notes=lambda: list(NOTES), score=SCORE)


def data_of(text: str) -> dict[str, Any]:
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    return json.loads(found)


def test_names_and_titles_cannot_leave_their_place(tmp_path: Path) -> None:
    made().to_html(tmp_path / "p.html", title="<i>a</i> & b")
    text = (tmp_path / "p.html").read_text("utf-8")
    assert text.count("</script>") == 2 and "<b>" not in text and "<i>" not in text
    assert [stem["name"] for stem in data_of(text)["stems"]] == list(NAMES)
    assert "http" not in re.sub(r"http-equiv", "", text.split('id="data"')[0])
    assert is_page(tmp_path / "p.html")


def test_stems_are_what_they_were() -> None:
    stems = 2.5 * tones(0.5)
    data = data_of(page("loud", NAMES, stems, SR))
    assert data["gain"] == pytest.approx(np.abs(stems).max()) and data["seconds"] == 0.5
    for stem, wave in zip(data["stems"], stems, strict=True):
        samples, sr = soundfile.read(io.BytesIO(base64.b64decode(stem["audio"])))
        assert sr == SR
        np.testing.assert_allclose(data["gain"] * samples.T, wave, atol=1e-4)


@pytest.mark.slow
def test_ten_stems_of_half_a_minute_take_less_than_15_mb() -> None:
    rng = np.random.default_rng(0)
    fading = np.exp(-(np.arange(30 * SR) % 22050) / 4000)
    stems = (rng.normal(0, 0.1, (10, 2, 30 * SR)) * fading).astype(np.float32)
    text = page("long", range(10), stems, SR)
    assert len(text) < 15_000_000
    first = io.BytesIO(base64.b64decode(data_of(text)["stems"][0]["audio"]))
    assert soundfile.info(first).frames == 30 * SR


def test_lanes_of_pitches_and_of_names() -> None:
    text = page("a", ("x",), np.zeros((1, 8000)), 8000, notes=[("x", Note(0, 1, 60, 9))])
    data = data_of(text)
    assert [lane["name"] for lane in data["lanes"]] == ["B3", "C4", "C♯4"]
    assert data["notes"] == [[0, 1, 1, 0, 9]]
    notes = [("x", Note(0, 1, name, 9)) for name in ("snare", "kick")]
    data = data_of(page("a", ("x",), np.zeros((1, 8000)), 8000, notes=notes))
    assert [lane["name"] for lane in data["lanes"]] == ["snare", "kick"]


def test_results_write_their_pages(tmp_path: Path) -> None:
    result = dds_fast.decompose(tone(16000), dictionary("nmf"), sr=16000, max_steps=2)
    result.to_html(tmp_path / "p.html", {"low": [60], "high": [64, 67]})
    assert [s["name"] for s in data_of((tmp_path / "p.html").read_text())["stems"]] == [
        "low",
        "high",
    ]
    with pytest.raises(FileExistsError):
        result.to_html(tmp_path / "p.html")
    shown = made()._repr_html_()
    assert shown.startswith("<iframe") and "<script" not in shown
    frames = Separation(("a",), np.zeros((1, 3)))
    assert frames._repr_html_() == "<pre>&lt;Separation: a; (1, 3)&gt;</pre>"
    with pytest.raises(ValueError, match="no sound"):
        frames.to_html(tmp_path / "q.html")


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("there is no chromium")
    made().to_html(tmp_path / "p.html", title="Three tones")
    opened = Browser(tmp_path / "profile", (tmp_path / "p.html").as_uri())
    yield opened
    opened.close()


def heard(browser: Browser) -> float:
    """The level that is heard, once gains have settled."""
    browser.wait("playing && now() > 0.2")
    return browser.says("new Promise((done) => setTimeout(() => done(level()), 400))")


@pytest.mark.slow
class TestInABrowser:
    def test_it_loads_without_complaint_and_without_a_network(self, browser: Browser) -> None:
        browser.wait("!document.getElementById('play').disabled")
        assert browser.says("document.getElementById('status').textContent") == ""
        assert browser.says("document.title") == "Three tones"
        names = "[...document.querySelectorAll('#stems .name')].map((name) => name.textContent)"
        assert browser.says(names) == list(NAMES)
        lengths = "stems.map((stem) => stem.buffer.duration)"
        assert browser.says(lengths) == pytest.approx([3.0] * 3, abs=0.01)
        assert all(url.startswith(("file:", "data:")) for url in browser.requests)
        assert browser.complaints == []

    def test_it_plays_and_solo_and_mute_change_what_is_heard(self, browser: Browser) -> None:
        browser.wait("!document.getElementById('play').disabled")
        browser.press(" ", "Space")
        # The mean of two channels of which the second one has half the level.
        tones = [0.75 * level / 2**0.5 for level in LEVELS]
        everything = heard(browser)
        assert everything == pytest.approx(sum(x * x for x in tones) ** 0.5, rel=0.1)
        browser.press("3", "Digit3")
        assert heard(browser) == pytest.approx(tones[2], rel=0.1)
        browser.press("3", "Digit3")
        browser.press("!", "Digit1", shift=True)
        browser.says("moveTo(0)")
        assert heard(browser) == pytest.approx((tones[1] ** 2 + tones[2] ** 2) ** 0.5, rel=0.1)
        pressed = "stems[0].buttons.muted.getAttribute('aria-pressed')"
        assert browser.says(pressed) == "true"
        browser.press(" ", "Space")
        assert browser.says("playing") is False
        assert browser.complaints == []

    def test_the_stems_are_in_step(self, browser: Browser) -> None:
        browser.wait("!document.getElementById('play').disabled")
        # The sum of what is decoded, rendered as it is played, is that of the waveforms.
        offline = """(async () => {
          const offline = new OfflineAudioContext(2, 44100, 44100);
          for (const stem of stems) {
            const source = new AudioBufferSourceNode(offline, { buffer: stem.buffer });
            source.connect(offline.destination);
            source.start(0, 0.5);
          }
          const rendered = await offline.startRendering();
          return [...rendered.getChannelData(0).slice(0, 4410)];
        })()"""
        rendered = np.array(browser.says(offline))
        expected = tones().sum(0)[0, 22050 : 22050 + 4410]
        np.testing.assert_allclose(rendered, expected, atol=2e-3)

    def test_cursor_zoom_and_keys(self, browser: Browser) -> None:
        browser.wait("!document.getElementById('play').disabled")
        all_of_it = browser.says("pixels")
        browser.press("ArrowRight", "ArrowRight")
        browser.press("+", "Equal")
        assert browser.says("now()") == 1 and browser.says("pixels") > all_of_it
        assert browser.says("seek.getAttribute('aria-valuetext')") == "1.0 of 3.0 seconds"
        browser.press("End", "End")
        assert browser.says("now()") == 3 and browser.says("view.scrollLeft") > 0
        browser.press("0", "Digit0")
        assert browser.says("pixels") == pytest.approx(all_of_it, rel=0.05)
        pixel = "[...roll.getContext('2d').getImageData({}, 1, 1, 1).data].slice(0, 3)"
        notes = browser.says(
            "(() => { moveTo(0); return new Set([...roll.getContext('2d')"
            ".getImageData(0, 0, roll.width, roll.height).data]).size; })()"
        )
        assert notes > 10
        light = browser.says(pixel.format(60))
        browser.dark()
        browser.wait("matchMedia('(prefers-color-scheme: dark)').matches")
        browser.says("draw()")
        assert light == [255, 255, 255] and max(browser.says(pixel.format(60))) < 60

    def test_on_a_phone_nothing_is_cut_off(self, browser: Browser) -> None:
        browser.resize(360, 740, phone=True)
        browser.wait("innerWidth === 360")
        assert browser.says("document.documentElement.scrollWidth") <= 360
        browser.wait("roll.getBoundingClientRect().width <= 360")


@pytest.mark.parametrize(("seconds", "kind"), [(0.1, "FLAC"), (120.0, "OGG")])
def test_a_sound_is_played_as_it_is(seconds: float, kind: str) -> None:
    wave = np.random.default_rng(0).uniform(-2, 2, round(seconds * SR))
    wave[0] = 2.0
    shown = Sound(wave, SR, "<b>loud</b>")._repr_html_()
    (data,) = re.findall(r'src="data:audio/\w+;base64,([^"]*)"', shown)
    with soundfile.SoundFile(io.BytesIO(base64.b64decode(data))) as file:
        assert (file.format, file.samplerate, file.frames) == (kind, SR, len(wave))
        if kind == "FLAC":
            assert np.allclose(file.read(), wave / 2, atol=2**-15)
    assert f"audio/{kind.lower()}" in shown and "<b>" not in shown


def test_a_sound_is_a_waveform() -> None:
    with pytest.raises(ValueError, match=r"\(n,\) or \(channels, n\)"):
        Sound(np.zeros((2, 2, 2)), SR)
    with pytest.raises(ValueError, match="sampling rate"):
        Sound(np.zeros(10), 10)
