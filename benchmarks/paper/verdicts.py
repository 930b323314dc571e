"""When a claim is said to hold: one rule, that uses the spread over what was repeated."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.stats

HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "undecided"
CONFIDENCE = 0.95
MOST_PAIRS = 1000
RULE = (
    "A claim is split into parts, each a difference between two runs on the same snippet with the "
    "same seed, positive where the claim is right; seeds that search the same part of a file are "
    "one pair, their mean. A part holds if Student's 95 % interval of the mean difference, over "
    "all pairs, lies above zero, does not hold if it lies below, and is undecided otherwise: then "
    "the number of pairs is named at which an interval of this mean and spread would no longer "
    "hold zero. 'No worse' is the same with minus the margin named in place of zero; 'within' "
    "holds if the interval lies between minus and plus the margin, and does not hold if it lies "
    "outside. A claim holds if all its parts do, does not hold if one does not, and is undecided "
    "otherwise, also where a part could not be measured."
)


@dataclass(frozen=True)
class Part:
    """A part of a claim.

    Attributes:
        claim: what is said.
        verdict: `HOLDS`, `FAILS` or `UNDECIDED`.
        figures: what it rests on.
        measured: whether there is anything.
    """

    claim: str
    verdict: str
    figures: str
    measured: bool = True


def paired(
    claim: str, differences: Iterable[float], margin: float = 0.0, within: bool = False
) -> Part:
    """By the rule, from one difference per pair.

    Example:
        >>> paired("A above B", [0.1, 0.12, 0.11]).verdict
        'holds'
    """
    d = np.array(list(differences), dtype=float)
    if len(d) == 0:
        return missing(claim)
    if len(d) == 1:
        return Part(claim, UNDECIDED, f"{d[0]:+.3f}, one pair")
    mean, error = float(d.mean()), float(d.std(ddof=1)) / np.sqrt(len(d))
    reach = error * float(scipy.stats.t.ppf(0.5 + CONFIDENCE / 2, len(d) - 1))
    low, high = mean - reach, mean + reach
    if low > -margin and (not within or high < margin):
        verdict = HOLDS
    elif high < -margin or (within and low > margin):
        verdict = FAILS
    else:
        verdict = UNDECIDED
    text = f"{mean:+.3f} [{low:+.3f}, {high:+.3f}], {len(d)} pairs"
    if margin:
        text += f", margin {margin:g}"
    if verdict == UNDECIDED:
        # The nearest bound is what the interval must come clear of.
        gap = abs(abs(mean) - margin) if within else abs(mean + margin)
        text += f"; {_pairs(len(d), reach, gap)}"
    return Part(claim, verdict, text)


def _pairs(n: int, reach: float, gap: float) -> str:
    """How many would do, as an interval shrinks with their root."""
    if gap * math.sqrt(MOST_PAIRS) <= reach * math.sqrt(n):
        return f"more than {MOST_PAIRS} would decide"
    return f"about {math.ceil(n * (reach / gap) ** 2)} would decide"


def fact(claim: str, true: bool, figures: str) -> Part:
    """Something that is counted or fitted once."""
    return Part(claim, HOLDS if true else FAILS, figures)


def missing(claim: str, why: str = "not measured") -> Part:
    """Something that could not be measured."""
    return Part(claim, UNDECIDED, why, measured=False)


def overall(parts: Sequence[Part]) -> str:
    """Of the whole claim."""
    verdicts = {part.verdict for part in parts}
    if FAILS in verdicts:
        return FAILS
    return HOLDS if verdicts == {HOLDS} else UNDECIDED
