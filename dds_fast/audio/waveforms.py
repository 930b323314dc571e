"""Waveforms: reading, averaging channels, resampling, level and tuning."""

from __future__ import annotations

import logging
import math
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dds_fast import memory, scalars

if TYPE_CHECKING:
    import soundfile

logger = logging.getLogger("dds_fast")

MAX_CHANNELS = 8
SAMPLE_BYTES = 8
"""Of a recording that is read: in blocks, and joined."""

FRAMES_PER_BYTE = 64
"""Hardly any file packs more into a byte; a header that tells of more does not tell the truth."""

BLOCK = 1 << 20
"""Samples of each channel that are read from a file at a time."""

SR_RANGE = (1000, 1_000_000)
PEAK = 0.7
"""Peak of recordings that are decomposed: the middle of those of `dds_fast.datasets.random_chords`,
on which searches are set. Log compression makes the shape of a spectrogram depend on its level."""

PLAUSIBLE_PEAK = 4.0
"""Float waveforms go a little over 1; far above, they are integers that were not scaled."""

MAX_PEAK = 2.0**32
"""No integers either: above, spectra overflow."""

CANCELLED = 0.1
"""Channels cancel whose mean has less than this share of the energy that the loudest of them would
leave in it if the others were silent."""

_CUT = re.compile(
    r"^\s*(?:data|SSND|Data Size|riff|Riff size)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE
)
"""What libsndfile says, in its log alone, of WAV, AIFF, AU, W64 and RF64 files cut short."""

_UNKNOWN_SIZE = 2**31 - 2**16
"""Recorders that write to a stream put a number like this into the header."""

_HEADER = 10_000
"""Bytes; a file without samples that is longer has lost the length of its sound."""

_MP3_SLACK = 0.1
"""Seconds by which the length of an mp3 in its header may be wrong, for encoders pad."""

TUNING_SECONDS = 60.0
"""So much of a recording, its middle, tells its tuning."""

TUNING_MAX_FREQUENCY = 1500.0
"""Hz; higher partials of piano strings are sharp, as these are stiff."""


def load(path: str | Path, sr: int) -> np.ndarray:
    """Read an audio file, average its channels and resample it.

    Args:
        path: wav, flac, ogg, mp3 or whatever else libsndfile reads.
        sr: sampling rate wanted, in Hz.

    Returns:
        ``(n,)`` float32 waveform in [-1, 1].

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is not audio, has no header, is empty, or has more than 8 channels.
        MemoryError: it does not fit, with its size; before it is read where it could not fit this
            machine.

    Warns:
        UserWarning: the file is cut short, or its channels cancel and the louder one is taken.

    Example:
        >>> import tempfile
        >>> import soundfile
        >>> stereo = np.zeros((8000, 2))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     soundfile.write(f"{folder}/silence.wav", stereo, 8000)
        ...     load(f"{folder}/silence.wav", sr=16000).shape
        (16000,)
    """
    waveform, file_sr = read_file(path)
    return resample(waveform, sr=file_sr, target_sr=sr)


def read_file(path: str | Path, channel: int | None = None) -> tuple[np.ndarray, int]:
    """The waveform of `load` at the file's own sampling rate, and that rate in Hz; raises alike.

    Args:
        path: as for `load`.
        channel: to be taken, from 0; None for the mean of all.

    Example:
        >>> import tempfile
        >>> import soundfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     soundfile.write(f"{folder}/silence.wav", np.zeros(8000), 8000)
        ...     waveform, sr = read_file(f"{folder}/silence.wav")
        >>> waveform.shape, sr
        ((8000,), 8000)
    """
    path = Path(path)
    with open_file(path) as file:
        if file.channels > MAX_CHANNELS:
            raise ValueError(
                f"{path} has {file.channels} channels, at most {MAX_CHANNELS} are read"
            )
        sr = file.samplerate
        n_frames = min(file.frames, FRAMES_PER_BYTE * path.stat().st_size)
        with memory.explained(SAMPLE_BYTES * n_frames, f"the sound of {path}", "a part of it"):
            waveform = _average(file) if channel is None else _channel(file, channel)
        cut = cut_short(file)
        missing = len(waveform) * (cut[1] / cut[0] - 1) if cut else file.frames - len(waveform)
    if not len(waveform):
        size = path.stat().st_size
        lost = f", for its header tells of none, but it has {size} bytes: a broken recording?"
        raise ValueError(f"{path} holds no samples{lost if size > _HEADER else ''}")
    if cut or missing > _MP3_SLACK * sr:
        warnings.warn(f"{path} is cut short: {missing / sr:.2f} s are missing", stacklevel=2)
    try:
        return to_mono(waveform, sr=sr, target_sr=sr), sr
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


