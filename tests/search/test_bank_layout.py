"""The order in which the CUDA kernels stream weights, against a statement of it in Python."""

from __future__ import annotations

import banks
import pytest
import torch
from torch import Tensor

from dds_fast.flows import RealNVPBank
from dds_fast.ops import FrozenFlow
from dds_fast.search.gpu import cuda_flow as cuda
from dds_fast.search.gpu import cuda_weights as packed_bank
from dds_fast.search.gpu.cuda_weights import PackedBank, Target, rounded_to_tf32, shape_of

PRECISIONS = packed_bank.PRECISIONS


@pytest.fixture(autouse=True)
def needs_module() -> None:
    banks.native()


def sources(shape: object, transposed: bool, chunk_weights: int) -> tuple[Tensor, Tensor]:
    n = shape.n_chunks(transposed)
    weights = torch.empty((n, chunk_weights), dtype=torch.int64)
    biases = torch.empty((n, 64), dtype=torch.int64)
    shape.sources(transposed, weights.data_ptr(), biases.data_ptr())
    return weights, biases


def chunk_weights(precision: str) -> int:
    return 8192 if precision == "bfloat16" else 4096


@pytest.mark.parametrize("n_ctas", [1, 2])
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("widths", [[], [11], [130, 70, 128]])
def test_every_weight_and_bias_has_one_place(precision: str, n_ctas: int, widths: list) -> None:
    n_features, n_passing = 123, 62
    shape = banks.native().Bank(precision, n_features, n_passing, widths, 2, n_ctas)
    inputs, outputs = [n_passing, *widths], [*widths, 2 * (n_features - n_passing)]
    n_weights = sum(i * o for i, o in zip(inputs, outputs, strict=True))
    for transposed in (False, True):
        weights, biases = sources(shape, transposed, chunk_weights(precision))
        taken = weights[weights >= 0].sort().values
        assert torch.equal(taken, torch.arange(n_weights))
        taken = biases[biases >= 0].sort().values
        assert torch.equal(taken, torch.arange(0 if transposed else sum(outputs)))


def unpacked_panel(chunk: Tensor, precision: str) -> Tensor:
    """The ``(64, inputs)`` weights of a chunk, read as the kernels' documents say."""
    if precision == "float32":
        # One row per input; quad l holds columns l, l + 16, l + 32, l + 48.
        return chunk.view(64, 16, 4).permute(2, 1, 0).reshape(64, 64)
    # Tiles of 16 columns; in a lane's four registers (column + 8 (r mod 2), input + 4 (r div 2)).
    n = 2 if precision == "bfloat16" else 1
    tiles = chunk.view(-1, 4, 8, 4, 2, 2, n)  # input tile, column tile, group, member, hi, lo, n
    panel = tiles.permute(1, 5, 2, 0, 4, 3, 6)  # column tile, lo, group; input tile, hi, member, n
    return panel.reshape(64, -1)


