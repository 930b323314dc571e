r"""The staged search in plain PyTorch, with analytic gradients and no autograd graph.

Fixed stage, all entries as they are, with the Gram matrix or without, whichever is cheaper:

.. math:: H \leftarrow H \odot \left(\frac{W^T X}{W^T W H + \mu_0 |w_j|}\right)^{3/2}

(the power 1 is Lee and Seung's update; 3/2 over-relaxes it, and 60 updates do what 100 would).

Choice: of each source the K entries with the most activity take over all of the source's. Adapted
stage, in each step

.. math:: Z \leftarrow \text{Adam step on } \|X - W H\|_F - \lambda \sum_{jt}
          \frac{h_{jt}}{\sum_{j'} h_{j't} + \epsilon} \ell_j, \qquad W = \max(g(Z), 0), \qquad
          H \leftarrow H \odot \frac{W^T X}{W^T W H + \mu u_{st} |w_j|} \text{ (I times)},

where :math:`u_{st} = 1 / (a_{st} / \max_s a_{st} + \delta)`, scaled to a mean of one, falls with
the activity a of source s around frame t. Entries stay as they are where there are no such steps:
the updates then follow one another.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dds_fast.flows.frozen import FrozenFlow
from dds_fast.search import staged
from dds_fast.search.problem import StagedProblem, State
from dds_fast.search.reference import objective
from dds_fast.search.reference.decoder import Decoder
from dds_fast.search.schedule import Schedule
from dds_fast.search.staged import LOOK_EVERY, TINY, Chosen, Stages
from dds_fast.search.survivors import worth_dropping


class StagedSearch(Stages):
    """The search of one recording, stage by stage."""

    def __init__(self, problem: StagedProblem, schedule: Schedule) -> None:
        super().__init__(problem, schedule)
        self.Xt = problem.X.T.contiguous()
        self.labels = problem.labels
        if problem.flow is None:
            assert problem.W is not None
            self.D = problem.W.T.contiguous()
            self.log_likelihoods = self.D.new_zeros(len(self.D))
        else:
            assert problem.Z is not None
            self._decode_from(problem.flow, problem.Z)
        self.rows = torch.arange(len(self.D), device=self.D.device)
        self.H = staged.initial_activations(problem.X, self.D)
        self.controller.record(self._evaluate())

    def _decode_from(self, flow: FrozenFlow, Z: Tensor) -> None:
        problem = self.problem
        self.decoder = Decoder(flow, Z, problem.n_fixed, likelihood=problem.likelihood)
        entries, log_likelihoods = self.decoder.decode()
        self.D, self.log_likelihoods = entries.flatten(0, 1), log_likelihoods.flatten()

    def _evaluate(self) -> float:
        """The objective, and what its gradients need."""
        self.at = objective.evaluate(
            self.Xt,
            self.D,
            self.H,
            self.log_likelihoods,
            self.problem.settings.penalty,
            self.problem.epsilon,
            0.0,
        )
        return self.at.cost

    def _drop_dead(self) -> None:
        """Leave out the entries that no longer sound; `rows` tells which are left."""
        peaks = (self.H * self.D.norm(dim=1)[:, None]).amax(1)
        kept = (peaks > staged.DEAD * peaks.max()).nonzero()[:, 0]
        if not worth_dropping(len(kept), len(peaks)):
            return
        self.D, self.H, self.labels = self.D[kept], self.H[kept], self.labels[kept]
        self.log_likelihoods, self.rows = self.log_likelihoods[kept], self.rows[kept]

    def _update_activations(self, weights: Tensor, n_updates: int, over_relaxed: bool) -> None:
        """Multiplicative updates; `weights` ``(J, T)`` or ``(1, 1)`` of the l1 norm."""
        D, numerator = self.D, self.D @ self.Xt.T
        penalty = weights * D.norm(dim=1)[:, None]
        gram = D @ D.T if len(D) < 2 * D.shape[1] else None
        for _ in range(n_updates):
            explained = D @ (self.H.T @ D).T if gram is None else gram @ self.H
            ratio = numerator / (explained + penalty + TINY)
            self.H = self.H * (ratio * ratio.sqrt() if over_relaxed else ratio)

    def _reweighted(self) -> Tensor:
        """``(S, T)`` weights mu u of the sources' l1 norms."""
        settings, S = self.problem.settings, self.problem.n_sources
        activity = staged.activity(self.D, self.H, self.labels, S)
        activity = staged.smoothed(activity, settings.smoothing)
        u = 1 / (activity / (activity.amax(0) + TINY) + settings.floor)
        return settings.sparsity * u / u.mean()

    def _steps_fixed(self, n_updates: list[int], reweighted: bool) -> list[float]:
        weights, costs = self.H.new_full((1, 1), self.problem.settings.fixed_sparsity), []
        for n in n_updates:
            if reweighted:
                weights = self._reweighted()[self.labels]
            self._update_activations(weights, n, over_relaxed=True)
            self._drop_dead()
            costs.append(self._evaluate())
        return costs

    def _choose(self) -> Chosen:
        problem = self.problem
        assert problem.Z is not None
        kept, H = staged.chosen(self.D, self.H, self.labels, problem.n_sources, problem.settings)
        return problem.Z.flatten(0, 1)[self.rows[kept]], H, self.labels[kept]

    def _adapt(self, codes: Tensor, H: Tensor, labels: Tensor) -> None:
        assert self.problem.flow is not None
        self.H, self.labels = H, labels
        flow, Z, self.rows = staged.gathered(self.problem.flow, codes, labels)
        self._decode_from(flow, Z)
        self.D, self.log_likelihoods = self.D[self.rows], self.log_likelihoods[self.rows]
        self.moments = [torch.zeros_like(self.decoder.free) for _ in range(2)]
        self._evaluate()

    def _steps_adapted(self, first: int, step_sizes: list[float]) -> list[float]:
        costs = []
        for step, step_size in enumerate(step_sizes, start=first):
            self._step_codes(step, step_size)
            if step % LOOK_EVERY == 0:
                self._drop_dead()
                self.weights = self._reweighted()
            weights, n_updates = self.weights[self.labels], self.problem.settings.updates_per_step
            self._update_activations(weights, n_updates, over_relaxed=False)
            costs.append(self._evaluate())
        return costs

    def _step_codes(self, step: int, step_size: float) -> None:
        """One step of Adam (Kingma and Ba, 2015), and the entries at the new codes."""
        free, penalty = self.decoder.free, self.problem.settings.penalty
        grad_D = free.new_zeros(free.shape[0] * free.shape[1], self.D.shape[1])
        grad_l = free.new_zeros(len(grad_D))
        grad_D[self.rows] = objective.gradient_dictionary(self.at, self.D, self.H)
        grad_l[self.rows] = objective.gradient_log_likelihoods(
            self.at, self.H, self.log_likelihoods, penalty
        )
        shape = free.shape[:2]
        gradient = self.decoder.backward(grad_D.view(*shape, -1), grad_l.view(shape))
        first, second = self.moments
        first.lerp_(gradient, 0.1)
        second.lerp_(gradient.square(), 0.001)
        root = second.sqrt() / math.sqrt(1 - 0.999 ** (step + 1)) + 1e-8
        free -= step_size / (1 - 0.9 ** (step + 1)) * first / root
        entries, log_likelihoods = self.decoder.decode()
        self.D = entries.flatten(0, 1)[self.rows]
        self.log_likelihoods = log_likelihoods.flatten()[self.rows]

    def states(self) -> list[State]:
        """The entries that still sound, and their activations."""
        log_likelihoods = None if self.problem.flow is None else self.log_likelihoods.clone()
        return [State(self.D.T.clone(), self.H.clone(), log_likelihoods, self.labels.clone())]