@contextmanager
def open_file(path: str | Path) -> Iterator[soundfile.SoundFile]:
    """An audio file to read from, whatever bytes its name has.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file, or what is read from it, is not audio, or it has no header.

    Example:
        >>> import tempfile
        >>> import soundfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     soundfile.write(f"{folder}/silence.wav", np.zeros(8000), 8000)
        ...     with open_file(f"{folder}/silence.wav") as file:
        ...         file.frames
        8000
    """
    import soundfile

    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no such audio file: {path}")
    if path.is_dir():
        raise ValueError(f"{path} is a folder, not an audio file")
    headerless = ValueError(
        f"{path} has no header that tells its sampling rate, channels and kind of samples: convert "
        "it to WAV"
    )
    if path.suffix.lower() == ".raw":
        raise headerless
    try:
        # soundfile encodes names itself, but not those that are no UTF-8.
        with soundfile.SoundFile(os.fsencode(path) if os.name == "posix" else path) as file:
            if file.format == "RAW":  # .au, .gsm, .vox: guessed from the suffix
                raise headerless
            yield file
    except soundfile.LibsndfileError as error:
        raise ValueError(f"{path} is not a readable audio file: {error}") from error


def cut_short(file: soundfile.SoundFile) -> tuple[int, int] | None:
    """Bytes of sound that a file holds, and that its header promises, if these are more.

    libsndfile reads such a file up to its end without a word. Only uncompressed formats are known:
    of the others, an mp3 ends early and the rest cannot be read.

    Example:
        >>> import tempfile
        >>> import soundfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     soundfile.write(f"{folder}/a.wav", np.zeros(8000), 8000)
        ...     _ = Path(folder, "b.wav").write_bytes(Path(folder, "a.wav").read_bytes()[:8044])
        ...     with open_file(f"{folder}/b.wav") as file:
        ...         cut_short(file)
        (8000, 16000)
    """
    if match := _CUT.search(file.extra_info):
        promised, there = int(match[1]), int(match[2])
        if 0 < there < promised < _UNKNOWN_SIZE:
            return there, promised
    return None


def _average(file: soundfile.SoundFile) -> np.ndarray:
    """``(n,)`` mean of the channels."""
    # The channels of an hour at once would take more memory than its decomposition.
    means, energies, of_mean = [], np.zeros(file.channels), 0.0
    for block in _blocks(file):
        means.append(block.mean(axis=1))
        energies += [np.dot(channel, channel) for channel in block.T]
        of_mean += float(np.dot(means[-1], means[-1]))
    channel = _louder_if_cancelled(energies, of_mean, file.name)
    if channel is not None:
        file.seek(0)
        return _channel(file, channel)
    return np.concatenate(means) if means else np.empty(0, np.float32)


def _channel(file: soundfile.SoundFile, channel: int) -> np.ndarray:
    """``(n,)``: one of them."""
    blocks = [block[:, channel].copy() for block in _blocks(file)]
    return np.concatenate(blocks) if blocks else np.empty(0, np.float32)


def _blocks(file: soundfile.SoundFile) -> Iterator[np.ndarray]:
    """``(n, channels)`` float32; `SoundFile.blocks` repeats sound where an mp3 ends early."""
    while len(block := file.read(BLOCK, dtype="float32", always_2d=True)):
        yield block


def _louder_if_cancelled(energies: np.ndarray, of_mean: float, name: str | bytes) -> int | None:
    """The channel to take for the mean, by the energies ``(channels,)`` and that of the mean."""
    louder = int(np.argmax(energies))
    if not of_mean < CANCELLED * energies[louder] / len(energies) ** 2:
        return None
    warnings.warn(
        f"{os.fsdecode(name)}: its channels cancel, as if one were inverted; channel {louder + 1}, "
        "the louder one, is taken for their mean",
        stacklevel=4,
    )
    return louder


