"""The reference coupling against its definition and autograd, in float64."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor

from dds_fast.flows.frozen import Coupling
from dds_fast.flows.reference import coupling as reference

DIRECTIONS = ("encode", "decode")


def normal(*shape: int, random_state: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(random_state)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def make_coupling(activation: str = "selu", groups: int = 2) -> Coupling:
    sizes = [4, 5, 5, 6]
    weights = [normal(groups, b, a) / a**0.5 for a, b in zip(sizes, sizes[1:], strict=False)]
    biases = [normal(groups, size, random_state=1) for size in sizes[1:]]
    ends = normal(2, groups, random_state=2)
    return Coupling(tuple(weights), tuple(biases), ends[0], ends[1], activation)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("activation", ["selu", "leaky_relu"])
@pytest.mark.parametrize("of", ["both", "output", "log-det"])
def test_gradient_is_that_of_autograd(of: str, activation: str, direction: str) -> None:
    coupling, x = make_coupling(activation), normal(2, 3, 7, random_state=3).requires_grad_()
    out, log_det, stash = reference.forward(coupling, x, direction)
    grad_out, grad_log_det = normal(2, 3, 7, random_state=4), normal(2, 3, random_state=5)
    if of == "output":
        (expected,) = torch.autograd.grad(out, x, grad_out)
        grad_log_det = None
    elif of == "log-det":
        (expected,) = torch.autograd.grad(log_det, x, grad_log_det)
        grad_out = torch.zeros_like(x)
    else:
        (expected,) = torch.autograd.grad([out, log_det], x, [grad_out, grad_log_det])
    actual = reference.backward(coupling, stash, grad_out, grad_log_det, direction)
    torch.testing.assert_close(actual.detach(), expected)


@pytest.mark.gradcheck
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("activation", ["selu", "leaky_relu"])
def test_gradcheck(activation: str, direction: str) -> None:
    forward = partial(reference.forward, make_coupling(activation), direction=direction, keep=False)
    assert torch.autograd.gradcheck(lambda x: forward(x)[:2], normal(2, 3, 7).requires_grad_())


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_log_det_is_that_of_the_jacobian(direction: str) -> None:
    forward = partial(reference.forward, make_coupling(groups=1), direction=direction)
    x = normal(1, 1, 7)
    jacobian = torch.autograd.functional.jacobian(lambda x: forward(x)[0], x)
    expected = torch.linalg.slogdet(jacobian.reshape(7, 7)).logabsdet
    torch.testing.assert_close(forward(x)[1][0, 0], expected)


def test_decode_inverts_encode() -> None:
    coupling, x = make_coupling(), normal(2, 3, 7)
    y, log_det, _ = reference.forward(coupling, x, "encode")
    back, log_det_back, _ = reference.forward(coupling, y, "decode")
    torch.testing.assert_close(back, x)
    torch.testing.assert_close(log_det_back, -log_det)


def test_parameters_that_do_not_fit_are_refused() -> None:
    given = make_coupling()
    rest = given.biases, given.alpha, given.beta
    with pytest.raises(ValueError, match=r"biases\[0\] must be \(2, 3\), not \(2, 5\)"):
        Coupling((given.weights[0][:, :3], *given.weights[1:]), *rest, "selu")
    with pytest.raises(ValueError, match=r"weights\[1\] must be \(2, out, 5\), not \(2, 5, 4\)"):
        Coupling((given.weights[0], given.weights[1][..., 1:], given.weights[2]), *rest, "selu")
    with pytest.raises(ValueError, match="activation must be one of"):
        Coupling(given.weights, *rest, "tanh")
