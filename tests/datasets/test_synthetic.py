"""Made instruments, and the folders written of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from tiny import CONFIG

import dds_fast
from dds_fast.datasets import find_notes, load_notes
from dds_fast.datasets.synthetic import instruments, write_instruments


def test_instruments_differ_and_seeds_decide() -> None:
    a, b = (i.tone(60, 80, 0.2, 16000) for i in instruments(2))
    again = instruments(2)[0].tone(60, 80, 0.2, 16000)
    other = instruments(2, random_state=1)[0].tone(60, 80, 0.2, 16000)
    np.testing.assert_array_equal(a, again)
    for wave in (b, other):
        assert np.abs(wave / np.abs(wave).max() - a / np.abs(a).max()).max() > 0.05


@pytest.mark.parametrize("sr", [16000, 44100])
def test_tones_decay_stay_in_range_and_do_not_alias(sr: int) -> None:
    for instrument in instruments(4):
        for pitch in (21, 60, 108):
            wave = instrument.tone(pitch, 127, 1.0, sr)
            assert np.abs(wave).max() <= 1
            assert wave[0] == wave[-1] == 0
            first, last = np.array_split(wave, 4)[::3]
            assert np.square(last).sum() < 0.7 * np.square(first).sum()
            f0 = 440 * 2 ** ((pitch - 69) / 12)
            spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
            below = spectrum[: int(0.9 * f0)]
            assert below.max() < 0.05 * spectrum.max()


def test_louder_notes_are_louder_and_brighter() -> None:
    soft, loud = (instruments(1)[0].tone(60, v, 0.5, 16000) for v in (40, 110))
    assert np.abs(loud).max() > 3 * np.abs(soft).max()
    centroid = [
        np.average(np.arange(4001), weights=np.square(np.abs(np.fft.rfft(x)))) for x in (soft, loud)
    ]
    assert centroid[1] > centroid[0]


def test_tree(tmp_path: Path) -> None:
    folders = write_instruments(tmp_path, n_instruments=2, pitches=(60, 64, 67), seconds=0.2)
    assert [f.name for f in folders] == ["synthetic-0", "synthetic-1"]
    found = find_notes(tmp_path)
    assert len(found) == 12
    assert len({r.origin for r in found}) == 12
    assert soundfile.info(found[0].path).samplerate == 16000
    with pytest.raises(FileExistsError, match="index.csv"):
        write_instruments(tmp_path, pitches=(60,))
    write_instruments(tmp_path, pitches=(60,), seconds=0.1, overwrite=True)


def test_a_dictionary_can_be_learned_from_it(tmp_path: Path) -> None:
    write_instruments(tmp_path, pitches=(60, 64), seconds=0.2)
    notes = load_notes(tmp_path, CONFIG)
    training, validation = notes.split(0.25)
    assert len(validation.frames) > 0
    dictionary = dds_fast.fit(notes, max_epochs=2, n_steps=2, width=4, spectrogram=CONFIG)
    assert dictionary.sources == (60, 64)
