"""The CUDA kernels of flow banks, run on the CPU: the same code, its threads as fibers.

The emulation knows no memory that is right by chance: what is not yet there is NaN. It counts the
chunks of the stream, and a deadlock is an error.
"""

from __future__ import annotations

import banks
import pytest
import torch
from tolerances import PRECISION, assert_close
from torch import Tensor

from dds_fast.search.cpu import adam
from dds_fast.search.gpu import cuda_flow as cuda
from dds_fast.search.gpu.cuda_weights import PackedBank, Target, packed_bank

BOUNDS = {**{name: PRECISION[name] for name in ("float32", "bfloat16")}, "tf32": banks.TF32}
SHARED_MEMORY = 227 << 10
ALONE = Target((8, 0), 108, 163 << 10, order=0)
CLUSTER = Target((9, 0), 132, SHARED_MEMORY, order=1)
SMALL = Target((8, 6), 84, 99 << 10, order=0)


@pytest.fixture(autouse=True)
def needs_module() -> None:
    banks.native()


def pack(t: banks.Truth, direction: str, precision: str, target: Target) -> PackedBank:
    return packed_bank(t.flow, direction, precision, target, t.rows.shape[1])


def run(packed: PackedBank, t: banks.Truth, groups: Tensor | None = None) -> tuple[Tensor, ...]:
    out, log_det, stash = packed.forward(t.rows, groups, True)
    assert stash is not None
    return out, log_det, packed.backward(stash, t.grad_out, t.grad_log_det, groups)


@pytest.mark.parametrize("direction", ["encode", "decode"])
@pytest.mark.parametrize("precision", BOUNDS)
@pytest.mark.parametrize("target", [ALONE, CLUSTER], ids=["alone", "cluster"])
@pytest.mark.parametrize("case", banks.ODD)
def test_values_and_gradients(case: str, target: Target, precision: str, direction: str) -> None:
    t = banks.truth(case, direction)
    out, log_det, gradient = run(pack(t, direction, precision, target), t)
    bounds = BOUNDS[precision]
    assert_close("rows", out, t.out, bounds["output"])
    assert_close("log-det", log_det, t.log_det, bounds["log_det"])
    assert_close("gradient", gradient, t.gradient, bounds["gradient"])


@pytest.mark.parametrize("precision", BOUNDS)
def test_a_flow_of_the_paper_s_size(precision: str) -> None:
    """F = 512, 16 steps of four layers of 128 units, K = 20: one block, the stream several stages
    ahead."""
    t = banks.truth("F=512 of the paper", "decode")
    packed = pack(t, "decode", precision, CLUSTER)
    plan = packed.plan("update", 20)
    assert packed.shape.n_ctas == 2 and plan.n_row_blocks == 1 and plan.n_stages >= 5
    out, log_det, gradient = run(packed, t)
    assert_close("rows", out, t.out, BOUNDS[precision]["output"])
    assert_close("log-det", log_det, t.log_det, BOUNDS[precision]["log_det"])
    assert_close("gradient", gradient, t.gradient, BOUNDS[precision]["gradient"])


@pytest.mark.parametrize("precision", BOUNDS)
def test_a_device_with_little_shared_memory_takes_fewer_rows_at_a_time(precision: str) -> None:
    """Compute capability 8.6 and 8.9."""
    t = banks.truth("S=2 F=257 K=17", "decode")
    packed = pack(t, "decode", precision, SMALL)
    assert packed.plan("update", 17).shared_bytes <= SMALL.shared_memory
    paper = banks.native().Bank(precision, 512, 256, [128] * 4, 16, 1).plan("update", 20, 99 << 10)
    assert paper.shared_bytes <= SMALL.shared_memory and paper.n_row_blocks == 3
    out, log_det, gradient = run(packed, t)
    assert_close("rows", out, t.out, BOUNDS[precision]["output"])
    assert_close("log-det", log_det, t.log_det, BOUNDS[precision]["log_det"])
    assert_close("gradient", gradient, t.gradient, BOUNDS[precision]["gradient"])


