"""A flow with dense mixing (the Glow) through the Triton kernels: one launch per layer."""

from __future__ import annotations

import torch
from torch import Tensor

from dds_fast.flows.frozen import FrozenFlow
from dds_fast.search.gpu.weights import Stash, Tiles, kernels, power_of_two, weights_of


def tiles(n_rows: int, precision: str) -> Tiles:
    """Programs share out a layer; where rows are few, many of them along its features."""
    k = 64 if precision == "bfloat16" else 32
    r = power_of_two(n_rows, 16, 64)
    if n_rows <= 64:
        return Tiles(16, k, r, 4)
    if n_rows <= 512:
        return Tiles(64, k, r, 4)
    return Tiles(128, k, r, 8)


def mixing_precision(precision: str) -> str:
    """The mixing of a bfloat16 flow is more exact: it would round the state at every step."""
    return "bf16x3" if precision == "bfloat16" else precision


class LayeredFlow:
    """A frozen flow in one direction. All its groups take part, in order."""

    def __init__(self, flow: FrozenFlow, direction: str) -> None:
        self.flow, self.direction = flow, direction
        first = flow.steps[0].coupling
        self.activation = first.activation
        self.widths = [w.shape[1] for w in first.weights[:-1]]
        self.constants = flow.log_det.float() * (1 if direction == "decode" else -1)
        self.mixings = [step.affine(direction) for step in flow.steps]
        indices = range(len(flow.steps))
        self.order = list(indices if direction == "encode" else reversed(indices))

    def forward(
        self, rows: Tensor, keep: bool, precision: str, groups: Tensor
    ) -> tuple[Tensor, Tensor, Stash | None]:
        """``(G, R, F)`` rows, the ``(G, R)`` log-determinant and, if asked for, the stash."""
        G, R, F = rows.shape
        run = _Pass(self, rows, precision)
        n_kept = len(self.order) if keep else 1
        hidden = rows.new_empty(
            n_kept,
            G,
            sum(self.widths),
            run.pitch,
            dtype=weights_of(self.flow, precision).layers.dtype,
        )
        moving = rows.new_empty(n_kept if keep else 0, G, F // 2 * 2, run.pitch)
        log_dets = rows.new_empty(len(self.order), G, -(-(F // 2) // run.tiles.m), run.pitch)
        out, log_det = torch.empty_like(rows), rows.new_zeros(G, R)
        if rows.numel():
            state = run.state_of(rows)
            for i in self.order:
                kept = i if keep else 0
                if self.direction == "encode":
                    state = run.mix(i, state)
                run.couple(
                    i, state, hidden[kept], moving[kept] if keep else moving, log_dets[i], keep
                )
                if self.direction == "decode":
                    state = run.mix(i, state)
            run.rows_of(state, out)
            log_det = log_dets.sum((0, 2))[:, :R] + self.constants[:, None]
        return out, log_det, Stash(hidden, moving, precision, groups) if keep else None

    def backward(self, stash: Stash, grad_out: Tensor, grad_log_det: Tensor) -> Tensor:
        """Gradient to the rows of `forward`."""
        grad_in = torch.empty_like(grad_out)
        if grad_out.numel():
            run = _Pass(self, grad_out, stash.precision)
            grad = run.state_of(grad_out)
            for i in reversed(self.order):
                if self.direction == "decode":
                    grad = run.unmix_gradient(i, grad)
                run.couple_gradient(i, grad, stash.hidden[i], stash.moving[i], grad_log_det)
                if self.direction == "encode":
                    grad = run.unmix_gradient(i, grad)
            run.rows_of(grad, grad_in)
        return grad_in


class _Pass:
    """The launches of one pass over rows of one shape."""

    def __init__(self, layered: LayeredFlow, rows: Tensor, precision: str) -> None:
        self.layered, self.precision = layered, precision
        self.G, self.R, self.F = rows.shape
        self.pitch = -(-self.R // 16) * 16
        self.tiles = tiles(self.R, precision)
        self.weights = weights_of(layered.flow, precision)
        self.new = rows.new_empty

    def _grid(self, n_features: int) -> tuple[int, int, int]:
        return -(-n_features // self.tiles.m), -(-self.R // self.tiles.r), self.G

    def state_of(self, rows: Tensor) -> Tensor:
        state = self.new(self.G, self.F, self.pitch)
        kernels("layered").rows_to_state_kernel[self._grid(self.F)](
            rows, state, self.R, self.pitch, FEATURES=self.F, **self.tiles.elementwise
        )
        return state

    def rows_of(self, state: Tensor, rows: Tensor) -> None:
        kernels("layered").state_to_rows_kernel[self._grid(self.F)](
            state, rows, self.R, self.pitch, FEATURES=self.F, **self.tiles.elementwise
        )

    def _dense(
        self,
        weights: Tensor,
        biases: Tensor,
        vectors: Tensor,
        target: Tensor,
        activation: str,
        precision: str,
    ) -> None:
        n_out, n_in = target.shape[1], vectors.shape[1]
        kernels("layered").hidden_kernel[self._grid(n_out)](
            weights, biases, vectors, target, self.R, self.pitch,
            weights.stride(0), biases.stride(0), vectors.stride(0), target.stride(0),
            N_OUT=n_out, N_IN=n_in, ACTIVATION=activation, PRECISION=precision,
            **self.tiles.product,
        )  # fmt: skip

    def mix(self, i: int, state: Tensor) -> Tensor:
        matrix, bias = self.layered.mixings[i]
        mixed = torch.empty_like(state)
        self._dense(matrix, bias, state, mixed, "none", mixing_precision(self.precision))
        return mixed

    def unmix_gradient(self, i: int, grad: Tensor) -> Tensor:
        matrix, _ = self.layered.mixings[i]
        unmixed = torch.empty_like(grad)
        precision = mixing_precision(self.precision)
        self._dense_gradient(matrix, grad, grad, unmixed, "none", precision)
        return unmixed

    def couple(
        self, i: int, state: Tensor, hidden: Tensor, moving: Tensor, log_dets: Tensor, keep: bool
    ) -> None:
        """A coupling step on the state, in place."""
        layers, biases = self.weights.layers[i], self.weights.biases[i]
        vectors, first = state[:, : self.F - self.F // 2], 0
        for layer, n_out in enumerate(self.layered.widths):
            target = hidden[:, first : first + n_out]
            self._dense(
                layers[:, self.weights.offsets[layer] :],
                biases[:, self.weights.bias_offsets[layer] :],
                vectors, target, self.layered.activation, self.precision,
            )  # fmt: skip
            vectors, first = target, first + n_out
        kernels("layered").moving_kernel[self._grid(self.F // 2)](
            layers[:, self.weights.offsets[-1] :], biases[:, self.weights.bias_offsets[-1] :],
            self.weights.alpha[i], self.weights.beta[i], vectors, state, moving, log_dets,
            self.R, self.pitch, layers.stride(0), biases.stride(0), vectors.stride(0),
            FEATURES=self.F, N_IN=vectors.shape[1], ENCODE=self.layered.direction == "encode",
            KEEP=keep, PRECISION=self.precision, **self.tiles.product,
        )  # fmt: skip

    def _dense_gradient(
        self,
        weights: Tensor,
        grad: Tensor,
        hidden: Tensor,
        target: Tensor,
        activation: str,
        precision: str,
    ) -> None:
        n_out, n_in = grad.shape[1], target.shape[1]
        kernels("layered").gradient_kernel[self._grid(n_in)](
            weights, grad, hidden, target, self.R, self.pitch, weights.stride(0), hidden.stride(0),
            N_OUT=n_out, N_IN=n_in, ACTIVATION=activation, PRECISION=precision,
            **self.tiles.product,
        )  # fmt: skip

    def couple_gradient(
        self, i: int, grad_state: Tensor, hidden: Tensor, moving: Tensor, grad_log_det: Tensor
    ) -> None:
        """The gradient of `couple`, in place."""
        layers = self.weights.layers[i]
        grad = self.new(self.G, self.F // 2 * 2, self.pitch)
        kernels("layered").moving_gradient_kernel[self._grid(self.F // 2)](
            self.weights.alpha[i], self.weights.beta[i], grad_log_det, grad_state, moving, grad,
            self.R, self.pitch, FEATURES=self.F, ENCODE=self.layered.direction == "encode",
            **self.tiles.elementwise,
        )  # fmt: skip
        first = sum(self.layered.widths)
        for layer, n_in in reversed(list(enumerate(self.layered.widths))):
            first -= n_in
            target = self.new(self.G, n_in, self.pitch)
            self._dense_gradient(
                layers[:, self.weights.offsets[layer + 1] :], grad,
                hidden[:, first : first + n_in], target, self.layered.activation, self.precision,
            )  # fmt: skip
            grad = target
        kernels("layered").passing_gradient_kernel[self._grid(self.F - self.F // 2)](
            layers, grad, grad_state, self.R, self.pitch, layers.stride(0),
            N_OUT=grad.shape[1], FEATURES=self.F, PRECISION=self.precision, **self.tiles.product,
        )  # fmt: skip
