"""The interface of the heart: a search in progress, whatever engine runs it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from dds_fast.search.problem import State
from dds_fast.search.schedule import Controller


class Search(ABC):
    """Decompositions in progress, of one recording or of several that share a dictionary.

    Attributes:
        controllers: one per recording; they tell the costs so far and why it stopped.
        stride: steps to ask for at once where nobody looks at each of them.
        most_steps: steps after which the last one stops, if nothing stops it before.

    Example:
        >>> import torch
        >>> from dds_fast.search import Schedule, engines
        >>> from dds_fast.search.problem import nmf_problem
        >>> problem = nmf_problem(X=torch.rand(20, 9), W=torch.rand(20, 3))
        >>> search = engines.start([problem], [Schedule(step_size=0.01, max_steps=50)])
        >>> search.advance(20)
        >>> len(search.controller.history), search.running, search.state().H.shape
        (21, True, torch.Size([3, 9]))
    """

    controllers: Sequence[Controller]
    stride: int = 1
    most_steps: int

    @abstractmethod
    def advance(self, n_steps: int = 1) -> None:
        """Do up to `n_steps` steps with those that go on, fewer where they stop."""

    @abstractmethod
    def states(self) -> list[State]:
        """Each one's current dictionary and activations."""

    @property
    def running(self) -> bool:
        """Whether any recording goes on."""
        return any(controller.stop_reason is None for controller in self.controllers)

    @property
    def controller(self) -> Controller:
        """That of the only recording."""
        (controller,) = self.controllers
        return controller

    def state(self) -> State:
        """That of the only recording."""
        (state,) = self.states()
        return state


class OneByOne(Search):
    """Searches that share nothing, advanced one after the other."""

    def __init__(self, searches: Sequence[Search]) -> None:
        self.searches = searches
        self.controllers = [search.controller for search in searches]
        self.stride = max(search.stride for search in searches)
        self.most_steps = max(search.most_steps for search in searches)

    def advance(self, n_steps: int = 1) -> None:
        for search in self.searches:
            search.advance(n_steps)

    def states(self) -> list[State]:
        return [search.state() for search in self.searches]


def together(searches: Sequence[Search]) -> Search:
    """Searches of one recording each, as one."""
    return searches[0] if len(searches) == 1 else OneByOne(searches)
