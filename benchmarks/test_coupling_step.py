"""The grouped coupling step: compiled kernel beside batched PyTorch, values checked first.

    pytest benchmarks/test_coupling_step.py --benchmark-json benchmarks/results/coupling_step.json

Ratios of medians count, on an idle machine; absolute times depend on it.
"""

from __future__ import annotations

from functools import partial

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from dds_fast.flows.coupling import CouplingStep
from dds_fast.ops.coupling_step import BACKENDS, reference

SHAPES = {
    # name: groups, rows, features, width, hidden layers, activation
    "bank K=1": (60, 1, 512, 128, 4, "selu"),
    "bank K=5": (60, 5, 512, 128, 4, "selu"),
    "bank K=20": (60, 20, 512, 128, 4, "selu"),
    "glow w=256, 60 rows": (1, 60, 512, 256, 3, "leaky_relu"),
    "glow w=256, 1200 rows": (1, 1200, 512, 256, 3, "leaky_relu"),
    "glow w=1024, 1200 rows": (1, 1200, 512, 1024, 3, "leaky_relu"),
}
LARGEST_ERROR = 5e-6
"""RMS ratio to the float64 reference above which no time is reported."""


def error(actual: torch.Tensor, expected: torch.Tensor) -> float:
    return float((actual.double() - expected).norm() / expected.norm())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("shape", SHAPES)
def test_decode(shape: str, direction: str, backend: str, benchmark: BenchmarkFixture) -> None:
    groups, rows, n_features, width, depth, activation = SHAPES[shape]
    torch.manual_seed(0)
    step = CouplingStep(groups, n_features, width, depth, activation)
    coupling, module = step.freeze(), BACKENDS[backend]
    exact = coupling.map(lambda t: t.double())
    y, grad = torch.randn(2, groups, rows, n_features)
    benchmark.group = f"{shape}, {direction}"
    benchmark.extra_info |= {
        "multiply_adds": rows * sum(w.numel() for w in coupling.weights),
        "weight_bytes": 4 * sum(w.numel() for w in coupling.weights),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    with torch.no_grad():
        x, log_det, stash = module.forward(coupling, y, "decode", True)
        x_exact, log_det_exact, stash_exact = reference.forward(exact, y.double(), "decode", True)
        errors = [error(x, x_exact), error(log_det, log_det_exact)]
        timed = partial(module.forward, coupling, y, "decode", True)
        if direction == "backward":
            gradient = module.backward(coupling, stash, grad, None, "decode")
            expected = reference.backward(exact, stash_exact, grad.double(), None, "decode")
            errors = [error(gradient, expected)]
            timed = partial(module.backward, coupling, stash, grad, None, "decode")
        benchmark.extra_info["error"] = max(errors)
        assert max(errors) < LARGEST_ERROR
        benchmark(timed)
