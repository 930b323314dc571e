"""The waveform flows against their definitions, in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from dds_fast.flows import FloWaveNetBank
from dds_fast.flows.flowavenet import GroupedConv, WaveNet

SIZES = [(1, 1, 8), (2, 2, 16), (3, 3, 32), (2, 4, 32)]
"""Sources, blocks, samples."""


def make(n_sources: int, n_blocks: int) -> FloWaveNetBank:
    bank = FloWaveNetBank(n_sources, n_blocks, n_flows=2, width=3, n_layers=2).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in bank.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(0.2 * noise)
    return bank


def windows(n_sources: int, n: int, n_rows: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n_sources, n_rows, n, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(("n_sources", "n_blocks", "n"), SIZES)
def test_decode_inverts_encode(n_sources: int, n_blocks: int, n: int) -> None:
    bank, x = make(n_sources, n_blocks), windows(n_sources, n)
    z, log_det = bank.encode(x)
    assert z.shape == x.shape and not torch.allclose(z, x)
    back, log_det_back = bank.decode(z)
    torch.testing.assert_close(back, x, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(log_det_back, -log_det, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("direction", ["encode", "decode"])
@pytest.mark.parametrize(("n_sources", "n_blocks", "n"), SIZES)
def test_log_det_is_that_of_the_jacobian(
    n_sources: int, n_blocks: int, n: int, direction: str
) -> None:
    function = getattr(make(n_sources, n_blocks), direction)
    x = windows(n_sources, n, n_rows=1)
    _, log_det = function(x)
    jacobian = torch.autograd.functional.jacobian(lambda value: function(value)[0], x)
    for source in range(n_sources):
        expected = torch.linalg.slogdet(jacobian[source, 0, :, source, 0])[1]
        torch.testing.assert_close(log_det[source, 0], expected, rtol=1e-9, atol=1e-9)
        others = [k for k in range(n_sources) if k != source]
        assert not jacobian[source, 0][:, others].any()


@pytest.mark.parametrize(("n_sources", "n_blocks", "n"), SIZES)
def test_the_parts_of_the_density_add_up(n_sources: int, n_blocks: int, n: int) -> None:
    bank, x = make(n_sources, n_blocks), windows(n_sources, n)
    latent, log_det = bank.densities(x)
    z, whole = bank.encode(x)
    standard = -0.5 * (z.square().sum(-1) + n * math.log(2 * math.pi))
    torch.testing.assert_close(latent + log_det, standard + whole)
    # The split priors' scales belong to the latent density, and only where something is split off.
    assert torch.allclose(latent, standard) == (n_blocks < 3)


def test_split_parts_are_gaussian_given_what_stays() -> None:
    """Of 3 blocks the second one splits: half of its channels, normal given the other half."""
    bank, x = make(1, 3), windows(1, 8, n_rows=1)
    z, _ = bank.encode(x)
    assert list(bank.splits) == ["1"]
    changed = z.clone()
    changed[..., :4] += 1
    decoded, again = bank.decode(z)[0], bank.decode(changed)[0]
    assert not torch.allclose(decoded, again)
    # Codes that were split off come back unscaled by one another: the rest is untouched.
    assert torch.allclose(bank.encode(again)[0][..., 4:], z[..., 4:])


def test_a_new_bank_normalises_its_data() -> None:
    bank = FloWaveNetBank(2, n_blocks=2, n_flows=1, width=3, n_layers=1).double()
    x = 0.3 + 0.1 * windows(2, 64, n_rows=50)
    assert not bank.initialized
    bank.initialize(x)
    assert bank.initialized
    # Its nets start at zero, so every channel is now standard.
    z, _ = bank.encode(x)
    channels = z.unflatten(-1, (4, -1))
    torch.testing.assert_close(channels.mean((1, 3)), torch.zeros(2, 4).double(), atol=1e-9, rtol=0)
    torch.testing.assert_close(
        channels.std((1, 3)), torch.ones(2, 4).double(), atol=1e-9, rtol=1e-9
    )


def test_actnorm_does_not_blow_up_constant_channels() -> None:
    bank = FloWaveNetBank(1, n_blocks=1, n_flows=1, width=3, n_layers=1).double()
    x = torch.full((1, 4, 8), 0.5).double()
    x[..., ::2] += 0.02 * windows(1, 4, n_rows=4)  # of the two channels the other is constant
    bank.initialize(x)
    flow = bank.blocks[0][0]
    expected = [1 / x[..., ::2].std().item(), 100.0]
    assert flow.log_scale.detach().exp().flatten().tolist() == pytest.approx(expected, rel=1e-9)
    assert flow.shift.detach().flatten()[1].item() == -0.5


def test_wavenet_by_hand() -> None:
    """Gated layers of dilations 1 and 2; the sum of the two ways on is scaled by sqrt(1/2)."""
    net = WaveNet(1, 2, 3, width=2, n_layers=2).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator).double())
    n = 7

    def convolved(conv: GroupedConv, x: np.ndarray) -> np.ndarray:
        weight, bias = conv.weight[0].detach().numpy(), conv.bias[0].detach().numpy()
        kernel = weight.shape[-1]
        y = np.repeat(bias[:, None], n, axis=1)
        for tap in range(kernel):
            offset = (tap - kernel // 2) * conv.dilation
            for i in range(n):
                if 0 <= i + offset < n:
                    y[:, i] += weight[:, :, tap] @ x[:, i + offset]
        return y

    x = windows(1, n, n_rows=2)
    h, skips = np.maximum(convolved(net.front, x[0].numpy()), 0), np.zeros((2, n))
    for gated, onward in zip(net.gated, net.onward, strict=True):
        both = convolved(gated, h)
        both = convolved(onward, np.tanh(both[:2]) / (1 + np.exp(-both[2:])))
        h, skips = (h + both[:2]) * 0.7071067811865476, skips + both[2:]
    assert [gated.dilation for gated in net.gated] == [1, 2]
    expected = convolved(net.out, np.maximum(convolved(net.hidden, np.maximum(skips, 0)), 0))
    np.testing.assert_allclose(net(x[None])[0, 0].detach(), expected, rtol=1e-10)


def test_wavenet_reaches_both_ways_as_far_as_its_dilations() -> None:
    net = WaveNet(1, 1, 1, width=3, n_layers=3).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(0.1)
    x = torch.zeros(1, 1, 1, 61, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(net(x)[0, 0, 0, 30], x)
    reached = gradient[0, 0, 0].nonzero()[:, 0]
    # The front's kernel of 3 and dilations of 1, 2 and 4: eight samples either way.
    assert (int(reached.min()), int(reached.max())) == (30 - 8, 30 + 8)


def test_grouped_convolution_is_one_per_source() -> None:
    conv = GroupedConv(3, 2, 4, kernel=3, dilation=2).double()
    x = torch.randn(5, 3, 2, 16, dtype=torch.float64)
    y = conv(x)
    for k in range(3):
        expected = torch.nn.functional.conv1d(
            x[:, k], conv.weight[k], conv.bias[k], padding=2, dilation=2
        )
        torch.testing.assert_close(y[:, k], expected)


def test_seed_decides_the_weights_and_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    first, again, other = (
        FloWaveNetBank(2, 1, n_flows=1, width=3, n_layers=1, random_state=n) for n in (0, 0, 1)
    )
    assert torch.equal(torch.get_rng_state(), before)
    weights = [bank.blocks[0][0].net.front.weight for bank in (first, again, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_bad_shapes_and_sizes() -> None:
    bank = FloWaveNetBank(2, n_blocks=2, n_flows=1, width=3, n_layers=1)
    with pytest.raises(ValueError, match="multiple of 4 samples"):
        bank.encode(torch.zeros(2, 1, 6))
    with pytest.raises(ValueError, match=r"expected \(2, rows, n\)"):
        bank.encode(torch.zeros(3, 1, 8))
    with pytest.raises(ValueError, match="n_layers must be at least 1"):
        FloWaveNetBank(2, n_layers=0)
