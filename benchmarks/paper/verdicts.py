"""When a claim is said to hold: one rule, that uses the spread over what was repeated."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.stats

HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "undecided"
CONFIDENCE = 0.95
RULE = (
    "A claim is split into parts, each a difference between two runs on the same snippet with the "
    "same seed, positive where the claim is right. A part holds if Student's 95 % interval of the "
    "mean difference, over all pairs, lies above zero, does not hold if it lies below, and is "
    "undecided otherwise. 'No worse' holds if the interval lies above minus the margin named. A "
    "claim holds if all its parts do, does not hold if one does not, and is undecided otherwise, "
    "also where a part could not be measured."
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


def paired(claim: str, differences: Iterable[float], margin: float = 0.0) -> Part:
    """By the rule, from one difference per pair.

    Equal ones are one: where nothing is random, all seeds repeat the same measurement.

    Example:
        >>> paired("A above B", [0.1, 0.12, 0.11]).verdict
        'holds'
    """
    d = np.unique(np.array(list(differences), dtype=float))
    if len(d) == 0:
        return missing(claim)
    if len(d) == 1:
        return Part(claim, UNDECIDED, f"{d[0]:+.3f}, one pair")
    error = float(d.std(ddof=1)) / np.sqrt(len(d))
    reach = error * float(scipy.stats.t.ppf(0.5 + CONFIDENCE / 2, len(d) - 1))
    low, high = float(d.mean()) - reach, float(d.mean()) + reach
    if low > -margin if margin else low > 0:
        verdict = HOLDS
    elif high < 0:
        verdict = FAILS
    else:
        verdict = UNDECIDED
    text = f"{d.mean():+.3f} [{low:+.3f}, {high:+.3f}], {len(d)} pairs"
    return Part(claim, verdict, text + (f", margin {margin:g}" if margin else ""))


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
