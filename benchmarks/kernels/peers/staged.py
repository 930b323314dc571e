"""The staged search as most people would write it: autograd and ``torch.optim.Adam``.

Multiplicative updates in plain PyTorch, the flow in one batch (see batched.py), and the gradient of
the objective to the codes by autograd. The entries are chosen by the library's own rule. Entries
that have died are not left out, so that costs are comparable, not equal.
"""

from __future__ import annotations

import math

import torch
from kernels.peers import Decode, batched
from torch import Tensor

from dds_fast.search import Schedule, StagedProblem, State, staged


def search(problem: StagedProblem, schedule: Schedule) -> tuple[list[float], State]:
    """All stages of one recording: the costs, the initial one first, and where it ends."""
    settings = problem.settings
    assert problem.flow is not None and problem.Z is not None and settings.adapt
    fixed = batched.decoder(problem.flow)
    with torch.no_grad():
        D, likelihoods = _entries(problem, fixed, problem.Z)
        H = staged.initial_activations(problem.X, D)
        costs = [float(_cost(problem, D, H, likelihoods))]
        for done in range(0, settings.fixed_updates, staged.LOOK_EVERY):
            n_updates = min(staged.LOOK_EVERY, settings.fixed_updates - done)
            H = _updated(problem.X, D, H, settings.fixed_sparsity, n_updates, power=1.5)
            costs.append(float(_cost(problem, D, H, likelihoods)))
        kept, H = staged.chosen(D, H, problem.labels, problem.n_sources, settings)
    codes, labels = problem.Z.flatten(0, 1)[kept], problem.labels[kept]
    n_steps = schedule.max_steps - len(costs) + 1
    for attempt in range(staged.MOST_RESTARTS + 1):
        step_size = schedule.step_size * staged.SMALLER**attempt
        adapted, state = _adapted(problem, codes, H, labels, step_size, n_steps)
        most = costs[-1] + staged.LOST * abs(costs[0])
        if n_steps < staged.LOOK_EVERY or adapted[-1] <= most:
            break
    return costs + adapted, state


def _adapted(
    problem: StagedProblem, codes: Tensor, H: Tensor, labels: Tensor, step_size: float, n_steps: int
) -> tuple[list[float], State]:
    """The stage in which the codes move: its costs, and where it ends."""
    assert problem.flow is not None
    flow, Z, rows = staged.gathered(problem.flow, codes, labels)
    decode, costs = batched.decoder(flow), []
    held, free = Z.tensor_split([problem.n_fixed], dim=-1)
    free = free.clone().requires_grad_()
    adam = torch.optim.Adam([free], lr=step_size)
    for step in range(n_steps):
        adam.param_groups[0]["lr"] = step_size * (1 - (1 - staged.LAST_STEP) * step / n_steps)
        adam.zero_grad()
        D, likelihoods = _entries(problem, decode, torch.cat([held, free], -1))
        _cost(problem, D[rows], H, likelihoods[rows]).backward()
        adam.step()
        with torch.no_grad():
            D, likelihoods = _entries(problem, decode, torch.cat([held, free], -1))
            D, likelihoods = D[rows], likelihoods[rows]
            if step % staged.LOOK_EVERY == 0:
                weights = _weights(problem, D, H, labels)
            H = _updated(problem.X, D, H, weights, problem.settings.updates_per_step)
            costs.append(float(_cost(problem, D, H, likelihoods)))
    return costs, State(D.T, H, likelihoods, labels)


def _entries(problem: StagedProblem, decode: Decode, Z: Tensor) -> tuple[Tensor, Tensor]:
    """Entries ``(J, F)`` and their log-likelihoods."""
    free = Z[..., problem.n_fixed :]
    likelihoods = -0.5 * math.log(2 * math.pi) - free.square().sum(-1) / (2 * free.shape[-1])
    return torch.relu(decode(Z)[0]).flatten(0, 1), likelihoods.flatten()


def _cost(problem: StagedProblem, D: Tensor, H: Tensor, likelihoods: Tensor) -> Tensor:
    shares = H / (H.sum(0) + problem.epsilon)
    residual = torch.linalg.norm(problem.X - D.T @ H)
    return residual - problem.settings.penalty * (shares.sum(1) @ likelihoods)


def _updated(
    X: Tensor, D: Tensor, H: Tensor, weights: Tensor | float, n_updates: int, power: float = 1.0
) -> Tensor:
    numerator, norms = D @ X, D.norm(dim=1)[:, None]
    gram = D @ D.T if len(D) < 2 * D.shape[1] else None
    for _ in range(n_updates):
        explained = D @ (D.T @ H) if gram is None else gram @ H
        ratio = numerator / (explained + weights * norms + staged.TINY)
        H = H * (ratio if power == 1 else ratio**power)
    return H


def _weights(problem: StagedProblem, D: Tensor, H: Tensor, labels: Tensor) -> Tensor:
    """``(J, T)`` weights of the reweighted l1 norm."""
    settings = problem.settings
    activity = staged.activity(D, H, labels, problem.n_sources)
    activity = staged.smoothed(activity, settings.smoothing)
    u = 1 / (activity / (activity.amax(0) + staged.TINY) + settings.floor)
    return settings.sparsity * (u / u.mean())[labels]