def to_mono(waveform: np.ndarray, *, sr: float, target_sr: float) -> np.ndarray:
    """Check a waveform, average its channels and resample it.

    Args:
        waveform: float array ``(n,)`` or ``(channels, n)``, at most 8 channels.
        sr: its sampling rate in Hz.
        target_sr: the rate wanted, in Hz.

    Returns:
        ``(n',)`` waveform of the same floating dtype (float16 becomes float32).

    Raises:
        ValueError: integer samples, NaN or infinity, a peak above 2^32, no samples, an ambiguous
            shape, or a sampling rate outside 1 kHz to 1 MHz.

    Warns:
        UserWarning: the channels cancel; the louder one is taken.

    Example:
        >>> stereo = np.array([[0.5, 0.5, 0.0], [0.1, -0.5, 0.0]])
        >>> to_mono(stereo, sr=16000, target_sr=16000)
        array([0.3, 0. , 0. ])
        >>> to_mono(np.array([100, -100]), sr=16000, target_sr=16000)
        Traceback (most recent call last):
        ValueError: the waveform holds int64 samples; scale integer PCM to floats ...
    """
    from dds_fast.arrays import check_entries

    if np.iscomplexobj(waveform):
        raise ValueError(f"the waveform holds {waveform.dtype} samples; a waveform is real")
    if not np.issubdtype(waveform.dtype, np.floating):
        raise ValueError(
            f"the waveform holds {waveform.dtype} samples; scale integer PCM to floats in [-1, 1] "
            "first (16 bit: waveform / 32768)"
        )
    if waveform.ndim not in (1, 2):
        raise ValueError(f"the waveform must be (n,) or (channels, n), not {waveform.shape}")
    if waveform.size == 0:
        raise ValueError(f"the waveform is empty: shape {waveform.shape}")
    checked_sr("the sampling rate sr", sr)
    check_entries("the waveform", waveform, axis="sample", negative=True)
    if (peak := max(float(waveform.max()), -float(waveform.min()))) > MAX_PEAK:
        raise ValueError(f"the waveform's peak is {peak:.3g}, not about 1: these are no samples")
    if waveform.ndim == 2:
        if waveform.shape[0] > MAX_CHANNELS:
            raise ValueError(
                f"a 2-D array of shape {waveform.shape} is ambiguous: a waveform is (channels, n) "
                f"with at most {MAX_CHANNELS} channels (transpose it?); wrap a spectrogram in "
                "dds_fast.Spectrogram(values, config)"
            )
        if waveform.shape[0] > 1:
            logger.info("averaging %d channels to mono", waveform.shape[0])
        mean = waveform.mean(axis=0)
        energies, of_mean = (np.einsum("...n,...n", x, x, dtype=float) for x in (waveform, mean))
        channel = _louder_if_cancelled(energies, float(of_mean), "the waveform")
        waveform = mean if channel is None else waveform[channel]
    if waveform.dtype == np.float16:
        waveform = waveform.astype(np.float32)
    return resample(waveform, sr=sr, target_sr=target_sr)


def checked_sr(name: str, sr: float) -> float:
    """A sampling rate in Hz.

    Raises:
        ValueError: it is no number, or outside 1 kHz to 1 MHz.

    Example:
        >>> checked_sr("target_sr", 44100)
        44100.0
    """
    rate = scalars.real(name, sr)
    if not SR_RANGE[0] <= rate <= SR_RANGE[1]:
        raise ValueError(f"the sampling rate must lie in {SR_RANGE} Hz, not {sr!r}")
    return rate


def resample(waveform: np.ndarray, *, sr: float, target_sr: float) -> np.ndarray:
    """A mono waveform ``(n,)`` brought from one sampling rate to another, both in Hz.

    Example:
        >>> resample(np.zeros(44100), sr=44100, target_sr=16000).shape
        (16000,)
    """
    if sr == target_sr:
        return waveform
    import soxr

    logger.info("resampling from %g Hz to %g Hz", sr, target_sr)
    resampled = soxr.resample(waveform, sr, target_sr, quality="HQ")
    n_samples = math.ceil(len(waveform) * target_sr / sr)
    return np.pad(resampled, (0, max(0, n_samples - len(resampled))))[:n_samples]


def normalising_gain(waveform: np.ndarray) -> float:
    """The factor that brings a waveform to the level at which recordings are decomposed.

    Its peak is then at `PEAK`; silence stays as it is.

    Args:
        waveform: ``(n,)`` floats.

    Warns:
        UserWarning: the peak is implausibly high.

    Example:
        >>> round(normalising_gain(np.array([0.0, 0.007, -0.0035])), 6)
        100.0
    """
    peak = max(float(waveform.max()), -float(waveform.min()))
    if peak < np.finfo(waveform.dtype).tiny:
        return 1.0
    if peak > PLAUSIBLE_PEAK:
        warnings.warn(
            f"the waveform's peak is {peak:.4g}, not about 1: are these integer samples that were "
            "not scaled, or are they clipped?",
            stacklevel=2,
        )
    return PEAK / peak


def frequency_ratio(cents: float) -> float:
    """The ratio of two frequencies that are so many cents apart.

    Example:
        >>> round(440 * frequency_ratio(-101.27), 1)
        415.0
    """
    return 2 ** (cents / 1200)


def estimate_tuning(waveform: np.ndarray, sr: float) -> float:
    """By how many cents a recording's notes lie above those of A = 440 Hz.

    Notes do not tell their names: the result is the deviation from the nearest semitones.

    Args:
        waveform: ``(n,)`` floats.
        sr: its sampling rate in Hz.

    Returns:
        Cents in [-50, 50), to one cent; 0 where nothing sounds.

    Example:
        >>> seconds = np.arange(16000) / 16000
        >>> estimate_tuning(np.sin(2 * np.pi * 444 * seconds), 16000)  # 1200 log2(444 / 440) = 15.7
        16.0
    """
    import librosa

    start = max(0, (len(waveform) - int(TUNING_SECONDS * sr)) // 2)
    middle = waveform[start : len(waveform) - start]
    if not middle.any():
        return 0.0
    # About a quarter of a second: the partials of low notes are apart.
    n_fft = min(2 ** round(math.log2(sr / 4)), len(middle))
    bins = librosa.estimate_tuning(y=middle, sr=sr, n_fft=n_fft, fmax=TUNING_MAX_FREQUENCY)
    return float(round(100 * bins))