@pytest.mark.parametrize("n_ctas", [1, 2])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_chunks_hold_panels_of_the_layers(precision: str, n_ctas: int) -> None:
    S, F, width = 2, 300, 150
    flow = RealNVPBank(S, F, n_steps=2, width=width, depth=2).freeze()
    target = Target((9, 0), 132, 227 << 10, order=0)
    packed = PackedBank(flow, "decode", precision, target, n_ctas)
    per_chunk = 128 if precision == "bfloat16" else 64
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    coupling = flow.steps[1].coupling
    first, middle, last = (w[1] for w in coupling.weights)
    last = last.unflatten(0, (2, F // 2)).transpose(0, 1).flatten(0, 1)  # raw, translation in turn
    layers = {
        False: [first, middle, last],
        True: [last.T, middle.T, first.T],
    }
    biases = [b[1] for b in coupling.biases]
    biases[2] = biases[2].view(2, F // 2).T.flatten()
    for transposed, products in layers.items():
        chunks = packed.weights.copy(transposed)[1, 1]
        at = iter(chunks)
        for cta in range(n_ctas):
            for i, product in enumerate(products):
                columns = -(-product.shape[0] // (64 * n_ctas)) * 64 * n_ctas
                inputs = -(-product.shape[1] // 16) * 16
                if i:
                    inputs = -(-product.shape[1] // (64 * n_ctas)) * 64 * n_ctas
                if transposed and not i:
                    inputs = -(-product.shape[1] // (64 * n_ctas)) * 64 * n_ctas
                whole = torch.zeros(columns, -(-inputs // per_chunk) * per_chunk)
                whole[: product.shape[0], : product.shape[1]] = product
                if precision == "tf32":
                    whole = rounded_to_tf32(whole)
                own = columns // n_ctas
                bias = torch.zeros(columns)
                if not transposed:
                    bias[: product.shape[0]] = biases[i]
                for column in range(cta * own, (cta + 1) * own, 64):
                    for k in range(0, whole.shape[1], per_chunk):
                        chunk = next(at)
                        panel = unpacked_panel(chunk[:16384].view(dtype), precision)
                        expected = whole[column : column + 64, k : k + per_chunk].to(dtype)
                        assert torch.equal(panel, expected), (cta, i, column, k)
                        is_last = k + per_chunk >= whole.shape[1]
                        expected = bias[column : column + 64] if is_last else torch.zeros(64)
                        assert torch.equal(chunk[16384:].view(torch.float32), expected)
        assert next(at, None) is None


@pytest.mark.parametrize("direction", ["encode", "decode"])
def test_records_follow_the_permutations(direction: str) -> None:
    """Moving a feature's place is moving the feature."""
    flow = RealNVPBank(2, 11, n_steps=3, width=4, depth=1).freeze()
    packed = PackedBank(flow, direction, "float32", Target((8, 0), 108, 163 << 10, order=0), 1)
    places = packed.records[..., :22].contiguous().view(torch.int16).long()
    scales = packed.records[..., -16:-8].contiguous().view(torch.float32)
    x = torch.arange(22.0).view(2, 11)
    steps = flow.steps if direction == "encode" else flow.steps[::-1]
    moved = x
    for i, step in enumerate(steps):
        if direction == "encode":
            moved = moved.gather(1, step.order)
        assert torch.equal(x.gather(1, places[:, i]), moved)
        assert torch.equal(scales[:, i, 0], step.coupling.alpha)
        assert torch.equal(scales[:, i, 1], step.coupling.beta)
        if direction == "decode":
            moved = moved.gather(1, step.inverse_order)
    assert torch.equal(x.gather(1, places[:, -1]), moved)


def test_directions_share_weights_and_precisions_do_not() -> None:
    flow = RealNVPBank(2, 12, n_steps=2, width=4, depth=1).freeze()
    target = Target((9, 0), 132, 227 << 10, order=0)
    decode, encode = (PackedBank(flow, d, "float32", target, 2) for d in ("decode", "encode"))
    assert decode.weights is encode.weights
    assert decode.weights.copy(False) is encode.weights.copy(False)
    assert PackedBank(flow, "decode", "bfloat16", target, 2).weights is not decode.weights


def test_a_stream_is_little_more_than_the_weights() -> None:
    """F = 512, layers of 128 units: what the figures of bytes in the documents count."""
    for precision, size in (("float32", 4), ("tf32", 4), ("bfloat16", 2)):
        shape = banks.native().Bank(precision, 512, 256, [128] * 4, 16, 2)
        weights = (256 * 128 + 3 * 128 * 128 + 128 * 512) * size
        for transposed in (False, True):
            assert 1.0 <= shape.n_chunks(transposed) * 16640 / weights < 1.02


def test_two_ctas_share_a_flow_where_no_block_then_waits() -> None:
    flow = RealNVPBank(60, 512, n_steps=1, width=16, depth=1).freeze()
    device = Target((9, 0), 132, 227 << 10)
    assert packed_bank.n_ctas_for(flow, "bfloat16", device, 20) == 2
    assert packed_bank.n_ctas_for(flow, "bfloat16", device, 64) == 1  # in two blocks
    assert packed_bank.n_ctas_for(flow, "bfloat16", Target((9, 0), 114, 227 << 10), 20) == 1
    assert packed_bank.n_ctas_for(flow, "bfloat16", Target((8, 0), 132, 163 << 10), 20) == 1


def test_oldest_architecture_of_a_build() -> None:
    assert cuda.oldest("80-real 90-real 90-virtual") == 80
    assert cuda.oldest("90a") == 90
    assert cuda.oldest("native") == 80


def refusal(flow: FrozenFlow, precision: str = "float32", shared: int = 227 << 10) -> str | None:
    return cuda.refusal_of(flow, precision, Target((9, 0), 132, shared))


def test_refusals_say_why() -> None:
    from dds_fast.flows import ConditionalGlow

    flow = RealNVPBank(2, 42, n_steps=2, width=11, depth=1).freeze()
    assert refusal(flow) is None
    assert "bytes of shared memory" in refusal(flow, shared=8192)
    broad = RealNVPBank(1, 1024, n_steps=1, width=256, depth=4).freeze()
    assert refusal(broad) is None
    assert refusal(broad, "bfloat16", shared=99 << 10) is None
    least = "needs 117632 bytes of shared memory per block, the device has 101376"
    assert least in refusal(broad, shared=99 << 10)
    glow = ConditionalGlow(2, 42, n_steps=2, width=11, depth=1).freeze()
    assert "serves banks" in refusal(glow)
    wide = RealNVPBank(1, 8, n_steps=1, width=600, depth=1).freeze()
    assert "up to 512 units, not 600" in refusal(wide)
    deep = RealNVPBank(1, 8, n_steps=1, width=4, depth=12).freeze()
    assert "up to 9 hidden layers, not 12" in refusal(deep)
    large = RealNVPBank(1, 2050, n_steps=1, width=4, depth=0).freeze()
    assert "up to 2048 features, not 2050" in refusal(large)
    mixed = FrozenFlow((*flow.steps, *RealNVPBank(2, 42, 1, 9, 1).freeze().steps), flow.log_det)
    with pytest.raises(ValueError, match="all of one size"):
        shape_of(mixed, "float32", 1)
