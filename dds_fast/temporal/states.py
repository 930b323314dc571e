"""From evidence to notes: the likeliest way of each source through three states.

A source is silent, attacked or sounding on; a note begins with an attack, and an attack can follow
on a note of the same source. Emissions are the network's probabilities.

Source: Cheng, Dixon and Mauch, Modelling the decay of piano sounds, EUSIPCO 2015, has such states
on gains; here they stand on what a network says.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dds_fast.notes.found import Note
from dds_fast.temporal.network import Evidence

SILENT, ATTACK, SOUNDING = range(3)
ENTER, LEAVE, AGAIN = -2.0, -1.0, -2.0
"""Log weights of the transitions from silence to an attack, to silence, and to another attack."""

LEAD = 0.25
"""Frames by which a note begins before the centre of its attack's frame."""

SHORTEST = 2
"""Frames of the shortest note."""

STRIKE = 6
"""Frames from its attack on within which a note is loudest."""

_NEVER = -1e9
_TRANSITIONS = np.array(
    [[0.0, ENTER, _NEVER], [_NEVER, _NEVER, 0.0], [LEAVE, AGAIN, 0.0]], dtype=np.float32
)


def states(sounding: np.ndarray, struck: np.ndarray) -> np.ndarray:
    """``(S, T)`` likeliest states of sources, by the Viterbi algorithm.

    Args:
        sounding: ``(S, T)`` logits.
        struck: ``(S, T)`` logits.

    Example:
        >>> sounding, struck = np.array([[-5, 5, 5, 5, -5.0]]), np.array([[-5, 5, -5, -5, -5.0]])
        >>> states(sounding, struck)
        array([[0, 1, 2, 2, 0]], dtype=int8)
    """
    S, T = sounding.shape
    emissions = np.stack(
        [
            _log(-sounding) + _log(-struck),
            _log(sounding) + _log(struck),
            _log(sounding) + _log(-struck),
        ],
        axis=-1,
    )  # (S, T, 3)
    came_from = np.zeros((T, S, 3), dtype=np.int8)
    score = emissions[:, 0] + np.array([0.0, ENTER, _NEVER], dtype=np.float32)
    for t in range(1, T):
        ways = score[:, :, None] + _TRANSITIONS
        came_from[t] = ways.argmax(axis=1)
        score = ways.max(axis=1) + emissions[:, t]
    found = np.zeros((S, T), dtype=np.int8)
    every = np.arange(S)
    state = score.argmax(axis=1)
    for t in range(T - 1, -1, -1):
        found[:, t] = state
        state = came_from[t, every, state]
    return found


def _log(logits: np.ndarray) -> np.ndarray:
    """Log of the probabilities."""
    return -np.logaddexp(np.float32(0), -logits)


def _confidence(sounding: np.ndarray, struck: float) -> float:
    """Probability that a note is struck where it begins, times the mean one that it sounds."""
    logits = np.append(sounding, struck)
    *sounds, is_struck = 1 / (1 + np.exp(-logits))
    return float(np.mean(sounds) * is_struck)


def notes(
    evidence: Evidence,
    sources: Sequence[int | str],
    frame_rate: float,
    sensitivity: float = 0.0,
) -> list[Note]:
    """The notes that the evidence speaks for, sorted by start.

    The confidence of a note is the probability that it is struck where it begins, times the mean
    probability that it sounds until it ends; `sensitivity` does not move it.

    Args:
        evidence: of all sources.
        sources: S MIDI numbers or names.
        frame_rate: frames per second; the first is centred on 0 s.
        sensitivity: added to all logits: above 0 more notes are found, below 0 fewer.

    Example:
        >>> evidence = Evidence.nothing(2, 9)
        >>> evidence.sounding[0, 2:7] = 5
        >>> evidence.struck[0, 2] = 5
        >>> notes(evidence, [60, 64], frame_rate=10)
        [Note(start=0.175, end=0.65, source=60, velocity=127)]
    """
    alive = np.flatnonzero((evidence.sounding + sensitivity).max(axis=1, initial=-1) > 0)
    found = []
    sounding, struck = (one[alive] + sensitivity for one in (evidence.sounding, evidence.struck))
    for row, path in zip(alive.tolist(), states(sounding, struck), strict=True):
        begins = np.flatnonzero(path == ATTACK)
        silences = np.append(np.flatnonzero(path == SILENT), len(path))
        ends = np.minimum(silences[np.searchsorted(silences, begins)], [*begins, len(path)][1:])
        for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
            if end - begin >= SHORTEST:
                level = evidence.level[row, begin : min(end, begin + STRIKE)].max()
                found.append((begin, end, row, float(level)))
    loudest = max((level for *_, level in found), default=0.0)
    made = [
        Note(
            max(0.0, begin - LEAD) / frame_rate,
            (end - 0.5) / frame_rate,
            sources[row],
            max(1, round(127 * 10 ** ((level - loudest) / 40))),
            _confidence(evidence.sounding[row, begin:end], evidence.struck[row, begin]),
        )
        for begin, end, row, level in found
    ]
    return sorted(made, key=lambda note: (note.start, str(note.source)))
