"""Sounds within HTML: compressed, and as text."""

from __future__ import annotations

import base64
import html
import io
from typing import Any

import numpy as np

from dds_fast.arrays import as_numpy
from dds_fast.audio.waveforms import checked_sr, to_mono

FLAC_ROOM = 6_000_000
"""Bytes; stems that surely take less stay lossless."""

VORBIS_ROOM = 9_000_000
"""Bytes of all stems together, that is 12 MB of a page."""

VORBIS_LEVELS = {0.5: 84e3, 0.7: 57e3, 0.9: 43e3, 1.0: 35e3}
"""Bits per second that a channel of decaying noise takes, by libsndfile's level of compression."""

_AT_ONCE = 1 << 16
"""Samples that are given to an encoder; libsndfile's Vorbis overflows the stack with many."""


class Sound:
    """A sound that notebooks play, with its name beside it.

    Args:
        waveform: ``(n,)`` or ``(channels, n)`` floats, an array or tensor; channels are averaged,
            and what is above 1 is made softer.
        sr: sampling rate in Hz.
        name: what it is.

    Raises:
        ValueError: it is no waveform, or no sampling rate.

    Example:
        >>> Sound(np.sin(np.arange(16000) / 6), 16000, "a tone")
        <Sound: a tone; 1.0 s at 16000 Hz>
    """

    def __init__(self, waveform: Any, sr: float, name: str = "") -> None:
        self.waveform = to_mono(as_numpy(waveform), sr=sr, target_sr=sr)
        self.sr, self.name = checked_sr("sr", sr), name

    def __repr__(self) -> str:
        seconds = len(self.waveform) / self.sr
        return f"<Sound: {self.name}; {seconds:.1f} s at {self.sr:g} Hz>"

    def _repr_html_(self) -> str:
        peak = max(1.0, np.abs(self.waveform).max())
        (text,) = encoded(self.waveform[None] / peak, self.sr)
        kind = "ogg" if base64.b64decode(text[:8]).startswith(b"OggS") else "flac"
        name = html.escape(self.name)
        return (
            f'<figure style="margin:0"><figcaption>{name}</figcaption>'
            f'<audio controls src="data:audio/{kind};base64,{text}"></audio></figure>'
        )


def encoded(stems: np.ndarray, sr: float) -> list[str]:
    """Each stem as a small file in base64: FLAC where that is small enough, else Vorbis.

    Example:
        >>> (text,) = encoded(np.zeros((1, 8000)), 16000)
        >>> base64.b64decode(text)[:4]
        b'fLaC'
    """
    import soundfile

    channels = stems[:, None] if stems.ndim == 2 else stems
    if 2 * channels.size < FLAC_ROOM or sr < 8000:
        kind: dict[str, Any] = {"format": "FLAC", "subtype": "PCM_16"}
    else:
        seconds = channels.size / sr
        fitting = (
            level for level, bits in VORBIS_LEVELS.items() if bits / 8 * seconds < VORBIS_ROOM
        )
        level = next(fitting, max(VORBIS_LEVELS))
        kind = {"format": "OGG", "subtype": "VORBIS", "compression_level": level}
    texts = []
    for stem in channels:
        memory = io.BytesIO()
        with soundfile.SoundFile(memory, "w", round(sr), len(stem), **kind) as file:
            for first in range(0, stem.shape[1], _AT_ONCE):
                file.write(stem[:, first : first + _AT_ONCE].T)
        texts.append(base64.b64encode(memory.getvalue()).decode())
    return texts
