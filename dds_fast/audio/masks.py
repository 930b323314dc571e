"""Stems: masks on linear magnitudes, from each source's part of a decomposition."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from dds_fast import audio
from dds_fast.audio.spectra import check_invertible
from dds_fast.audio.windows import Window

if TYPE_CHECKING:
    from dds_fast.notes.score import Labels

REST = "rest"
"""Name of the stem of the sources that are in no group."""

Shares = Callable[[], Iterable[np.ndarray]]
"""Gives each stem's ``(S, T)`` or ``(S, 1)`` share of each source, one stem after the other."""

Magnitudes = Callable[[], Iterable[np.ndarray]]
"""Gives each stem's ``(F, T)`` linear magnitudes, one after the other, whenever called."""


def source_parts(
    windows: Sequence[Window], n_frames: int, sources: Iterable[int]
) -> Iterator[np.ndarray]:
    """``(F, T)`` parts of the reconstruction that some sources make, one after the other."""
    for source in sources:
        part = None
        for window in windows:
            values = window.approximation(window.labels == source)
            if part is None:
                part = np.zeros((len(values), n_frames), values.dtype)
            part[:, window.frames] += values
        assert part is not None  # there is a window
        yield part


def stem_magnitudes(
    windows: Sequence[Window], n_frames: int, shares: Shares, config: audio.SpectrogramConfig
) -> Magnitudes:
    """The stems' linear magnitudes: each source's part of the reconstruction, expanded, by shares.

    Args:
        windows: of the decomposition, with NumPy arrays.
        n_frames: T.
        shares: see `Shares`; from `source_shares` or `note_shares`.
        config: of the spectrogram.
    """

    def magnitudes() -> Iterator[np.ndarray]:
        for share in shares():
            active = np.flatnonzero(share.any(axis=1))
            total = np.zeros((config.n_features, n_frames), windows[0].activations.dtype)
            for source, part in zip(active, source_parts(windows, n_frames, active), strict=True):
                total += share[source] * audio.expand(part, config)
            yield total

    return magnitudes


def source_shares(
    groups: Mapping[str, Iterable[int | str]], sources: Sequence[int | str]
) -> tuple[list[str], Shares]:
    """Names of the stems, and which source belongs to which; each wholly.

    Sources in no group make a last stem, `REST`.

    Args:
        groups: sources by name of the stem.
        sources: the S sources of the decomposition.

    Raises:
        ValueError: an unknown source, or one in two groups.
    """
    row = {source: index for index, source in enumerate(sources)}
    owner: dict[int | str, str] = {}
    for name, members in groups.items():
        for source in members:
            if source not in row:
                raise ValueError(f"group {name!r}: {source!r} is no source of this decomposition")
            if owner.setdefault(source, name) != name:
                raise ValueError(f"{source!r} is in two groups, {owner[source]!r} and {name!r}")
    names = list(groups)
    if len(owner) < len(row):
        if REST in groups:
            raise ValueError(f"the group {REST!r} lacks some sources; give it another name")
        names.append(REST)

    def shares() -> Iterator[np.ndarray]:
        for name in names:
            yield np.array([[owner.get(source, REST) == name] for source in sources])

    return names, shares


def note_shares(
    groups: Mapping[str, Labels], sources: Sequence[int | str], times: np.ndarray, lead: float
) -> tuple[list[str], Shares]:
    """Names of the stems, and each one's share of each source over time.

    While notes of a source sound, its activation belongs to their groups, in equal shares; at
    other times to the note that began last (before all notes: to the first). Sources without a
    note are in no stem: the notes explain the recording alone.

    Args:
        groups: notes by name of the stem.
        sources: the S sources of the decomposition.
        times: ``(T,)`` seconds.
        lead: how long before its onset a note begins to own its source, in seconds.

    Raises:
        ValueError: no note belongs to any source.
    """
    notes = [
        (number, row, onset - lead, offset)
        for number, labels in enumerate(groups.values())
        for row, (onset, offset) in zip(labels.rows(sources), labels.intervals, strict=True)
        if row >= 0
    ]
    if not notes:
        raise ValueError("no note of these groups is of a source of the decomposition")
    shape = len(sources), len(times)
    sounding = np.zeros(shape, bool)
    last = np.full(shape, np.inf)  # onset of the last note begun, or of the first
    for _, source, onset, offset in sorted(notes, key=lambda note: note[2]):
        begun = times >= onset
        sounding[source] |= begun & (times < offset)
        last[source] = np.where(begun, onset, np.minimum(last[source], onset))

    def claims(number: int) -> np.ndarray:
        claimed = np.zeros(shape, bool)
        for owner, source, onset, offset in notes:
            if owner == number:
                sounds = (times >= onset) & (times < offset)
                claimed[source] |= sounds | (~sounding[source] & (last[source] == onset))
        return claimed

    n_claims = sum(claims(number).astype(np.int32) for number in range(len(groups)))

    def shares() -> Iterator[np.ndarray]:
        for number in range(len(groups)):
            yield claims(number) / np.maximum(n_claims, 1)

    return list(groups), shares


def mask_stems(
    magnitudes: Magnitudes,
    stft: np.ndarray,
    config: audio.SpectrogramConfig,
    n_samples: int | None,
) -> np.ndarray:
    """One waveform per model magnitude, ``(n_stems, n)``; they sum to the recording.

    A stem's mask is its share of the linear magnitude; bins that no stem explains are shared
    equally, and DC goes with its neighbour bin. The phase is the recording's.

    Args:
        magnitudes: gives the stems' ``(F, T)`` linear magnitudes, one after the other. It is
            called twice, so that only one of them need be in memory.
        stft: ``(F + 1, T)`` complex STFT of the recording.
        config: its spectrogram config.
        n_samples: length of the recording.

    Raises:
        ValueError: the hop exceeds half a window.
    """
    return np.stack(list(masked(magnitudes, stft, config, n_samples)))


def masked(
    magnitudes: Magnitudes,
    stft: np.ndarray,
    config: audio.SpectrogramConfig,
    n_samples: int | None,
) -> Iterator[np.ndarray]:
    """The waveforms of `mask_stems`, one after the other."""
    check_invertible(config)
    for mask in masks(magnitudes):
        yield audio.istft(stft * np.concatenate([mask[:1], mask]), config, n_samples)


def masks(magnitudes: Magnitudes) -> Iterator[np.ndarray]:
    """Each stem's ``(F, T)`` share of the linear magnitude; they sum to one.

    Bins that no stem explains are shared equally.
    """
    total, n_stems = np.zeros(()), 0
    for magnitude in magnitudes():
        total = total + magnitude
        n_stems += 1
    unexplained = total <= np.finfo(total.dtype).tiny
    for magnitude in magnitudes():
        yield np.where(unexplained, 1 / n_stems, magnitude / np.where(unexplained, 1, total))
