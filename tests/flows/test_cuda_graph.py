"""Graphed functions: every call runs the work once, whether it warms up, captures or replays."""

from __future__ import annotations

import pytest
import torch

from dds_fast.flows.cuda_graph import WARM_UP, Graphed

DEVICES = [torch.device("cpu"), pytest.param(torch.device("cuda"), marks=pytest.mark.gpu)]
N_CALLS = WARM_UP + 4


@pytest.mark.parametrize("device", DEVICES, ids=str)
class TestGraphed:
    def test_every_call_runs_once(self, device: torch.device) -> None:
        state = torch.ones(3, device=device)
        double = Graphed(lambda: state.mul_(2), device)
        for n in range(1, N_CALLS):
            double()
            assert state.tolist() == [2.0**n] * 3
        assert double.captured == (device.type == "cuda")

    def test_arguments_are_those_of_the_call(self, device: torch.device) -> None:
        weights = torch.arange(4.0, device=device)
        dot = Graphed(lambda x, y: {"sum": (weights * x + y).sum()}, device)
        for n in range(N_CALLS):
            x = torch.full((4,), float(n), device=device)
            assert dot(x, 2 * x)["sum"].item() == 6 * n + 8 * n
            assert x.tolist() == [float(n)] * 4

    def test_other_shapes_run_as_they_are(self, device: torch.device) -> None:
        total = Graphed(torch.sum, device)
        for n in range(N_CALLS):
            assert total(torch.ones(4, device=device)).item() == 4
            assert total(torch.full((3, 2), float(n), device=device)).item() == 6 * n
            assert total(torch.ones(4, dtype=torch.int64, device=device)).item() == 4

    def test_what_surrounds_a_call_is_in_order(self, device: torch.device) -> None:
        """Without waiting for the device in between."""
        state = torch.zeros(1 << 20, device=device)
        seen = torch.zeros(N_CALLS, device=device)
        step = Graphed(lambda x: state.copy_(state * 0.5 + x.sqrt()), device)
        x, expected = torch.zeros_like(state), 0.0
        for n in range(N_CALLS):
            x += 1
            step(x)
            seen[n] = state.max()
            state += 1
        for n in range(N_CALLS):
            expected = 0.5 * expected + (n + 1.0) ** 0.5
            assert seen[n].item() == pytest.approx(expected, rel=1e-6)
            expected += 1

    def test_gradients_and_an_optimizer(self, device: torch.device) -> None:
        def made(graphed: bool) -> torch.Tensor:
            generator = torch.Generator().manual_seed(0)
            weight = torch.randn(5, 3, generator=generator).to(device).requires_grad_()
            adam = torch.optim.Adam([weight], lr=0.1, capturable=device.type == "cuda")

            def step(x: torch.Tensor) -> torch.Tensor:
                adam.zero_grad()
                loss = (x @ weight).square().mean()
                loss.backward()
                adam.step()
                return loss.detach()

            run = Graphed(step, device) if graphed else step
            losses = []
            for _ in range(N_CALLS):
                x = torch.randn(8, 5, generator=generator).to(device)
                losses.append(run(x).clone())
            return torch.cat([weight.detach().flatten(), torch.stack(losses)])

        torch.testing.assert_close(made(True), made(False), rtol=1e-6, atol=1e-6)

    def test_errors_come_through(self, device: torch.device) -> None:
        def fail(x: torch.Tensor) -> None:
            raise ValueError("odd")

        failing = Graphed(fail, device)
        for _ in range(2):
            with pytest.raises(ValueError, match="odd"):
                failing(torch.zeros(1, device=device))


@pytest.mark.gpu
def test_random_numbers_differ_from_replay_to_replay() -> None:
    draw = Graphed(lambda x: torch.rand_like(x), torch.device("cuda"))
    x = torch.zeros(100, device="cuda")
    drawn = [draw(x).clone() for _ in range(N_CALLS)]
    assert len({tuple(d.tolist()) for d in drawn}) == N_CALLS
