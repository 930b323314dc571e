"""Files of stems: in the recording's kind of samples, and so that they sum to it."""

from __future__ import annotations

import unicodedata
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dds_fast.files import allow_open, writing

if TYPE_CHECKING:
    import soundfile

    from dds_fast.audio.samples import Samples

MARK = "dds-fast separate"
"""By which stems are known, in their files."""

LONGEST = 200
"""Bytes of a stem's name."""

BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32}
FLOATS = ("FLOAT", "DOUBLE")
SUFFIXES = {"WAV": ".wav", "RF64": ".wav", "FLAC": ".flac"}
LARGEST_WAV = 2**32 - 2**16
"""Bytes; RF64, a WAV file with long sizes, holds more."""


@dataclass(frozen=True)
class Kind:
    """A kind of file and of samples, in libsndfile's words.

    Example:
        >>> Kind.of(None), Kind.of(None, "PCM_24").bits
        (Kind(format='WAV', subtype='FLOAT'), 24)
    """

    format: str = "WAV"
    subtype: str = "FLOAT"

    @classmethod
    def of(cls, samples: Samples | None, subtype: str | None = None) -> Kind:
        """That of a recording where it keeps all samples, else WAV files of floats.

        Raises:
            ValueError: no such kind of samples.
        """
        if subtype is not None and subtype not in (*BITS, *FLOATS):
            raise ValueError(f"samples are {', '.join((*BITS, *FLOATS))}, not {subtype!r}")
        own = samples.subtype if samples is not None else None
        subtype = subtype or (own if own in (*BITS, *FLOATS) else "FLOAT")
        flac = samples is not None and samples.format == "FLAC"
        if flac and subtype in ("PCM_S8", "PCM_16", "PCM_24"):
            return cls("FLAC", subtype)
        kind = cls("WAV", "PCM_U8" if subtype == "PCM_S8" else subtype)
        n_values = 0 if samples is None else samples.n_channels * samples.n_samples
        size = n_values * (kind.bits or {"FLOAT": 32, "DOUBLE": 64}[subtype]) / 8
        return kind if size < LARGEST_WAV else cls("RF64", kind.subtype)

    @property
    def bits(self) -> int | None:
        """Of a sample, None for floats."""
        return BITS.get(self.subtype)


def write(
    paths: Sequence[Path],
    blocks: Iterable[tuple[np.ndarray, np.ndarray]],
    *,
    sr: float | None,
    kind: Kind,
    overwrite: bool = False,
) -> list[Path]:
    """Write stems block by block; see `dds_fast.separation.Separation.save`.

    Args:
        paths: of the S files, from `paths_of`.
        blocks: stems ``(S, channels, n)``, and the recording ``(channels, n)``, one after the
            other.
        sr: sampling rate in Hz.
        kind: of the files.
        overwrite: replace existing files.

    Returns:
        Their paths.

    Raises:
        FileExistsError: a file exists and `overwrite` is false.

    Warns:
        UserWarning: stems were held at full scale.
    """
    allow_open(3 * len(paths))
    loudest = np.zeros(len(paths))
    files: list[soundfile.SoundFile] = []
    with ExitStack() as stack:
        temporaries = [stack.enter_context(writing(path, overwrite)) for path in paths]
        for block, recording in blocks:
            if not files:
                files = [
                    stack.enter_context(_new(temporary, sr, len(recording), kind))
                    for temporary in temporaries
                ]
            if kind.bits:
                loudest = np.maximum(loudest, np.abs(block).max(axis=(1, 2), initial=0))
                parts = integers(block, recording, kind.bits)
            else:
                parts = iter(block)
            for file, part in zip(files, parts, strict=True):
                file.write(part.T)
    for path, peak in zip(paths, loudest.tolist(), strict=True):
        if peak > 1:
            warnings.warn(
                f"{path} peaks {20 * np.log10(peak):.1f} dB above full scale and is held "
                f"there; what is above was taken from what opposes it in the others, so that all "
                "still sum to the recording (--subtype FLOAT keeps everything)",
                stacklevel=3,
            )
    return list(paths)


