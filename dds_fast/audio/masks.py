"""Masks of stems: each one's share of the linear magnitudes that a decomposition gives them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dds_fast import audio
from dds_fast.audio.windows import Window
from dds_fast.notes.grouping import check_only

if TYPE_CHECKING:
    from dds_fast.notes.score import Labels

REST = "rest"
"""Name of the stem of the sources that are in no group."""

FLOOR = 1e-3
"""A bin that no stem explains goes by how loud the stems are in its frame: this share of a stem's
mean over the frame is added to all of its bins."""

Magnitudes = Callable[[int, int], Iterable[np.ndarray]]
"""Gives each stem's ``(F, t)`` linear magnitudes in the frames from first to end."""


@dataclass(frozen=True, eq=False)
class Share:
    """What belongs to a stem: some sources, wholly or at times.

    Attributes:
        rows: ``(R,)`` indices of the sources.
        weights: ``(R, T)``, or ``(R, 1)``, the share of each over time.

    Example:
        >>> Share(np.array([3]), np.ones((1, 1))).rows
        array([3])
    """

    rows: np.ndarray
    weights: np.ndarray

    @classmethod
    def of(cls, weights: np.ndarray) -> Share:
        """By ``(S, T)`` or ``(S, 1)`` weights of all sources."""
        rows = np.flatnonzero(weights.any(axis=1))
        return cls(rows, weights[rows].astype(np.float32))

    def during(self, first: int, end: int) -> np.ndarray:
        """``(R, t)`` or ``(R, 1)`` weights in some frames."""
        return self.weights if self.weights.shape[1] == 1 else self.weights[:, first:end]

    def of_source(self, row: int, first: int, end: int) -> np.ndarray:
        """``(t,)`` or ``(1,)`` weights of a source in some frames; zero if none of it belongs."""
        place = np.flatnonzero(self.rows == row)
        return self.during(first, end)[place[0]] if len(place) else np.zeros(1)


def source_part(windows: Sequence[Window], source: int, first: int, end: int) -> np.ndarray | None:
    """``(F, t)`` part of the reconstruction that a source makes in some frames; None if silent."""
    part = None
    for window in windows:
        start, stop = max(first, window.frames.start), min(end, window.frames.stop)
        if start >= stop:
            continue
        cut = window.during(start, stop)
        rows = np.flatnonzero((cut.labels == source) & cut.activations.any(axis=1))
        if len(rows):
            values = cut.approximation(rows)
            part = np.zeros((len(values), end - first), values.dtype) if part is None else part
            part[:, start - first : stop - first] += values
    return part


def stem_magnitudes(
    windows: Sequence[Window], shares: Sequence[Share], config: audio.SpectrogramConfig
) -> Magnitudes:
    """The stems' linear magnitudes: each source's part of the reconstruction, expanded, by shares.

    Args:
        windows: of the decomposition, with NumPy arrays.
        shares: of each stem, from `source_shares` or `note_shares`.
        config: of the spectrogram.
    """
    needed = np.unique(np.concatenate([share.rows for share in shares]))
    dtype = np.result_type(windows[0].components, windows[0].activations)

    def magnitudes(first: int, end: int) -> Iterator[np.ndarray]:
        parts = {}
        for source in needed.tolist():
            if (part := source_part(windows, source, first, end)) is not None:
                parts[source] = audio.expand(part, config)
        for share in shares:
            total = np.zeros((config.n_features, end - first), dtype)
            for source, weights in zip(share.rows.tolist(), share.during(first, end), strict=True):
                if source in parts and weights.any():
                    total += weights * parts[source]
            yield total

    return magnitudes


def stem_shares(
    groups: Mapping[Any, Labels | Iterable[int | str]],
    sources: Sequence[int | str],
    times: np.ndarray,
    lead: float,
) -> tuple[list[Any], list[Share]]:
    """Names of the stems, and what belongs to each: by `source_shares` or `note_shares`.

    Args:
        groups: sources, or notes, by name of the stem.
        sources: the S sources of the decomposition.
        times: ``(T,)`` seconds.
        lead: as of `note_shares`.

    Raises:
        ValueError: no groups, or both kinds of them; as of the two.

    Example:
        >>> names, shares = stem_shares({"low": [60]}, [60, 64], np.arange(3.0), lead=0.0)
        >>> names, [share.rows.tolist() for share in shares]
        (['low', 'rest'], [[0], [1]])
    """
    from dds_fast.notes.score import Labels

    if not groups:
        raise ValueError("separate() was given no groups")
    of_notes = {name: group for name, group in groups.items() if isinstance(group, Labels)}
    of_sources = {name: group for name, group in groups.items() if not isinstance(group, Labels)}
    if of_sources and of_notes:
        raise ValueError("groups must all be notes (Labels) or all be sources, not a mixture")
    if of_sources:
        return source_shares(of_sources, sources)
    return note_shares(of_notes, sources, times, lead)


