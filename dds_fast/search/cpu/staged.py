"""The staged search on the CPU, compiled: each stage is a native object that does whole steps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dds_fast import _native
from dds_fast.search import staged
from dds_fast.search.cpu.weights import code_arguments, packed_flow, state_format
from dds_fast.search.problem import StagedProblem, State, log_likelihoods_of
from dds_fast.search.schedule import Schedule
from dds_fast.search.staged import LOOK_EVERY, Chosen, Stages
from dds_fast.search.survivors import DROP_SHARE


class StagedSearch(Stages):
    """Holds the memory of the native stages of one recording."""

    def __init__(self, problem: StagedProblem, schedule: Schedule, precision: str) -> None:
        super().__init__(problem, schedule)
        self.n_threads = torch.get_num_threads()
        self.products = state_format(precision)
        if problem.flow is not None:
            assert problem.Z is not None
            self.flow = packed_flow(problem.flow, "decode", precision)
            entries, log_likelihoods = self._decode(problem.Z)
        else:
            assert problem.W is not None
            # A copy in any case: the native stages close the gaps that dead entries leave.
            entries = problem.W.T.clone(memory_format=torch.contiguous_format)
            log_likelihoods = entries.new_zeros(len(entries))
        self._lay_out(
            entries,
            log_likelihoods,
            staged.initial_activations(problem.X, entries),
            problem.labels,
        )
        self.native: Any = _native.cpu().FixedStage(self.n_threads, **self._arguments())
        self.controller.record(self.native.cost)

    def _decode(self, Z: Tensor) -> tuple[Tensor, Tensor]:
        """Entries ``(J, F)`` and their log-likelihoods from ``(G, R, F)`` codes."""
        x, log_det = self.flow.decoded(Z)
        log_likelihoods = log_likelihoods_of(
            Z[..., self.problem.n_fixed :],
            log_det + self.flow.constants[:, None],
            self.problem.likelihood,
        )
        return x.clamp_min(0).flatten(0, 1), log_likelihoods.flatten()

    def _lay_out(self, D: Tensor, log_likelihoods: Tensor, H: Tensor, labels: Tensor) -> None:
        """The tensors of a stage with such entries; the native stages leave out some of them."""
        self.tensors = {
            "target": self.problem.X.T.contiguous(),
            "entries": D,
            "log_likelihoods": log_likelihoods,
            "activations": H,
            "labels": labels.int(),
            "rows": torch.arange(len(D)),
        }

    def _arguments(self) -> dict[str, Any]:
        """The tensors and the settings as the native stages take them."""
        settings, tensors = self.problem.settings, self.tensors
        J, T = tensors["activations"].shape
        return {
            "n_sources": self.problem.n_sources,
            "n_entries": J,
            "n_frames": T,
            "n_features": tensors["entries"].shape[1],
            "products": self.products,
            "penalty": settings.penalty,
            "epsilon": self.problem.epsilon,
            "sparsity": settings.sparsity,
            "fixed_sparsity": settings.fixed_sparsity,
            "smoothing": settings.smoothing,
            "floor": settings.floor,
            "dead": staged.DEAD,
            "drop_share": DROP_SHARE,
            **tensors,
        }

    def _alive(self, name: str) -> Tensor:
        return self.tensors[name][: self.native.n_entries]

    def _steps_fixed(self, n_updates: list[int], reweighted: bool) -> list[float]:
        return self.native.steps(n_updates, reweighted, self.n_threads)

    def _choose(self) -> Chosen:
        problem = self.problem
        assert problem.Z is not None
        D, H, labels = self._alive("entries"), self._alive("activations"), self._alive("labels")
        kept, H = staged.chosen(D, H, labels.long(), problem.n_sources, problem.settings)
        codes = problem.Z.flatten(0, 1)[self._alive("rows")[kept]]
        return codes, H, labels[kept].long()

    def _adapt(self, codes: Tensor, H: Tensor, labels: Tensor) -> None:
        codes = codes.clone()
        del self.native  # and its memory
        # The native stage decodes the codes again, with what their gradient needs.
        self._lay_out(torch.empty_like(codes), codes.new_empty(len(codes)), H.clone(), labels)
        self.native = _native.cpu().AdaptedStage(
            self.flow.native,
            self.n_threads,
            **self._arguments(),
            **code_arguments(self.problem, self.flow, codes),
        )

    def _steps_adapted(self, first: int, step_sizes: list[float]) -> list[float]:
        n_updates = self.problem.settings.updates_per_step
        return self.native.steps(first, step_sizes, n_updates, LOOK_EVERY, self.n_threads)

    def states(self) -> list[State]:
        """The entries that still sound, and their activations."""
        log_likelihoods = None
        if self.problem.flow is not None:
            log_likelihoods = self._alive("log_likelihoods").clone()
        state = State(
            self._alive("entries").clone().T,
            self._alive("activations").clone(),
            log_likelihoods,
            self._alive("labels").long(),
        )
        return [state]
