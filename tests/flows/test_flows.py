"""Flows against their definitions, in float64: inverse, Jacobian, freezing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from dds_fast.flows import ConditionalGlow, RealNVPBank

SHAPES = [(1, 6), (3, 9), (2, 42)]


def make(kind: str, n_sources: int, n_features: int, random_state: int = 0) -> nn.Module:
    sizes = {"n_steps": 3, "width": 5, "depth": 2, "random_state": random_state}
    if kind == "bank":
        return RealNVPBank(n_sources, n_features, **sizes).double()
    flow = ConditionalGlow(n_sources, n_features, **sizes).double()
    generator = torch.Generator().manual_seed(random_state)
    flow.initialize(torch.rand(200, n_features, generator=generator, dtype=torch.float64))
    for parameter in flow.parameters():
        with torch.no_grad():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator).double())
    return flow


def rows(kind: str, n_sources: int, n_features: int, n_rows: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    shape = (n_sources, n_rows, n_features) if kind == "bank" else (n_rows, n_features)
    return torch.rand(shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("kind", ["bank", "glow"])
@pytest.mark.parametrize(("n_sources", "n_features"), SHAPES)
def test_decode_inverts_encode(kind: str, n_sources: int, n_features: int) -> None:
    flow, x = make(kind, n_sources, n_features), rows(kind, n_sources, n_features)
    z, log_det = flow.encode(x)
    back, log_det_back = flow.decode(z)
    torch.testing.assert_close(back, x, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(log_det_back, -log_det, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("direction", ["encode", "decode"])
@pytest.mark.parametrize("kind", ["bank", "glow"])
@pytest.mark.parametrize(("n_sources", "n_features"), SHAPES)
def test_log_det_is_that_of_the_jacobian(
    kind: str, n_sources: int, n_features: int, direction: str
) -> None:
    flow, x = make(kind, n_sources, n_features), rows(kind, n_sources, n_features, n_rows=1)
    function = getattr(flow, direction)
    _, log_det = function(x)
    jacobian = torch.autograd.functional.jacobian(lambda value: function(value)[0], x)
    for source in range(n_sources if kind == "bank" else 1):
        index = (source, 0) if kind == "bank" else (0,)
        block = jacobian[(*index, slice(None), *index, slice(None))]
        expected = torch.linalg.slogdet(block)[1]
        torch.testing.assert_close(log_det[index], expected, rtol=1e-9, atol=1e-9)


def test_flows_of_a_bank_do_not_see_each_other() -> None:
    bank, x = make("bank", 3, 9), rows("bank", 3, 9)
    z, _ = bank.encode(x)
    changed = x.clone()
    changed[1] += 1
    z_changed, _ = bank.encode(changed)
    assert torch.equal(z[0], z_changed[0]) and torch.equal(z[2], z_changed[2])
    assert not torch.equal(z[1], z_changed[1])


@pytest.mark.parametrize("kind", ["bank", "glow"])
def test_seed_decides_the_weights_and_leaves_the_global_generator_alone(kind: str) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, second, other = make(kind, 2, 9), make(kind, 2, 9), make(kind, 2, 9, random_state=1)
    assert torch.equal(torch.get_rng_state(), before)
    x = rows(kind, 2, 9)
    assert torch.equal(first.encode(x)[0], second.encode(x)[0])
    assert not torch.equal(first.encode(x)[0], other.encode(x)[0])


def test_glow_needs_more_features_than_sources() -> None:
    with pytest.raises(ValueError, match="more features than sources"):
        ConditionalGlow(8, 8)


def test_actnorm_starts_from_the_data() -> None:
    flow = ConditionalGlow(2, 10, n_steps=1, width=4, depth=1).double()
    x = 3 + 2 * torch.randn(5000, 10, dtype=torch.float64)
    flow.initialize(x)
    normed = flow.steps[0].actnorm.encode(x)
    torch.testing.assert_close(normed.mean(0), torch.zeros(10).double(), rtol=0, atol=1e-9)
    torch.testing.assert_close(normed.std(0), torch.ones(10).double(), rtol=1e-9, atol=0)


def test_actnorm_does_not_blow_up_constant_bins() -> None:
    flow = ConditionalGlow(2, 10, n_steps=1, width=4, depth=1)
    flow.initialize(torch.zeros(100, 10), floor=0.01)
    assert float(flow.steps[0].actnorm.log_scale.detach().exp().max()) <= 100.001


def test_mixing_starts_as_a_rotation() -> None:
    matrix = ConditionalGlow(2, 10, n_steps=1, width=4, depth=1).steps[0].mixing.matrix().double()
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(10).double(), rtol=0, atol=1e-5)


def test_ill_conditioned_mixing_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    flow = ConditionalGlow(2, 10, n_steps=1, width=4, depth=1)
    with torch.no_grad():
        flow.steps[0].mixing.factors[0, 0] = 1e-9
    frozen = flow.freeze()
    assert frozen.condition > 1e6
    assert "condition" in caplog.text
