"""Search settings: how a decomposition looks for its dictionary and activations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from dds_fast import scalars
from dds_fast.choices import PRESETS

KINDS_WITH_COMPONENTS = ("dds2", "dds3")
ALGORITHMS = ("staged", "gradient")
MOST_STEPS = (1 << 31) - 1


@dataclass(frozen=True)
class SearchSettings:
    r"""Settings of one search.

    The gradient search is that of the DDS paper: Adam on codes and activations in turn. The staged
    search (docs/method.md) explains the recording by the dictionary's own codes first, keeps those
    that do, and then moves them, while multiplicative updates follow with the activations under a
    reweighted l1 norm.

    Attributes:
        max_steps: most steps in all. A step of a staged search is ten updates of the activations
            while the entries stay as they are, then one step with the codes and the updates after
            it.
        step_size: initial step size of Adam.
        penalty: weight lambda of the likelihood penalty (0 for nmf).
        n_components: K, dictionary entries per source; None for nmf and dds1, which fix it.
        sparsity: weight mu of the activations' l1 norm. In a gradient search
            ``mu / sqrt(T) * sum(H)``, 0 in the paper: the root keeps its effect alike for short and
            long recordings, as the reconstruction error is a norm over all frames. In a staged
            search :math:`\mu \sum_{jt} u_{st} |w_j| h_{jt}` beside half the squared error, where u
            falls with the activity of the entry's source.
        algorithm: "staged" or "gradient".
        updates_per_step: I, updates of the activations after each step with the codes.
        adapt: whether a staged search moves codes; otherwise its updates of the activations go on
            with entries as they are, reweighted.
        fixed_updates: updates of the activations before the entries are chosen.
        fixed_sparsity: mu_0, uniform weight of the l1 norm in these.
        smoothing: frames over which the activity of a source is averaged for its weight u.
        window_seconds: recordings that last more than half as long again are searched in windows
            of about this length by a staged search.
        floor: delta, ``u = 1 / (activity / strongest activity in the frame + delta)``.

    Example:
        >>> settings = DEFAULT["dds2"].with_overrides("dds2", max_steps=20, penalty=None)
        >>> settings.max_steps, settings.penalty, settings.algorithm
        (20, 0.001, 'staged')
    """

    max_steps: int
    step_size: float
    penalty: float
    n_components: int | None = None
    sparsity: float = 0.0
    algorithm: str = "gradient"
    adapt: bool = True
    updates_per_step: int = 5
    fixed_updates: int = 60
    fixed_sparsity: float = 0.1
    smoothing: int = 15
    floor: float = 0.05
    window_seconds: float = 30.0

    def __post_init__(self) -> None:
        if self.algorithm not in ALGORITHMS:
            raise ValueError(f"algorithm must be one of {ALGORITHMS}, not {self.algorithm!r}")
        checked = {name: check(name, getattr(self, name)) for name, check in _LEGAL.items()}
        self.__dict__.update(checked)  # frozen, but plain numbers from here on

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
        if settings.algorithm == "staged" and kind == "dds1":
            raise ValueError("a 'dds1' dictionary has no staged search")
        return settings


def _n_components(name: str, value: Any) -> int | None:
    return None if value is None else scalars.integer(name, value, 1, 1 << 48)


_LEGAL: dict[str, Callable[[str, Any], Any]] = {
    "max_steps": partial(scalars.integer, least=0, most=MOST_STEPS),
    "n_components": _n_components,
    "fixed_updates": partial(scalars.integer, least=1, most=MOST_STEPS),
    "updates_per_step": partial(scalars.integer, least=1, most=1000),
    "smoothing": partial(scalars.integer, least=1, most=1 << 16),
    **dict.fromkeys(("step_size", "floor"), scalars.positive),
    **dict.fromkeys(("penalty", "sparsity", "fixed_sparsity"), scalars.not_negative),
    "window_seconds": partial(scalars.real, least=1.0),
    "adapt": scalars.flag,
}


PAPER = {
    "nmf": SearchSettings(max_steps=1000, step_size=1e-2, penalty=0.0),
    "dds1": SearchSettings(max_steps=1000, step_size=1e-3, penalty=1e-4),
    "dds2": SearchSettings(max_steps=1000, step_size=1e-3, penalty=1e-4, n_components=20),
    "dds3": SearchSettings(max_steps=1000, step_size=1e-3, penalty=1e-4, n_components=20),
}
"""The DDS paper's settings by kind."""

FAST_STEPS = 16
"""Of a staged search whose entries stay as they are."""

_STAGED = SearchSettings(
    max_steps=66,
    step_size=0.01,
    penalty=1e-3,
    n_components=4,
    sparsity=0.45,
    algorithm="staged",
)
DEFAULT = {
    "nmf": replace(_STAGED, max_steps=FAST_STEPS, penalty=0.0, n_components=None, adapt=False),
    "dds1": PAPER["dds1"],
    "dds2": _STAGED,
    "dds3": _STAGED,
}
"""What a dictionary is searched with that says nothing else."""


def preset_settings(preset: str, kind: str, own: SearchSettings) -> SearchSettings:
    """The settings of a preset for a dictionary that has settings of its own.

    "paper": those of the DDS paper. "fast": the dictionary's own staged search, whose entries
    stay as they are: no pass through a flow but the first.

    Raises:
        ValueError: unknown preset, or "fast" for a kind without a staged search.
    """
    if preset not in PRESETS:
        raise ValueError(f"preset must be None or one of {PRESETS}, not {preset!r}")
    if preset == "paper":
        return PAPER[kind]
    if kind == "dds1":
        raise ValueError("preset='fast' needs a staged search, which a 'dds1' dictionary has not")
    staged = own if own.algorithm == "staged" else DEFAULT[kind]
    return replace(staged, max_steps=FAST_STEPS, adapt=False)
