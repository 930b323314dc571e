"""The CUDA kernels of flow banks on a device: `pytest -m gpu tests/search/test_flow_cuda.py`.

What they compute is tested without one in test_bank_emulation.py; here is what only a device shows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import banks
import pytest
import torch
from tolerances import PRECISION, assert_close
from torch import Tensor

from dds_fast import ops
from dds_fast.flows import RealNVPBank
from dds_fast.flows.reference import flow as reference
from dds_fast.search.cpu import adam
from dds_fast.search.dispatch import Request
from dds_fast.search.gpu import cuda_flow as cuda

BOUNDS = {**{name: PRECISION[name] for name in ("float32", "bfloat16")}, "tf32": banks.TF32}


def on_device(t: banks.Truth) -> banks.Truth:
    flow = t.flow.to(torch.float32, "cuda")
    given = (x.cuda() for x in (t.rows, t.grad_out, t.grad_log_det))
    return banks.Truth(flow, *given, t.out, t.log_det, t.gradient)


def run(t: banks.Truth, direction: str, precision: str) -> tuple[Tensor, Tensor, Tensor]:
    out, log_det, stash = cuda.forward(t.flow, t.rows, direction, True, precision)
    gradient = cuda.backward(t.flow, stash, t.grad_out, t.grad_log_det, direction)
    return out, log_det, gradient


def test_refuses_what_is_not_on_a_device() -> None:
    request = Request(torch.device("cpu"), torch.float32, "float32")
    assert not cuda.can_run(request)
    with pytest.raises(RuntimeError, match="computes on cuda, not on cpu"):
        cuda.can_run(request, raise_error=True)
    request = Request(torch.device("cuda"), torch.float32, "bf16x3")
    with pytest.raises(RuntimeError, match="computes in float32, tf32, bfloat16 .* not in bf16x3"):
        cuda.can_run(request, raise_error=True)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a device")
def test_without_a_device_says_so() -> None:
    banks.native()
    request = Request(torch.device("cuda"), torch.float32, "float32")
    with pytest.raises(RuntimeError, match="no device: "):
        cuda.can_run(request, raise_error=True)


@pytest.mark.gpu
@pytest.mark.parametrize("direction", ["encode", "decode"])
@pytest.mark.parametrize("precision", BOUNDS)
@pytest.mark.parametrize("case", banks.CASES)
def test_values_and_gradients(case: str, precision: str, direction: str) -> None:
    t = on_device(banks.truth(case, direction))
    out, log_det, gradient = run(t, direction, precision)
    bounds = BOUNDS[precision]
    assert_close("rows", out.cpu(), t.out, bounds["output"])
    assert_close("log-det", log_det.cpu(), t.log_det, bounds["log_det"])
    assert_close("gradient", gradient.cpu(), t.gradient, bounds["gradient"])


@pytest.mark.gpu
@pytest.mark.parametrize("K", [1, 20, 64, 130])
@pytest.mark.parametrize(("F", "width"), [(512, 128), (1024, 256), (2048, 512)])
def test_full_sizes(F: int, width: int, K: int) -> None:
    """Against float64 on the device; two flows take a cluster each."""
    flow = RealNVPBank(2, F, n_steps=4, width=width).double().freeze()
    generator = torch.Generator().manual_seed(0)
    rows, grad = torch.randn(2, 2, K, F, generator=generator).double().cuda()
    exact = flow.to(torch.float64, "cuda")
    out, log_det, stash = reference.forward(exact, rows, "decode")
    expected = reference.backward(exact, stash, grad, log_det, "decode")
    for precision, bounds in BOUNDS.items():
        x, actual, kept = cuda.forward(
            flow.to(torch.float32, "cuda"), rows.float(), "decode", True, precision
        )
        gradient = cuda.backward(
            flow.to(torch.float32, "cuda"), kept, grad.float(), log_det.float(), "decode"
        )
        assert_close("rows", x, out, bounds["output"])
        assert_close("log-det", actual, log_det, bounds["log_det"])
        assert_close("gradient", gradient, expected, bounds["gradient"])


@pytest.mark.gpu
@pytest.mark.parametrize("precision", BOUNDS)
def test_same_bits_in_every_run(precision: str) -> None:
    """More flows than the device has multiprocessors: one CTA each, in waves."""
    flow = RealNVPBank(200, 42, n_steps=2, width=11, depth=1).freeze().to(torch.float32, "cuda")
    rows = torch.randn(200, 19, 42, generator=torch.Generator().manual_seed(0)).cuda()
    first = cuda.forward(flow, rows, "decode", False, precision)
    for _ in range(5):
        again = cuda.forward(flow, rows, "decode", False, precision)
        assert torch.equal(again[0], first[0]) and torch.equal(again[1], first[1])


@pytest.mark.gpu
def test_strided_rows_and_selected_groups() -> None:
    t = on_device(banks.truth("S=3 F=42 K=3", "decode"))
    apart = t.rows.transpose(0, 2).contiguous().transpose(0, 2)
    out, _, _ = cuda.forward(t.flow, apart, "decode")
    assert torch.equal(out, cuda.forward(t.flow, t.rows, "decode")[0])
    groups = torch.tensor([2, 1, 1], device="cuda")
    chosen, _, stash = cuda.forward(t.flow, t.rows[groups], "decode", groups=groups)
    assert torch.equal(chosen, out[groups])
    gradient = cuda.backward(t.flow, stash, t.grad_out[groups], t.grad_log_det[groups], "decode")
    bound = BOUNDS["float32"]["gradient"]
    assert_close("gradient", gradient.cpu(), t.gradient[groups.cpu()], bound)


@pytest.mark.gpu
def test_streams_run_side_by_side() -> None:
    t = on_device(banks.truth("S=2 F=257 K=17", "decode"))
    expected = run(t, "decode", "float32")
    streams = [torch.cuda.Stream() for _ in range(4)]
    results = []
    for stream in streams:
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            results.append(run(t, "decode", "float32"))
    torch.cuda.synchronize()
    for result in results:
        assert all(torch.equal(a, b) for a, b in zip(result, expected, strict=True))


def captured(function: Callable[[], Any]) -> tuple[torch.cuda.CUDAGraph, Any]:
    function()  # packs the weights
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = function()
    return graph, result


@pytest.mark.gpu
def test_graph_capture() -> None:
    t = on_device(banks.truth("S=2 F=257 K=17", "decode"))
    graph, result = captured(lambda: run(t, "decode", "bfloat16"))
    t.rows.normal_(generator=torch.Generator("cuda").manual_seed(1))
    graph.replay()
    torch.cuda.synchronize()
    for a, b in zip(result, run(t, "decode", "bfloat16"), strict=True):
        assert torch.equal(a, b)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", BOUNDS)
def test_update_replayed_from_a_graph(precision: str) -> None:
    t = on_device(banks.truth("S=3 F=42 K=3", "decode"))
    S, K, F = t.rows.shape
    generator = torch.Generator().manual_seed(5)
    start = [torch.rand(S, K, F, generator=generator).double() for _ in range(2)]
    search = banks.Search(
        t.flow.to(torch.float64, "cpu"),
        t.rows.double().cpu(),
        (start[0].clone(), start[1].clone()),
        0,
        True,
    )
    search.decode()
    latents, moments = t.rows.clone(), tuple(m.float().cuda() for m in start)
    entries, _, stash = cuda.forward(t.flow, latents, "decode", True, precision)
    entries.clamp_min_(0)
    gradient, pull = torch.empty_like(latents), latents.new_empty(S, K)
    scalars, likelihoods = latents.new_empty(3), latents.new_full((S, K), torch.nan)
    stopped = torch.ones(1, dtype=torch.int32, device="cuda")

    def step() -> None:
        cuda.update(
            t.flow,
            stash,
            gradient,
            None,
            pull,
            scalars,
            latents,
            moments,
            entries,
            likelihoods,
            data_likelihood=True,
            stopped=stopped,
        )

    graph, _ = captured(step)
    assert torch.equal(latents, t.rows)
    stopped.zero_()
    for i in range(1, 4):
        gradient.normal_()
        pull.normal_()
        scalars.copy_(torch.tensor([0.3, *adam.corrections(0.05, i)]))
        graph.replay()
        search.move(0.3 * gradient.double().cpu(), pull.double().cpu(), 0.05)
        expected, expected_likelihoods = search.decode()
    bound = BOUNDS[precision]["gradient"]
    assert_close("latents", latents.cpu(), search.latents, bound)
    assert_close("entries", entries.cpu(), expected, bound)
    assert_close("log-likelihoods", likelihoods.cpu(), expected_likelihoods, bound)


@pytest.mark.gpu
def test_the_op_by_name() -> None:
    t = on_device(banks.truth("S=3 F=42 K=3", "decode"))
    rows = t.rows.requires_grad_()
    out, log_det = ops.flow_decode(t.flow, rows, backend="cuda")
    (gradient,) = torch.autograd.grad([out, log_det], rows, [t.grad_out, t.grad_log_det])
    assert torch.equal(out, cuda.forward(t.flow, t.rows, "decode", False)[0])
    assert_close("gradient", gradient.cpu(), t.gradient, BOUNDS["float32"]["gradient"])
