"""Flows against their definitions, in float64: inverse, Jacobian, freezing."""

from __future__ import annotations

import numpy as np
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


def test_every_step_of_every_flow_has_a_permutation_of_its_own() -> None:
    bank = RealNVPBank(5, 42, n_steps=16, width=4, depth=1)
    assert bank.orders.shape == (16, 5, 42)
    assert (bank.orders.sort(-1).values == torch.arange(42)).all()
    assert len({tuple(order) for order in bank.orders.flatten(0, 1).tolist()}) == 16 * 5
    assert not (bank.orders == torch.arange(42)).all(-1).any()


def test_a_bank_is_permutations_and_couplings_by_hand() -> None:
    bank, x = make("bank", 2, 9), rows("bank", 2, 9)
    with torch.no_grad():
        for coupling in bank.couplings:  # they start at 1 and 0, where a mistake would hide
            coupling.alpha.copy_(torch.tensor([0.7, 1.3]))
            coupling.beta.copy_(torch.tensor([0.2, -0.1]))
    z, log_det = (value.detach().numpy() for value in bank.encode(x))
    for s in range(2):
        for r in range(x.shape[1]):
            row, total = x[s, r].numpy(), 0.0
            for coupling, orders in zip(bank.couplings, bank.orders.numpy(), strict=True):
                row = row[orders[s]]
                h = row[:5]
                layers = [w[s].detach().numpy() for w in coupling.weights]
                biases = [b[s].detach().numpy() for b in coupling.biases]
                for layer, (w, b) in enumerate(zip(layers, biases, strict=True)):
                    h = w @ h + b
                    if layer < len(layers) - 1:
                        negative = 1.6732632423543772 * np.expm1(np.minimum(h, 0))
                        h = 1.0507009873554805 * np.where(h > 0, h, negative)
                scale = coupling.alpha[s].item() * np.tanh(h[:4]) + coupling.beta[s].item()
                row = np.concatenate([row[:5], np.exp(scale) * row[5:] + h[4:]])
                total += scale.sum()
            np.testing.assert_allclose(z[s, r], row, rtol=1e-10)
            assert log_det[s, r] == pytest.approx(total, rel=1e-10)


def test_a_glow_is_actnorms_mixings_and_couplings_by_hand() -> None:
    flow, x = make("glow", 3, 9), rows("glow", 3, 9)
    z, log_det = (value.detach().numpy() for value in flow.encode(x))
    for r, row in enumerate(x.numpy()):
        total = 0.0
        for step in flow.steps:
            log_scale = step.actnorm.log_scale.detach().numpy()
            factors = step.mixing.factors.detach().numpy()
            row = (row + step.actnorm.bias.detach().numpy()) * np.exp(log_scale)
            upper = np.triu(factors)
            mixed = (np.tril(factors, -1) + np.eye(9)) @ (upper @ row)
            row = mixed[step.mixing.order.numpy()]
            h = row[:5]
            pairs = list(zip(step.coupling.weights, step.coupling.biases, strict=True))
            for layer, (w, b) in enumerate(pairs):
                h = w[0].detach().numpy() @ h + b[0].detach().numpy()
                h = np.where(h > 0, h, 0.01 * h) if layer < len(pairs) - 1 else h
            scale = step.coupling.alpha.item() * np.tanh(h[:4]) + step.coupling.beta.item()
            row = np.concatenate([row[:5], np.exp(scale) * row[5:] + h[4:]])
            total += scale.sum() + log_scale.sum() + np.log(np.abs(upper.diagonal())).sum()
        np.testing.assert_allclose(z[r], row, rtol=1e-9)
        assert log_det[r] == pytest.approx(total, rel=1e-9)


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
    x = torch.full((100, 10), 0.5)
    x[:50, 0] = 0.48  # varies by 0.01005
    flow.initialize(x)
    scale = flow.steps[0].actnorm.log_scale.detach().exp()
    assert scale.tolist() == pytest.approx([1 / x[:, 0].std().item(), *[100.0] * 9], rel=1e-4)


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