def _new(path: Path, sr: float | None, n_channels: int, kind: Kind) -> soundfile.SoundFile:
    import soundfile

    assert sr is not None  # there are blocks
    file = soundfile.SoundFile(path, "w", round(sr), n_channels, kind.subtype, format=kind.format)
    file.software = MARK
    return file


def integers(block: np.ndarray, recording: np.ndarray, bits: int) -> Iterator[np.ndarray]:
    """Stems as 32-bit integers, of which the highest bits are used; they sum to the recording.

    What each is rounded by goes to the next one; the last one takes what is left of the recording.

    Args:
        block: ``(S, channels, n)`` floats.
        recording: ``(channels, n)`` floats.
        bits: that are used.

    Example:
        >>> stems = integers(np.array([[[0.3]], [[0.3]]]), np.array([[0.625]]), bits=4)
        >>> [int(stem[0, 0]) >> 28 for stem in stems]  # 0.3 * 8 = 2.4, and 0.625 * 8 = 5
        [2, 3]
    """
    full = 2.0 ** (bits - 1)
    # A step within the bounds, for rounding may add up to one.
    scaled = _within(block.astype(np.float64) * full, 1 - full, full - 2)
    total = np.cumsum(scaled, axis=0)
    total[-1] = recording.astype(np.float64) * full
    whole = np.rint(total)
    for part in np.diff(whole, axis=0, prepend=0):
        yield (np.clip(part, -full, full - 1) * 2.0 ** (32 - bits)).astype(np.int32)


def _within(stems: np.ndarray, least: float, most: float) -> np.ndarray:
    """Stems held within bounds; the excess is cancelled against what opposes it in the others.

    Example:
        >>> _within(np.array([1.25, -0.5, -0.25]), -1, 1)
        array([ 1.        , -0.33333333, -0.16666667])
    """
    for bound, beyond, opposing in (
        (most, np.greater, np.minimum),
        (least, np.less, np.maximum),
    ):
        if not (outside := beyond(stems, bound)).any():
            continue
        excess = np.where(outside, stems - bound, 0).sum(axis=0)
        against = opposing(stems, 0).sum(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            kept = np.where(against != 0, np.clip(1 + excess / against, 0, 1), 1)
        stems = np.where(outside, bound, np.where(opposing(stems, 0) != 0, stems * kept, stems))
    return stems


def paths_of(folder: Path, names: Iterable[int | str], kind: Kind | None = None) -> list[Path]:
    """The file of each stem.

    Raises:
        ValueError: two would have the same, perhaps only where case does not count.

    Example:
        >>> [str(path) for path in paths_of(Path("out"), ["left", "r/h"])]
        ['out/left.wav', 'out/r_h.wav']
    """
    suffix = SUFFIXES[(kind or Kind()).format]
    taken: dict[str, str] = {}
    paths = []
    for name in map(str, names):
        path = folder / f"{file_name(name)}{suffix}"
        key = unicodedata.normalize("NFC", path.name).casefold()
        if key in taken:
            raise ValueError(f"the stems {taken[key]!r} and {name!r} would both be {path}")
        taken[key] = name
        paths.append(path)
    return paths


def file_name(name: str) -> str:
    """A stem's name without what a file name cannot hold, and no longer than one may be.

    Example:
        >>> file_name("Piano: r/h"), file_name("C♯4")
        ('Piano_ r_h', 'C♯4')
    """
    legal = "".join("_" if c in '/\\:*?"<>|' or ord(c) < 32 else c for c in name) or "_"
    return legal.encode(errors="replace")[:LONGEST].decode(errors="ignore")


def is_stem(path: Path) -> bool:
    """Whether a file is a stem that `write` has written."""
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            return file.software.startswith(MARK)
    except soundfile.LibsndfileError:
        return False
