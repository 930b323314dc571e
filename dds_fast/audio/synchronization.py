"""A score brought into time with a recording by synctoolbox, whose onsets are finer than ours."""

from __future__ import annotations

from typing import Any

import numpy as np

from dds_fast.audio.waveforms import resample

SR = 22050
"""What synctoolbox's filters are made for."""

FEATURE_RATE = 50
STEP_WEIGHTS = (1.5, 1.5, 2.0)
"""As in its own examples; so is the size from which it works at several resolutions."""

THRESHOLD = 10**6


def warped(intervals: np.ndarray, pitches: np.ndarray, waveform: np.ndarray, sr: float) -> Any:
    """``(n, 2)`` intervals of a score, moved to where a recording plays them.

    Args:
        intervals: onsets and offsets in seconds, in any tempo.
        pitches: ``(n,)`` MIDI numbers.
        waveform: ``(n_samples,)`` floats.
        sr: its sampling rate in Hz.

    Raises:
        ImportError: synctoolbox is not installed.

    Source: Müller, Özer, Krause, Prätzlich and Driedger, Sync Toolbox: A Python package for
    efficient, robust, and accurate music synchronization, JOSS 2021.
    """
    try:
        import pandas
        from synctoolbox.dtw.mrmsdtw import sync_via_mrmsdtw
        from synctoolbox.dtw.utils import make_path_strictly_monotonic
        from synctoolbox.feature import csv_tools, pitch, pitch_onset
    except ImportError as error:
        raise ImportError(
            "align='synctoolbox' (--align synctoolbox) needs synctoolbox: pip install "
            "'dds-fast[sync]'"
        ) from error
    sound = resample(waveform.astype(np.float64), sr=sr, target_sr=SR)
    heard = _features(
        pitch.audio_to_pitch_features(sound, Fs=SR, feature_rate=FEATURE_RATE),
        pitch_onset.audio_to_pitch_onset_features(sound, Fs=SR),
    )
    table = pandas.DataFrame(
        {
            "start": intervals[:, 0],
            "duration": intervals[:, 1] - intervals[:, 0],
            "pitch": pitches,
            "velocity": 1.0,
            "instrument": "piano",
        }
    )
    written = _features(
        csv_tools.df_to_pitch_features(table, feature_rate=FEATURE_RATE),
        csv_tools.df_to_pitch_onset_features(table),
    )
    path = sync_via_mrmsdtw(
        f_chroma1=written[0],
        f_onset1=written[1],
        f_chroma2=heard[0],
        f_onset2=heard[1],
        input_feature_rate=FEATURE_RATE,
        step_weights=np.array(STEP_WEIGHTS),
        threshold_rec=THRESHOLD,
    )
    of_score, of_recording = make_path_strictly_monotonic(path) / FEATURE_RATE
    return np.interp(intervals, of_score, of_recording)


def _features(pitches: np.ndarray, onsets: Any) -> tuple[np.ndarray, np.ndarray]:
    """Quantised pitch classes, and their decaying onsets."""
    from synctoolbox.feature.chroma import pitch_to_chroma, quantize_chroma
    from synctoolbox.feature.dlnco import pitch_onset_features_to_DLNCO

    chroma = quantize_chroma(pitch_to_chroma(pitches))
    return chroma, pitch_onset_features_to_DLNCO(
        f_peaks=onsets, feature_rate=FEATURE_RATE, feature_sequence_length=chroma.shape[1]
    )
