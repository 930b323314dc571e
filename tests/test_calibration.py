"""A dictionary calibrates itself on its own notes."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

import dds_fast
from dds_fast import audio, calibration, metrics
from dds_fast.calibration import CURVE, MOST_TOLD, SOUNDING, STRUCK, calibrate, instruments
from dds_fast.datasets import Labels, find_notes
from dds_fast.datasets.mixtures import Take, random_mixture
from dds_fast.notes.found import Detection
from dds_fast.temporal.learning import learn
from dds_fast.temporal.network import NoteNetwork

SR, PITCHES = 16000, (57, 60, 64, 69)
CONFIG = dds_fast.SpectrogramConfig(n_fft=1024)
QUICK = {"n_mixtures": 8, "seconds": 4.0}


def tone(pitch: int, detune: float = 0.0) -> np.ndarray:
    """A decaying note of six partials."""
    t = np.arange(SR) / SR
    hertz = 440 * 2 ** ((pitch - 69 + detune) / 12)
    partials = (np.sin(2 * np.pi * n * hertz * t) / n for n in range(1, 7))
    return (np.exp(-2.5 * t) * sum(partials)).astype(np.float32)


TAKES = {pitch: [tone(pitch), tone(pitch, 0.1)] for pitch in PITCHES}


def frames_of_takes() -> dds_fast.Dictionary:
    frames = {
        pitch: np.concatenate([audio.spectrogram(x, CONFIG).values.T[::3] for x in takes])
        for pitch, takes in TAKES.items()
    }
    return dds_fast.fit(frames, "nmf", spectrogram=CONFIG)


@pytest.fixture(scope="module")
def calibrated() -> dds_fast.Dictionary:
    dictionary = frames_of_takes()
    calibrate(dictionary, TAKES, **QUICK)
    return dictionary


def test_the_record_tells_how_well_notes_are_found(calibrated: dds_fast.Dictionary) -> None:
    record = calibrated.metadata["calibration"]["nmf"]
    assert record["n_mixtures"] == 8
    frames = record["frames"]
    assert len(frames["by_polyphony"]) == MOST_TOLD
    assert frames["f1"] > 0.8 and record["onset_f1"] > 0.6
    precision, recall = frames["precision"], frames["recall"]
    assert frames["f1"] == pytest.approx(2 * precision * recall / (precision + recall))
    assert [point["sensitivity"] for point in record["curve"]] == list(CURVE)
    recalls = [point["recall"] for point in record["curve"]]
    assert recalls[0] < recalls[-1]
    assert -1 <= record["velocity_correlation"] <= 1


def test_like_sources_are_kin() -> None:
    """The eighth power of the cosine between mean spectra, and none with itself."""
    takes = [[Take.of(x, SR) for x in TAKES[pitch]] for pitch in (57, 60, 69)]
    found = calibration._kinship(takes, CONFIG)
    spectra = [
        np.mean([audio.spectrogram(t.waveform, CONFIG).values.mean(1) for t in own], axis=0)
        for own in takes
    ]
    for i, j in np.ndindex(3, 3):
        cosine = spectra[i] @ spectra[j] / np.linalg.norm(spectra[i]) / np.linalg.norm(spectra[j])
        assert found[i, j] == pytest.approx(0 if i == j else cosine**8, abs=1e-5)


def test_a_quarter_of_the_mixtures_is_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    n_examples = []

    def learned(examples: list, *_: object) -> NoteNetwork:
        n_examples.append(len(examples))
        return NoteNetwork().requires_grad_(False)

    monkeypatch.setattr(calibration, "learn", learned)
    calibrate(frames_of_takes(), TAKES, n_mixtures=8, seconds=1.0)
    assert n_examples == [6]


def test_the_offsets_are_those_that_find_most() -> None:
    """Of every pair that is tried, counted by a network that has it; the record tells its own."""
    plain = frames_of_takes()
    takes = calibration._takes(plain, TAKES)
    heard = [calibration._heard(plain, *random_mixture(takes, 4.0, SR, seed)) for seed in range(3)]
    network = learn([calibration._example(one, CONFIG) for one in heard[1:]])
    record = calibration._set_thresholds(network, heard, plain)

    def counted(offset: tuple[float, float]) -> calibration._Counts:
        network.offset.copy_(torch.tensor(offset)[:, None])
        said = [network.evidence(one.rows, one.features, len(PITCHES)) for one in heard]
        played = [one.played for one in heard]
        return calibration._counted(
            list(zip(said, played, strict=True)), 0.0, len(PITCHES), CONFIG.frame_rate
        )

    assert network.offset[:, 0].tolist() == pytest.approx(record["offset"])
    tried = {pair: counted(pair) for pair in itertools.product(SOUNDING, STRUCK)}
    chosen = tried[tuple(record["offset"])]
    assert record["frames"]["f1"] == pytest.approx(chosen.f1)
    assert record["onset_f1"] == pytest.approx(chosen.scores[0])
    quality = {pair: counts.f1 + counts.scores[0] for pair, counts in tried.items()}
    assert max(quality.values()) == pytest.approx(quality[tuple(record["offset"])])
    assert min(quality.values()) < max(quality.values()) - 0.01


def test_notes_of_music_that_it_never_heard(calibrated: dds_fast.Dictionary) -> None:
    takes = [[Take.of(tone(pitch, -0.1), SR)] for pitch in PITCHES]
    plain = frames_of_takes()
    plain.metadata["detection"] = {"nmf": vars(Detection(upper=1.0, lower=0.3))}
    scores = []
    for dictionary in (calibrated, plain):
        onsets = []
        for seed in (100, 101, 102):
            waveform, played = random_mixture(takes, 5.0, SR, seed)
            result = dds_fast.decompose(waveform, dictionary, sr=SR)
            pitches = np.array(PITCHES)[played.sources]
            onsets.append(
                metrics.evaluate(result, Labels(played.intervals, pitches, played.velocities))
            )
        scores.append({key: np.mean([one[key] for one in onsets]) for key in onsets[0]})
    ours, thresholds = scores
    assert ours["frame_f1"] > 0.8
    # Activity goes to what sounds, and repeated notes are told apart.
    assert ours["psa"] > thresholds["psa"]
    assert ours["note_onset_f1"] > thresholds["note_onset_f1"]


def test_it_is_deterministic_and_the_seed_decides() -> None:
    records = []
    for seed in (1, 1, 2):
        dictionary = frames_of_takes()
        records.append(calibrate(dictionary, TAKES, n_mixtures=4, seconds=2, random_state=seed))
    assert records[0] == records[1]
    assert records[0]["losses"] != records[2]["losses"]


def test_it_is_stored_with_the_dictionary(calibrated: dds_fast.Dictionary, tmp_path: Path) -> None:
    calibrated.save(tmp_path / "d.safetensors")
    loaded = dds_fast.load(tmp_path / "d.safetensors")
    assert loaded.metadata["calibration"] == calibrated.metadata["calibration"]
    assert calibrated.temporal is not None and loaded.temporal is not None
    for name, tensor in calibrated.temporal.state_dict().items():
        assert torch.equal(loaded.temporal.state_dict()[name], tensor)
    first, second = (
        dds_fast.decompose(TAKES[60][0], one, sr=SR).notes() for one in (calibrated, loaded)
    )
    assert first == second != []


def test_a_result_is_stored_with_its_evidence(
    calibrated: dds_fast.Dictionary, tmp_path: Path
) -> None:
    result = dds_fast.decompose(TAKES[60][0], calibrated, sr=SR)
    result.save(tmp_path / "r.npz")
    loaded = dds_fast.Decomposition.load(tmp_path / "r.npz")
    assert loaded.evidence is not None
    assert [note.source for note in loaded.notes()] == [60] == [n.source for n in result.notes()]
    assert loaded.notes(sensitivity=-30.0) == []
    # Thresholds still find notes in the activations themselves.
    assert len(loaded.notes(upper=0.1, lower=0.1)) >= 1


def test_activity_is_that_which_is_heard(calibrated: dds_fast.Dictionary) -> None:
    result = dds_fast.decompose(TAKES[60][0], calibrated, sr=SR)
    calibrated_network, calibrated.temporal = calibrated.temporal, None
    plain = dds_fast.decompose(TAKES[60][0], calibrated, sr=SR)
    calibrated.temporal = calibrated_network
    assert result.evidence is not None and plain.evidence is None
    expected = plain.source_activations * result.evidence.probability
    np.testing.assert_allclose(result.source_activations, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(result.activations, plain.activations)


def test_long_recordings_are_heard_window_by_window(calibrated: dds_fast.Dictionary) -> None:
    calibrated.metadata["search"] = {"nmf": {"window_seconds": 2.0}}
    takes = [[Take.of(own[0], SR)] for own in TAKES.values()]
    waveform, played = random_mixture(takes, 8.0, SR, 5)
    try:
        windows = dds_fast.decompose(waveform, calibrated, sr=SR)
    finally:
        del calibrated.metadata["search"]
    whole = dds_fast.decompose(waveform, calibrated, sr=SR)
    assert len(windows.windows) > 2 and windows.evidence is not None
    assert len(whole.windows) == 1 and whole.evidence is not None
    agree = (windows.evidence.sounding > 0) == (whole.evidence.sounding > 0)
    assert agree.mean() > 0.95


def test_a_spectrogram_is_heard_too(calibrated: dds_fast.Dictionary) -> None:
    X = audio.spectrogram(TAKES[64][0], CONFIG)
    result = dds_fast.decompose(X, calibrated)
    assert {note.source for note in result.notes()} == {64}
    tensor = dds_fast.Spectrogram(torch.from_numpy(X.values).double(), CONFIG)
    again = dds_fast.decompose(tensor, calibrated)
    assert isinstance(again.source_activations, torch.Tensor)
    assert {note.source for note in again.notes()} == {64}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"takes": {57: TAKES[57]}}, "source 60 of the dictionary has no takes"),
        ({"takes": {**TAKES, 61: TAKES[60]}}, "61 is no source"),
        ({"takes": {**TAKES, 60: [np.zeros(SR)]}}, "source 60: the recording is silent"),
        ({"takes": []}, "no takes were given"),
        ({"n_mixtures": 3}, "n_mixtures must be at least 4"),
        ({"random_state": -1}, "random_state"),
        ({"seconds": 0.1}, "seconds must be at least"),
        ({"seconds": 31.0}, "seconds must be at most 30"),
    ],
)
def test_bad_input_is_named(change: dict, message: str) -> None:
    arguments = {"takes": TAKES, "n_mixtures": 4, "seconds": 2.0} | change
    with pytest.raises(ValueError, match=message):
        calibrate(frames_of_takes(), **arguments)


def test_sensitivity_needs_a_calibrated_dictionary(calibrated: dds_fast.Dictionary) -> None:
    plain = dds_fast.decompose(TAKES[60][0], frames_of_takes(), sr=SR)
    with pytest.raises(ValueError, match="this one has thresholds"):
        plain.notes(sensitivity=1.0)
    result = dds_fast.decompose(TAKES[60][0], calibrated, sr=SR)
    with pytest.raises(ValueError, match="pass thresholds or sensitivity"):
        result.notes(sensitivity=1.0, upper=0.5)


def test_folders_are_instruments_where_each_holds_all_sources(tmp_path: Path) -> None:
    import soundfile

    for folder, pitches in (("a", (60, 64)), ("b", (60, 64))):
        (tmp_path / folder).mkdir()
        for pitch in pitches:
            for take in (1, 2):
                soundfile.write(tmp_path / folder / f"{pitch}_{take}.wav", tone(pitch), SR)
    recordings = find_notes(tmp_path)
    assert [sorted(one) for one in instruments(recordings, SR)] == [[60, 64], [60, 64]]
    preferred = {recordings[0].origin}
    counts = [len(one[60]) for one in instruments(recordings, SR, preferred)]
    assert sorted(counts) == [1, 2]
    (tmp_path / "b" / "64_1.wav").unlink()
    (tmp_path / "b" / "64_2.wav").unlink()
    (together,) = instruments(find_notes(tmp_path), SR)
    assert {source: len(list(own)) for source, own in together.items()} == {60: 4, 64: 2}
