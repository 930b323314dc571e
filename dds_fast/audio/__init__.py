"""Sound: waveforms and spectrograms, recordings of any kind, masks, scores brought into time.

It knows arrays and notes, never a dictionary, a search or a kernel.
"""

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
    read_file,
    resample,
    to_mono,
)

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
    "read_file",
    "resample",
    "spectrogram",
    "stft",
    "to_mono",
]
