"""basic-pitch 0.4.0 (Bittner et al., ICASSP 2022) by its own code, on the ONNX file in its wheel.

    pip install '.[peers]' && pip install --no-deps basic-pitch==0.4.0

Its requirements name a TensorFlow that runs on no recent NumPy; onnxruntime takes its place. What
its `predict` does is done here without the file, the pitch bends and the MIDI: windows of 43844
samples that overlap by 30 frames, one at a time, and notes by its default thresholds.
"""

from __future__ import annotations

import importlib.metadata

import numpy as np
from basic_pitch import FilenameSuffix, build_icassp_2022_model_path, note_creation
from basic_pitch.constants import AUDIO_N_SAMPLES, AUDIO_SAMPLE_RATE, FFT_HOP
from basic_pitch.inference import Model, unwrap_output, window_audio_file

from dds_fast.datasets import Labels

VERSIONS = {
    name: importlib.metadata.version(name) for name in ("basic-pitch", "onnxruntime", "resampy")
}
SR = AUDIO_SAMPLE_RATE
LOWEST = note_creation.MIDI_OFFSET
N_OVERLAPPING = 30
OVERLAP = N_OVERLAPPING * FFT_HOP

ONSET_THRESHOLD, FRAME_THRESHOLD = 0.5, 0.3
LEAST_SECONDS = 0.1277
LEAST_FRAMES = round(LEAST_SECONDS * SR / FFT_HOP)
"""The defaults of its `predict`."""

Output = dict[str, np.ndarray]


class BasicPitch:
    """The model in memory."""

    def __init__(self) -> None:
        self.model = Model(build_icassp_2022_model_path(FilenameSuffix.onnx))

    def posteriorgrams(self, waveform: np.ndarray) -> Output:
        """ "note" and "onset" ``(T, 88)`` and "contour" ``(T, 264)`` of a waveform at `SR`."""
        padded = np.concatenate([np.zeros(OVERLAP // 2, np.float32), waveform])
        windows = window_audio_file(padded, AUDIO_N_SAMPLES - OVERLAP)
        outputs = [self.model.predict(window[None]) for window, _ in windows]
        return {
            name: unwrap_output(
                np.concatenate([output[name] for output in outputs]), len(waveform), N_OVERLAPPING
            )
            for name in outputs[0]
        }

    def notes(self, waveform: np.ndarray) -> Labels:
        """The notes that it finds, by its defaults."""
        return notes_of(self.posteriorgrams(waveform))


def notes_of(output: Output) -> Labels:
    """Its own note creation with its default thresholds; `output` is left as it is."""
    events = note_creation.output_to_notes_polyphonic(
        output["note"].copy(),
        output["onset"].copy(),
        onset_thresh=ONSET_THRESHOLD,
        frame_thresh=FRAME_THRESHOLD,
        min_note_len=LEAST_FRAMES,
        infer_onsets=True,
        max_freq=None,
        min_freq=None,
    )
    seconds = times(len(output["note"]))
    return Labels(
        np.array([(seconds[start], seconds[end]) for start, end, *_ in events]).reshape(-1, 2),
        np.array([pitch for _, _, pitch, _ in events], dtype=int),
        np.array([127 * amplitude for *_, amplitude in events], dtype=float),
    )


def times(n_frames: int) -> np.ndarray:
    """Seconds of its frames, as its note creation reckons them."""
    return note_creation.model_frames_to_time(n_frames)
