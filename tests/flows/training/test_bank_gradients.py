"""The bank's hand-written gradient against autograd's."""

from __future__ import annotations

import pytest
import torch
from tolerances import error_ratio

from dds_fast.flows import RealNVPBank
from dds_fast.flows.training import bank_gradients
from dds_fast.flows.training.losses import bank_loss


def bank_and_spectra(
    n_sources: int, n_rows: int, F: int, depth: int, dtype: torch.dtype
) -> tuple[RealNVPBank, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    bank = RealNVPBank(n_sources, F, n_steps=3, width=5, depth=depth).to(dtype)
    with torch.no_grad():
        for coupling in bank.couplings:
            for parameter in (coupling.alpha, coupling.beta):
                parameter.copy_(torch.randn(n_sources, generator=generator))
    return bank, torch.rand(n_sources, n_rows, F, generator=generator).to(dtype)


def autograd(
    bank: RealNVPBank, x: torch.Tensor, n_rows: int
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    losses = bank_loss(bank, x).sum(-1) / n_rows
    losses.sum().backward()
    gradients = {name: p.grad.clone() for name, p in bank.named_parameters()}
    for parameter in bank.parameters():
        parameter.grad.fill_(float("nan"))  # must be overwritten, not added to
    return losses.detach(), gradients


@pytest.mark.parametrize("n_others", [0, 4], ids=["whole", "part"])
@pytest.mark.parametrize("depth", [0, 1, 4])
@pytest.mark.parametrize(("n_sources", "n_rows", "F"), [(3, 8, 10), (7, 1, 7), (1, 5, 3)], ids=str)
def test_equals_autograd(n_sources: int, n_rows: int, F: int, depth: int, n_others: int) -> None:
    bank, x = bank_and_spectra(n_sources, n_rows, F, depth, torch.float64)
    before = x.clone()
    losses, expected = autograd(bank, x, n_rows + n_others)
    actual = bank_gradients.bank_gradients(bank, x, n_rows=n_rows + n_others)
    assert error_ratio(actual, losses) < 1e-14
    for name, parameter in bank.named_parameters():
        assert error_ratio(parameter.grad, expected[name]) < 1e-12, name
    assert torch.equal(x, before)


def test_chunks_of_flows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    bank, x = bank_and_spectra(5, 8, 10, 2, torch.float64)
    whole = bank_gradients.bank_gradients(bank, x)
    expected = {name: p.grad.clone() for name, p in bank.named_parameters()}
    monkeypatch.setitem(bank_gradients.STASH_BYTES, "cpu", 1)
    assert error_ratio(bank_gradients.bank_gradients(bank, x), whole) < 1e-14
    for name, parameter in bank.named_parameters():
        assert error_ratio(parameter.grad, expected[name]) < 1e-13, name


def test_no_rows_have_no_gradient() -> None:
    bank, x = bank_and_spectra(2, 0, 10, 2, torch.float64)
    assert not bank_gradients.bank_gradients(bank, x, n_rows=4).any()
    assert not any(bool(p.grad.any()) for p in bank.parameters())


def test_float32() -> None:
    bank, x = bank_and_spectra(3, 16, 42, 2, torch.float64)
    losses, expected = autograd(bank, x, 16)
    bank, x = bank_and_spectra(3, 16, 42, 2, torch.float32)
    assert error_ratio(bank_gradients.bank_gradients(bank, x), losses) < 2e-6
    for name, parameter in bank.named_parameters():
        assert error_ratio(parameter.grad, expected[name]) < 1e-5, name


def test_bfloat16_products_round_and_no_more() -> None:
    bank, x = bank_and_spectra(3, 16, 42, 2, torch.float32)
    losses, expected = autograd(bank, x, 16)
    rounded = bank_gradients.bank_gradients(bank, x, precision="bfloat16")
    assert 1e-6 < error_ratio(rounded, losses) < 1e-2
    for name, parameter in bank.named_parameters():
        assert parameter.grad.dtype == torch.float32
        assert error_ratio(parameter.grad, expected[name]) < 0.1, name
