"""Step-size schedule and stop rules of a decomposition (DDS paper, section IV-D)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from dds_fast import scalars


@dataclass(frozen=True)
class Schedule:
    """How large the steps are and when to stop.

    Attributes:
        step_size: initial Adam step size of Z and H.
        max_steps: most update steps.
        patience: the step size is multiplied by `factor` after more than this many consecutive
            steps above the best cost.
        factor: see `patience`.
        max_increases: "diverged" after more than this many consecutive steps without a decrease.
        tolerance: "converged" when the cost changes by less than this.

    Example:
        >>> Schedule(step_size=0.01, max_steps=66).patience
        10
        >>> Schedule(step_size=0.0, max_steps=66)
        Traceback (most recent call last):
        ValueError: step_size must be finite and positive, not 0.0
    """

    step_size: float
    max_steps: int
    patience: int = 10
    factor: float = 0.5
    max_increases: int = 100
    tolerance: float = 1e-15

    def __post_init__(self) -> None:
        checked: dict[str, float] = {
            name: scalars.integer(name, getattr(self, name), least=0)
            for name in ("max_steps", "patience", "max_increases")
        }
        checked |= {n: scalars.positive(n, getattr(self, n)) for n in ("step_size", "factor")}
        checked["tolerance"] = scalars.not_negative("tolerance", self.tolerance)
        self.__dict__.update(checked)  # frozen, but plain numbers from here on


@dataclass
class Controller:
    """Watches the cost of each step: halves the step size, says when to stop.

    Attributes:
        step_size: the current one.
        history: all costs so far, the initial one included.
        stop_reason: None while the search goes on.
        stage: what is being done.

    Example:
        >>> controller = Controller(Schedule(step_size=0.1, max_steps=100, patience=1))
        >>> for cost in (5.0, 4.0, 4.5, 4.2):  # the initial cost, then two steps above the best
        ...     controller.observe(cost)
        >>> controller.step_size, controller.stop_reason
        (0.05, None)
        >>> controller.observe(4.2)
        >>> controller.stop_reason
        'converged'
    """

    schedule: Schedule
    step_size: float = field(init=False)
    history: list[float] = field(default_factory=list)
    stop_reason: str | None = None
    stage: str = "search"
    _best: float = math.inf
    _above_best: int = 0
    _increases: int = 0

    def __post_init__(self) -> None:
        self.step_size = self.schedule.step_size

    def record(self, cost: float) -> None:
        """Take a cost without judging it, but for stopping where it is not finite."""
        self.history.append(cost)
        if not math.isfinite(cost):
            self.stop_reason = "non-finite"

    def observe(self, cost: float) -> None:
        """Take the cost after an update step (the first call: the initial cost)."""
        self.record(cost)
        if self.stop_reason is not None:
            return
        if len(self.history) > 1:
            self._judge(cost, self.history[-2])
        self._best = min(self._best, cost)
        if self.stop_reason is None and len(self.history) > self.schedule.max_steps:
            self.stop_reason = "max_steps"

    def _judge(self, cost: float, previous: float) -> None:
        self._above_best = self._above_best + 1 if cost > self._best else 0
        if self._above_best > self.schedule.patience:
            self.step_size *= self.schedule.factor
            self._above_best = 0
        self._increases = self._increases + 1 if cost >= previous else 0
        if self._increases > self.schedule.max_increases:
            self.stop_reason = "diverged"
        elif abs(cost - previous) < self.schedule.tolerance:
            self.stop_reason = "converged"