def source_shares(
    groups: Mapping[str, Iterable[int | str]], sources: Sequence[int | str]
) -> tuple[list[str], list[Share]]:
    """Names of the stems, and which source belongs to which; each wholly.

    Sources in no group make a last stem, `REST`.

    Args:
        groups: sources by name of the stem.
        sources: the S sources of the decomposition.

    Raises:
        ValueError: an unknown source, one in two groups, or a group without any.
    """
    row = {source: index for index, source in enumerate(sources)}
    owner: dict[int | str, str] = {}
    for name, members in groups.items():
        members = list(members)
        if not members:
            raise ValueError(f"the group {name!r} names no source")
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
    owners = [owner.get(source, REST) for source in sources]
    return names, [Share.of(np.array([[o == name] for o in owners])) for name in names]


def note_shares(
    groups: Mapping[str, Labels], sources: Sequence[int | str], times: np.ndarray, lead: float
) -> tuple[list[str], list[Share]]:
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
    claims: list[dict[int, np.ndarray]] = [{} for _ in groups]
    for number, source, onset, offset in notes:
        sounds = (times >= onset) & (times < offset)
        claim = sounds | (~sounding[source] & (last[source] == onset))
        claims[number][source] = claims[number].get(source, False) | claim
    n_claims = np.zeros(sounding.shape, np.float32)
    for claim in claims:
        for source, claimed in claim.items():
            n_claims[source] += claimed
    shares = []
    for claim in claims:
        rows = np.array(sorted(claim), dtype=int)
        weights = [claim[source] / np.maximum(n_claims[source], 1) for source in rows.tolist()]
        shares.append(Share(rows, np.array(weights, np.float32).reshape(len(rows), len(times))))
    return list(groups), shares


def only(name: str, names: Sequence[str], shares: Sequence[Share]) -> tuple[list[str], list[Share]]:
    """A stem, and all others together as `REST`.

    Raises:
        ValueError: there is no such stem, or it is all of them.

    Example:
        >>> one = np.ones((1, 1))
        >>> shares = [Share(np.array([row]), one) for row in range(3)]
        >>> names, (bass, rest) = only("bass", ["bass", "tenor", "alto"], shares)
        >>> names, rest.rows
        (['bass', 'rest'], array([1, 2]))
    """
    check_only(name, names)
    if name == REST:
        raise ValueError(f"{name!r} is what is left beside the stem that is kept: name another one")
    others = [share for other, share in zip(names, shares, strict=True) if other != name]
    if not others:
        raise ValueError(f"{name!r} is all there is: nothing would be left of the recording")
    rows = np.unique(np.concatenate([share.rows for share in others]))
    n_frames = max(share.weights.shape[1] for share in others)
    weights = np.zeros((len(rows), n_frames), np.float32)
    for share in others:
        weights[np.searchsorted(rows, share.rows)] += share.weights
    return [name, REST], [shares[list(names).index(name)], Share(rows, weights)]


def masks(magnitudes: np.ndarray, levels: np.ndarray | None = None) -> np.ndarray:
    """Each stem's share of the linear magnitudes, ``(n_stems, F, t)``; they sum to one.

    Bins that no stem explains go by how loud the stems are in their frame (`FLOOR`), and are shared
    equally where nothing sounds.

    Args:
        magnitudes: ``(n_stems, F, t)``, from `stem_magnitudes`.
        levels: ``(n_stems, t)``, how loud the stems are; by default their mean magnitude.

    Example:
        >>> masks(np.array([[[3.0], [0.0]], [[1.0], [0.0]]])).round(3)[:, :, 0]
        array([[0.75, 0.75],
               [0.25, 0.25]])
    """
    levels = magnitudes.mean(axis=1) if levels is None else levels
    raised = magnitudes + FLOOR * levels[:, None]
    total = raised.sum(axis=0)
    unexplained = total <= np.finfo(total.dtype).tiny
    raised /= np.where(unexplained, 1, total)
    return np.where(unexplained, np.asarray(1 / len(raised), raised.dtype), raised)
