"""The objective against its formula and autograd, in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dds_fast import ops

LAMBDA, MU = 0.3, 0.2  # large, so that their gradients count


def draw(per_frame: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    F, T, J = 7, 5, 6
    W = normal(J, F, T) if per_frame else normal(F, J)
    return normal(F, T).abs(), W, normal(J, T), normal(J, T) if per_frame else normal(J)


def formula(X: Tensor, W: Tensor, H: Tensor, log_likelihoods: Tensor, epsilon: float) -> Tensor:
    """The objective (docs/method.md) and the l1 norm of H, written with loops."""
    W, H = torch.relu(W), torch.relu(H)
    approximation = torch.zeros_like(X)
    penalty = torch.zeros((), dtype=torch.float64)
    for t in range(X.shape[1]):
        total = H[:, t].sum() + epsilon
        for j in range(H.shape[0]):
            entry = W[j, :, t] if W.ndim == 3 else W[:, j]
            likelihood = log_likelihoods[j, t] if W.ndim == 3 else log_likelihoods[j]
            approximation = approximation.clone()
            approximation[:, t] += H[j, t] * entry
            penalty = penalty + H[j, t] / total * likelihood
    return torch.linalg.norm(X - approximation) - LAMBDA * penalty + MU * H.sum()


@pytest.mark.parametrize("per_frame", [False, True], ids=["shared", "per-frame"])
def test_value_and_gradients_are_those_of_the_formula(per_frame: bool) -> None:
    X, *variables = draw(per_frame)
    for variable in variables:
        variable.requires_grad_()
    epsilon = 1e-7 if per_frame else 1e-3
    expected = formula(X, *variables, epsilon)
    expected_gradients = torch.autograd.grad(expected, variables)
    cost = ops.objective(X, *variables, penalty=LAMBDA, sparsity=MU)
    torch.testing.assert_close(cost, expected, rtol=1e-12, atol=1e-12)
    for gradient, reference in zip(
        torch.autograd.grad(cost, variables), expected_gradients, strict=True
    ):
        torch.testing.assert_close(gradient, reference, rtol=1e-10, atol=1e-12)


@pytest.mark.gradcheck
@pytest.mark.parametrize("per_frame", [False, True], ids=["shared", "per-frame"])
def test_gradcheck(per_frame: bool) -> None:
    X, *variables = draw(per_frame)
    inputs = [v.requires_grad_() for v in variables]
    assert torch.autograd.gradcheck(
        lambda W, H, likelihoods: ops.objective(X, W, H, likelihoods, penalty=LAMBDA), inputs
    )


def test_perfect_fit_has_zero_gradient() -> None:
    W, H = torch.rand(4, 3).double().requires_grad_(), torch.rand(3, 5).double().requires_grad_()
    X = (W @ H).detach()
    cost = ops.objective(X, W, H, torch.zeros(3).double(), penalty=0.0)
    for gradient in torch.autograd.grad(cost, (W, H)):
        assert torch.equal(gradient, torch.zeros_like(gradient))


def test_cost_of_float32_input_is_accumulated_in_float64() -> None:
    X = torch.full((512, 4000), 1e-3)
    cost = ops.objective(X, torch.zeros(512, 2), torch.zeros(2, 4000), torch.zeros(2), penalty=0.0)
    exact = float(X[0, 0].double()) * (512 * 4000) ** 0.5
    assert cost.dtype == torch.float64
    assert abs(float(cost) / exact - 1) < 1e-10  # float32 sums: 1e-6


def test_double_backward_raises() -> None:
    X, W, H, likelihoods = draw(False)
    cost = ops.objective(X, W, H.requires_grad_(), likelihoods, penalty=LAMBDA)
    (gradient,) = torch.autograd.grad(cost, H, create_graph=True)
    with pytest.raises(RuntimeError, match="double backward"):
        gradient.sum().backward()


@pytest.mark.parametrize(
    ("W", "H", "likelihoods"),
    [
        ((7, 6), (5, 5), (6,)),
        ((8, 6), (6, 5), (6,)),
        ((7, 6), (6, 4), (6,)),
        ((7, 6), (6, 5), (6, 5)),
        ((6, 7, 5), (6, 5), (6,)),
    ],
)
def test_shapes_that_do_not_fit_are_refused(W: tuple, H: tuple, likelihoods: tuple) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        ops.objective(
            torch.rand(7, 5), torch.rand(W), torch.rand(H), torch.rand(likelihoods), penalty=0.1
        )


def test_other_backends_are_refused() -> None:
    X, W, H, likelihoods = draw(False)
    with pytest.raises(ValueError, match="no backend 'triton'"):
        ops.objective(X, W, H, likelihoods, penalty=0.1, backend="triton")