def test_leaky_relu() -> None:
    t = banks.truth("S=3 F=42 K=3", "decode", "leaky_relu")
    out, _, gradient = run(pack(t, "decode", "float32", CLUSTER), t)
    assert_close("rows", out, t.out, BOUNDS["float32"]["output"])
    assert_close("gradient", gradient, t.gradient, BOUNDS["float32"]["gradient"])


@pytest.mark.parametrize("precision", BOUNDS)
@pytest.mark.parametrize(
    ("case", "direction"),
    [("S=2 F=257 K=17", "decode"), ("S=2 F=123 K=37, no hidden layer", "encode")],
)
def test_same_bits_in_any_order_of_threads(case: str, direction: str, precision: str) -> None:
    """What depends on the order is a race: a barrier that is missing. Warps or whole CTAs run ahead
    of the others for as long as they can."""
    t = banks.truth(case, direction)
    first = None
    for order in range(4):
        target = Target((9, 0), 132, SHARED_MEMORY, order=order)
        actual = run(pack(t, direction, precision, target), t)
        first = first or actual
        for a, b in zip(actual, first, strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("precision", BOUNDS)
def test_with_as_little_shared_memory_as_can_be(precision: str) -> None:
    """Rows are split among blocks of one tile, and the stream has two stages."""
    t = banks.truth("S=2 F=257 K=17", "decode")
    shape = pack(t, "decode", precision, CLUSTER).shape
    with pytest.raises(ValueError, match="bytes of shared memory per block, the device has") as e:
        shape.plan("backward", 17, 4096)
    least = int(str(e.value).split()[1]) + 128
    packed = pack(t, "decode", precision, Target((9, 0), 132, least, order=1))
    plan = packed.plan("backward", 17)
    assert (plan.n_row_blocks, plan.row_tiles, plan.n_stages) == (3, 1, 2)
    out, log_det, gradient = run(packed, t)
    assert_close("rows", out, t.out, BOUNDS[precision]["output"])
    assert_close("log-det", log_det, t.log_det, BOUNDS[precision]["log_det"])
    assert_close("gradient", gradient, t.gradient, BOUNDS[precision]["gradient"])


def test_wide_flows_fit() -> None:
    """F = 2048 and layers of 512 units."""
    native = banks.native()
    for precision in BOUNDS:
        for n_ctas in (1, 2):
            shape = native.Bank(precision, 2048, 1024, [512] * 4, 16, n_ctas)
            for name in ("forward", "backward", "update"):
                plan = shape.plan(name, 20, SHARED_MEMORY)
                assert plan.shared_bytes <= SHARED_MEMORY and plan.n_stages >= 2


def test_groups_name_the_flow_of_each_block() -> None:
    t = banks.truth("S=3 F=42 K=3", "decode")
    groups = torch.tensor([1, 2, 2])
    packed = pack(t, "decode", "float32", CLUSTER)
    rows = torch.stack([t.rows[1], t.rows[2], t.rows[0]])
    out, log_det, _ = packed.forward(rows, groups, False)
    expected, expected_log_det, _ = packed.forward(t.rows, None, False)
    assert torch.equal(out[:2], expected[[1, 2]])
    assert torch.equal(log_det[:2], expected_log_det[[1, 2]])
    swapped = t.rows.clone()
    swapped[2] = t.rows[0]
    assert torch.equal(out[2], packed.forward(swapped, None, False)[0][2])


def test_nan_stays_in_its_row() -> None:
    t = banks.truth("S=2 F=64 K=67", "decode")
    rows = t.rows.clone()
    rows[1, 12, 5] = torch.nan
    for precision in BOUNDS:
        packed = pack(t, "decode", precision, CLUSTER)
        out, log_det, _ = packed.forward(rows, None, False)
        assert out[1, 12].isnan().any() and log_det[1, 12].isnan()
        out[1, 12] = log_det[1, 12] = 0
        assert out.isfinite().all() and log_det.isfinite().all()


def test_empty_and_strided_rows() -> None:
    t = banks.truth("S=3 F=42 K=3", "decode")
    packed = pack(t, "decode", "float32", CLUSTER)
    out, log_det, stash = packed.forward(t.rows[:, :0], None, True)
    assert out.shape == (3, 0, 42) and log_det.shape == (3, 0)
    assert packed.backward(stash, out, log_det, None).shape == (3, 0, 42)
    apart = t.rows.transpose(0, 2).contiguous().transpose(0, 2)
    assert torch.equal(
        packed.forward(apart, None, False)[0], packed.forward(t.rows, None, False)[0]
    )


def test_rows_are_recomputed_where_a_stash_would_be_too_large(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    t = banks.truth("S=2 F=64 K=67", "decode")
    packed = pack(t, "decode", "float32", CLUSTER)
    monkeypatch.setattr(cuda, "STASH_BYTES", packed.stash_bytes(2, 24))
    _, _, stash = cuda.forward_packed(packed, t.rows, True, None)
    assert stash.data is None
    gradient = cuda.backward_packed(packed, stash, t.grad_out, t.grad_log_det)
    assert_close("gradient", gradient, t.gradient, BOUNDS["float32"]["gradient"])


@pytest.mark.parametrize("precision", BOUNDS)
@pytest.mark.parametrize("target", [ALONE, CLUSTER], ids=["alone", "cluster"])
@pytest.mark.parametrize(
    ("data_likelihood", "n_fixed", "weighted"), [(False, 0, False), (True, 5, True)]
)
def test_update_is_backward_adam_and_decode(
    target: Target, precision: str, data_likelihood: bool, n_fixed: int, weighted: bool
) -> None:
    t = banks.truth("S=3 F=42 K=3", "decode")
    generator = torch.Generator().manual_seed(5)
    S, K, F = t.rows.shape
    start = [
        torch.randn(S, K, F - n_fixed, generator=generator).double(),
        torch.rand(S, K, F - n_fixed, generator=generator).double(),
    ]
    search = banks.Search(
        t.flow.to(torch.float64),
        t.rows.double().clone(),
        (start[0].clone(), start[1].clone()),
        n_fixed,
        data_likelihood,
    )
    search.decode()

    latents, moments = t.rows.clone(), (start[0].float(), start[1].float())
    packed = pack(t, "decode", precision, target)
    entries, _, stash = packed.forward(latents, None, True)
    entries.clamp_min_(0)
    log_likelihoods = torch.full((S, K), torch.nan)
    stopped = torch.zeros(1, dtype=torch.int32)
    shape = (K, F) if weighted else (S, K, F)
    for i in range(1, 4):
        gradient = torch.randn(shape, generator=generator)
        row_weights = torch.rand(S, K, generator=generator) if weighted else None
        pull = torch.randn(S, K, generator=generator)
        of_rows = gradient * row_weights[..., None] if weighted else gradient
        search.move(0.3 * of_rows.double(), pull.double(), 0.05)
        expected, expected_likelihoods = search.decode()
        arguments = (
            stash,
            gradient,
            row_weights,
            pull,
            torch.tensor([0.3, *adam.corrections(0.05, i)]),
            stopped,
            data_likelihood,
            n_fixed,
            latents,
            moments,
            entries,
            log_likelihoods,
            None,
        )
        packed.update(*arguments)
    bounds = BOUNDS[precision]
    assert_close("latents", latents, search.latents, bounds["gradient"])
    assert_close("entries", entries, expected, bounds["gradient"])
    assert_close("log-likelihoods", log_likelihoods, expected_likelihoods, bounds["gradient"])
    assert torch.equal(latents[..., :n_fixed], t.rows[..., :n_fixed])

    stopped.fill_(1)
    state = (latents, *moments, entries, log_likelihoods, stash.view(torch.int32))
    before = [x.clone() for x in state]
    packed.update(*arguments)
    for x, y in zip(state, before, strict=True):
        assert torch.equal(x, y)
