"""The alternating search as most people would write it: autograd and ``torch.optim.Adam``."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from kernels.peers import Decode
from torch import Tensor

from dds_fast.flows.cuda_graph import Graphed
from dds_fast.search import Controller, Problem, Schedule, Search, State


class AutogradSearch(Search):
    """Adam on Z, then Adam on H, each with the gradient of the objective by autograd.

    Plain, each half-step decodes: two decodes and one backward of the flow per update step. With
    `share_decode`, the decode after the step on Z serves the step on H and, by its graph, the next
    step on Z: one decode and one backward, which is all that PyTorch can save.

    The cost of a step is known when the next one begins, so the history is one entry short.
    """

    def __init__(
        self, problem: Problem, schedule: Schedule, decode: Decode, share_decode: bool
    ) -> None:
        assert problem.Z is not None and problem.likelihood == "latent"
        self.problem, self.decode, self.share_decode = problem, decode, share_decode
        self.controllers = [Controller(schedule)]
        self.most_steps = schedule.max_steps
        self.fixed, free = problem.Z.tensor_split([problem.n_fixed], dim=-1)
        self.Z = free.clone().requires_grad_()
        self.H = problem.H.clone().requires_grad_()
        self.adam_Z, self.adam_H = (self._adam(variable) for variable in (self.Z, self.H))
        self.decoded: Tensor | None = None

    def _adam(self, variable: Tensor) -> torch.optim.Adam:
        return torch.optim.Adam([variable], lr=self.controller.schedule.step_size)

    def _decode(self, Z: Tensor) -> Tensor:
        return self.decode(torch.cat([self.fixed, Z], dim=-1))[0]

    def _cost(self, x: Tensor, Z: Tensor, H: Tensor) -> Tensor:
        problem, dictionary, active = self.problem, torch.relu(x), torch.relu(H)
        n_free = Z.shape[-1]
        likelihoods = -0.5 * math.log(2 * math.pi) - Z.square().sum(-1) / (2 * n_free)
        if problem.per_frame:
            approximation = torch.einsum("stf,st->ft", dictionary, active)
        else:
            approximation = dictionary.flatten(0, 1).T @ active
            likelihoods = likelihoods.flatten()[:, None]
        shares = active / (active.sum(0) + problem.epsilon)
        residual = torch.linalg.norm(problem.X - approximation)
        cost = residual - problem.penalty * (shares * likelihoods).sum()
        return cost + problem.sparsity * active.sum() if problem.sparsity else cost

    @staticmethod
    def _move(adam: torch.optim.Adam, step_size: float, cost: Tensor) -> None:
        adam.param_groups[0]["lr"] = step_size
        adam.zero_grad()
        cost.backward()
        adam.step()

    def advance(self, n_steps: int = 1) -> None:
        for _ in range(n_steps):
            x = self._decode(self.Z) if self.decoded is None else self.decoded
            cost = self._cost(x, self.Z, self.H.detach())
            self.controller.observe(cost.item())
            if self.controller.stop_reason is not None:
                return
            self._move(self.adam_Z, self.controller.step_size, cost)
            if self.share_decode:
                x = self.decoded = self._decode(self.Z)
            else:
                x = self._decode(self.Z.detach())
            cost = self._cost(x.detach(), self.Z.detach(), self.H)
            self._move(self.adam_H, self.controller.step_size, cost)

    @torch.no_grad()
    def states(self) -> list[State]:
        x = self._decode(self.Z).clamp_min(0)
        if not self.problem.per_frame:
            x = x.flatten(0, 1)
        return [State(x.transpose(-1, -2), self.H.clamp_min(0), None)]


def starter(decode: Decode, share_decode: bool) -> Callable[[Problem, Schedule], Search]:
    """What `cases.start` is for the library: begins the search of one recording."""
    return lambda problem, schedule: AutogradSearch(problem, schedule, decode, share_decode)


class DeviceSearch(AutogradSearch):
    """The same with one decode per step, all of it replayed from a CUDA graph.

    A replay is the decode, the step on H, the cost, and the next step on Z: that order lets the
    decode's autograd graph live and die within it. The first step on Z is made beforehand. The
    schedule sees the costs when the steps of an `advance` are done, so the step size stays until
    then.
    """

    def __init__(self, problem: Problem, schedule: Schedule, decode: Decode) -> None:
        super().__init__(problem, schedule, decode, share_decode=True)
        device = problem.X.device
        self.step_size = torch.tensor(schedule.step_size, device=device)
        for adam in (self.adam_Z, self.adam_H):
            adam.param_groups[0]["lr"] = self.step_size
        self.replay = Graphed(self._step, device)

    def _adam(self, variable: Tensor) -> torch.optim.Adam:
        on_gpu = variable.device.type == "cuda"
        return torch.optim.Adam([variable], fused=True, capturable=on_gpu)

    @staticmethod
    def _descend(adam: torch.optim.Adam, cost: Tensor) -> None:
        adam.zero_grad()
        cost.backward()
        adam.step()

    def _step(self) -> tuple[Tensor, Tensor, Tensor]:
        """The dictionary, H and the cost before the step on Z that ends it."""
        x = self._decode(self.Z)
        self._descend(self.adam_H, self._cost(x.detach(), self.Z.detach(), self.H))
        H = self.H.detach().clone()
        cost = self._cost(x, self.Z, H)
        self._descend(self.adam_Z, cost)
        return x.detach(), H, cost.detach()

    def advance(self, n_steps: int = 1) -> None:
        costs = []
        if self.decoded is None:
            cost = self._cost(self._decode(self.Z), self.Z, self.H.detach())
            self._descend(self.adam_Z, cost)
            costs.append(cost.detach())
        for _ in range(n_steps):
            self.decoded, self.active, cost = self.replay()
            costs.append(cost.clone())
        for value in torch.stack(costs).tolist():
            self.controller.observe(value)
        self.step_size.fill_(self.controller.step_size)

    def states(self) -> list[State]:
        assert self.decoded is not None
        x = self.decoded.clamp_min(0)
        if not self.problem.per_frame:
            x = x.flatten(0, 1)
        return [State(x.transpose(-1, -2), self.active.clamp_min(0), None)]


def device_starter(decode: Decode) -> Callable[[Problem, Schedule], Search]:
    """`starter` for a `DeviceSearch`."""
    return lambda problem, schedule: DeviceSearch(problem, schedule, decode)
