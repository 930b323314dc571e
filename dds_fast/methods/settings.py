"""Search settings: how a decomposition looks for its dictionary and activations."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass, replace
from typing import Any

KINDS = ("nmf", "dds1", "dds2", "dds3")
KINDS_WITH_COMPONENTS = ("dds2", "dds3")


@dataclass(frozen=True)
class SearchSettings:
    """Settings of one search.

    Attributes:
        max_steps: most update steps.
        step_size: initial Adam step size.
        penalty: weight lambda of the likelihood penalty (0 for nmf).
        n_components: K, dictionary entries per source; None for nmf and dds1, which fix it.
        sparsity: weight mu of the activations' l1 norm, ``mu / sqrt(T) * sum(H)``; 0 in the paper.
            The root keeps its effect alike for short and long recordings, as the reconstruction
            error is a norm over all frames.
    """

    max_steps: int
    step_size: float
    penalty: float
    n_components: int | None = None
    sparsity: float = 0.0

    def with_overrides(self, kind: str, **overrides: Any) -> SearchSettings:
        """The same settings with those that are not None replaced.

        Raises:
            ValueError: `n_components` or `penalty` for a kind that has none, or a bad value.
        """
        given = {name: value for name, value in overrides.items() if value is not None}
        if "n_components" in given and kind not in KINDS_WITH_COMPONENTS:
            raise ValueError(f"n_components has no meaning for a {kind!r} dictionary")
        if kind == "nmf" and given.get("penalty", 0) != 0:
            raise ValueError("penalty has no meaning for an 'nmf' dictionary: it has no likelihood")
        settings = replace(self, **given)
        return replace(
            settings,
            max_steps=_integer("max_steps", settings.max_steps, 0),
            step_size=_number("step_size", settings.step_size, math.ulp(0.0)),
            penalty=_number("penalty", settings.penalty, 0.0),
            sparsity=_number("sparsity", settings.sparsity, 0.0),
            n_components=None
            if settings.n_components is None
            else _integer("n_components", settings.n_components, 1),
        )


def _integer(name: str, value: Any, least: int) -> int:
    try:
        value = operator.index(value)
    except TypeError:
        raise ValueError(f"{name} must be an integer, not {value!r}") from None
    if value < least:
        raise ValueError(f"{name} must be at least {least}, not {value}")
    return value


def _number(name: str, value: Any, least: float) -> float:
    value = float(value)
    if not (math.isfinite(value) and value >= least):
        sign = "positive" if least > 0 else "not negative"
        raise ValueError(f"{name} must be finite and {sign}, not {value!r}")
    return value


PAPER = {
    "nmf": SearchSettings(max_steps=1000, step_size=1e-2, penalty=0.0),
    "dds1": SearchSettings(max_steps=1000, step_size=1e-3, penalty=1e-4),
    "dds2": SearchSettings(max_steps=1000, step_size=1e-3, penalty=1e-4, n_components=20),
    "dds3": SearchSettings(max_steps=1000, step_size=1e-3, penalty=1e-4, n_components=20),
}
"""The DDS paper's settings by kind."""
