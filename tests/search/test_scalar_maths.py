"""What kernels compute between their products, against float64: those of each instruction-set
level, and those of CUDA, compiled for the host."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
import torch

from dds_fast.search.gpu.cuda_weights import rounded_to_tf32

MAX_ULP = 3.0


Values = Callable[[str, np.ndarray], np.ndarray]


def values_of(probe: ModuleType, level: str) -> Values:
    def values(function: str, x: np.ndarray) -> np.ndarray:
        y = np.full_like(x, np.nan)
        probe.elementwise(level, function, x.ctypes.data, y.ctypes.data, x.size)
        return y

    return values


@pytest.fixture
def values(probe: ModuleType) -> Values:
    """A function of the CUDA kernels by its name, over an array."""
    return values_of(probe, "cuda")


def grid(low: float, high: float) -> np.ndarray:
    tiny = np.logspace(-37, 0, 50_001)
    x = np.concatenate([np.linspace(low, high, 1_000_003), tiny, -tiny])
    return x[(x >= low) & (x <= high)].astype(np.float32)


SCALE, ALPHA = 1.0507009873554805, 1.6732632423543772


ACCURATE = {
    "exp": (np.exp, -103.0, 88.7),
    "expm1_negative": (np.expm1, -100.0, 0.0),
    "tanh": (np.tanh, -12.0, 12.0),
    "selu": (lambda x: SCALE * np.where(x > 0, x, ALPHA * np.expm1(x)), -30.0, 30.0),
    "leaky_relu": (lambda x: np.where(x > 0, x, 0.01 * x), -30.0, 30.0),
}
SPECIAL = {
    "exp": (np.exp, [0.0, -0.0, np.inf, -np.inf, np.nan, 89.0, 1e30, -110.0, -1e30]),
    "expm1_negative": (np.expm1, [0.0, -np.inf, np.nan, -1e30]),
    "tanh": (np.tanh, [0.0, -0.0, np.inf, -np.inf, np.nan, 1e30, -1e30, 1e-42]),
    "clipped": (lambda x: np.where(x < 0, 0, x), [0.0, 1.0, -1.0, np.nan, np.inf, -np.inf]),
}
OF_LEVELS = ["exp", "expm1_negative", "tanh"]


def check_accuracy(values: Values, function: str) -> None:
    exact, low, high = ACCURATE[function]
    x = grid(low, high)
    with np.errstate(over="ignore"):
        expected = exact(x.astype(np.float64))
    ulp = np.abs(values(function, x) - expected) / np.spacing(np.abs(expected).astype(np.float32))
    assert ulp.max() <= MAX_ULP, f"{ulp.max():.2f} ulp at {x[ulp.argmax()]}"


def check_special_values(values: Values, function: str) -> None:
    exact, x = SPECIAL[function]
    given = np.array(x, dtype=np.float32)
    with np.errstate(over="ignore"):
        expected = exact(given)
    actual = values(function, given)
    np.testing.assert_array_equal(actual, expected)
    number = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(actual[number]), np.signbit(expected[number]))


@pytest.mark.parametrize("function", ACCURATE)
def test_accuracy(values: Values, function: str) -> None:
    check_accuracy(values, function)


@pytest.mark.parametrize("function", SPECIAL)
def test_special_values(values: Values, function: str) -> None:
    check_special_values(values, function)


@pytest.mark.parametrize("function", OF_LEVELS)
def test_accuracy_at_each_level(level: str, probe: ModuleType, function: str) -> None:
    check_accuracy(values_of(probe, level), function)


@pytest.mark.parametrize("function", OF_LEVELS)
def test_special_values_at_each_level(level: str, probe: ModuleType, function: str) -> None:
    check_special_values(values_of(probe, level), function)


@pytest.mark.parametrize("activation", ["selu", "leaky_relu"])
def test_slopes_are_derivatives(values: Values, activation: str) -> None:
    x = torch.linspace(-8, 8, 1001, dtype=torch.float64, requires_grad=True)
    function = getattr(torch.nn.functional, activation)
    (expected,) = torch.autograd.grad(function(x).sum(), x)
    y = values(activation, x.detach().float().numpy())
    np.testing.assert_allclose(values(activation + "_slope", y), expected, rtol=2e-6, atol=2e-7)


@pytest.mark.parametrize("decode", [False, True])
def test_affine_map_and_its_gradient(probe: ModuleType, decode: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    n = 1000
    x = torch.randn(n, 5, generator=generator)  # input, raw, translation, alpha, beta
    grad, grad_log_det = torch.randn(2, n, generator=generator)

    exact = [column.double().requires_grad_() for column in x.T]
    value, raw, translation, alpha, beta = exact
    s = alpha * raw.tanh() + beta
    result = (value - translation) * (-s).exp() if decode else value * s.exp() + translation
    log_det = -s if decode else s
    expected = torch.autograd.grad(
        [result, log_det], [value, raw, translation], [grad.double(), grad_log_det.double()]
    )

    flag = torch.full((n, 1), float(decode))
    given, y = torch.cat([flag, x], 1).contiguous(), torch.full((n, 3), torch.nan)
    probe.affine(given.data_ptr(), y.data_ptr(), n)
    for column, truth in zip(y.T, (raw.tanh(), s, result), strict=True):
        torch.testing.assert_close(column.double(), truth.detach(), rtol=5e-6, atol=5e-6)

    moved = result if decode else value
    columns = [flag[:, 0], grad, y[:, 0], moved.detach().float(), x[:, 3], x[:, 4], grad_log_det]
    given, gradient = torch.stack(columns, 1).contiguous(), torch.full((n, 3), torch.nan)
    probe.affine_backward(given.data_ptr(), gradient.data_ptr(), n)
    for column, truth in zip(gradient.T, expected, strict=True):
        torch.testing.assert_close(column.double(), truth, rtol=2e-5, atol=2e-5)


def test_rounding_is_to_nearest_even(values: Values) -> None:
    bits = torch.randint(-(2**31), 2**31, (200_000,), generator=torch.Generator().manual_seed(0))
    x = bits.to(torch.int32).view(torch.float32)
    x = x[x.isfinite() & (x.abs() < 1e38) & (x.abs() > 1e-37)]
    halfway = x.view(torch.int32) & ~0x1FFF | 0x1000
    x = torch.cat([x, halfway.view(torch.float32)])
    actual = torch.from_numpy(values("round_to_bfloat16", x.numpy()))
    assert torch.equal(actual, x.bfloat16().float())
    actual = torch.from_numpy(values("round_to_tf32", x.numpy()))
    # In float64, to 11 significant bits; Python's rule is ties to even as well.
    mantissa, exponent = np.frexp(x.double().numpy())
    expected = np.ldexp(np.round(mantissa * 2**11) / 2**11, exponent)
    assert torch.equal(actual, torch.from_numpy(expected).float())
    assert torch.equal(rounded_to_tf32(x), actual)
