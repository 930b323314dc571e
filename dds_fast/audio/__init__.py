"""Sound: waveforms and spectrograms, recordings of any kind, masks, scores brought into time.

It knows arrays and notes, never a dictionary, a search or a kernel.
"""

import os

from dds_fast import caches
from dds_fast.audio.spectra import (
    Spectrogram,
    SpectrogramConfig,
    compress,
    expand,
    inverse,
    istft,
    n_frames,
    spectrogram,
    stft,
)
from dds_fast.audio.waveforms import (
    estimate_tuning,
    frequency_ratio,
    load,
    normalising_gain,
    open_file,
    read_file,
    resample,
    to_mono,
)

# Before librosa is loaded, whose functions Numba compiles.
caches.ensure("NUMBA_CACHE_DIR", os.environ.get("XDG_CACHE_HOME", "~/.cache") + "/numba", "librosa")

__all__ = [
    "Spectrogram",
    "SpectrogramConfig",
    "compress",
    "estimate_tuning",
    "expand",
    "frequency_ratio",
    "inverse",
    "istft",
    "load",
    "n_frames",
    "normalising_gain",
    "open_file",
    "read_file",
    "resample",
    "spectrogram",
    "stft",
    "to_mono",
]
