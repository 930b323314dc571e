"""Sound: waveforms and spectrograms, recordings of any kind, masks. Arrays, never kernels."""

from dds_fast.audio.spectra import (
    Spectrogram,
    SpectrogramConfig,
    check_invertible,
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
    "check_invertible",
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
