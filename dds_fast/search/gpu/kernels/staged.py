"""The staged search's own: products, multiplicative updates, activity of sources, the cost.

An update is one launch: a tile of ``W^T W H`` and, in its epilogue, what becomes of that tile of H.
It is written beside the old activations, which other programs still read.
"""

from __future__ import annotations

import triton
import triton.language as tl

from dds_fast.search.gpu.kernels.objective import product, tile
from dds_fast.search.gpu.kernels.search import N_COSTS, NON_FINITE, STOPPED, summed

TINY = tl.constexpr(1e-9)  # staged.TINY


@triton.jit(do_not_specialize=["n_m", "n_n", "n_k"])
def product_kernel(
    a,
    b,
    out,
    n_m,
    n_n,
    n_k,
    a_m,
    a_k,
    b_k,
    b_n,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """``out = a @ b``, ``(M, N)``; factors in any strides."""
    m, n, _ = tile(BLOCK_M, BLOCK_N)
    values = product(
        a, a_m, a_k, b, b_k, b_n, m, n, n_m, n_n, n_k, PRECISION, BLOCK_M, BLOCK_N, BLOCK_K
    )
    inside = (m < n_m)[:, None] & (n < n_n)[None, :]
    tl.store(out + m[:, None] * n_n + n[None, :], values, mask=inside)


@triton.jit(do_not_specialize=["n_entries", "n_frames", "n_summed"])
def update_kernel(
    left,
    right,
    H,
    numerator,
    norms,
    labels,
    weights,
    updated,
    n_entries,
    n_frames,
    n_summed,
    right_k,
    right_n,
    OVER_RELAXED: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """``updated = H ratio``, ``(J, T)``, or ``H ratio^1.5`` if over-relaxed, with
    ``ratio = numerator / (left @ right + weights norms + TINY)``.

    `left` ``(J, K)`` and `right` ``(K, T)`` are the Gram matrix and H, or the entries and what H
    makes of them; `weights` ``(S, T)`` are those of the l1 norm, by the `labels` of the entries.
    """
    j, t, _ = tile(BLOCK_M, BLOCK_N)
    in_j, in_t = j < n_entries, t < n_frames
    explained = product(
        left, n_summed, 1, right, right_k, right_n, j, t, n_entries, n_frames, n_summed,
        PRECISION, BLOCK_M, BLOCK_N, BLOCK_K,
    )  # fmt: skip
    inside = in_j[:, None] & in_t[None, :]
    lies = j[:, None] * n_frames + t[None, :]
    source = tl.load(labels + j, mask=in_j, other=0)
    weight = tl.load(weights + source[:, None] * n_frames + t[None, :], mask=inside, other=0.0)
    penalty = weight * tl.load(norms + j, mask=in_j, other=0.0)[:, None]
    ratio = tl.load(numerator + lies, mask=inside, other=0.0) / (explained + penalty + TINY)
    if OVER_RELAXED:
        ratio *= tl.sqrt(ratio)
    tl.store(updated + lies, tl.load(H + lies, mask=inside, other=0.0) * ratio, mask=inside)


@triton.jit(do_not_specialize=["n_frames"])
def activity_kernel(H, norms, first_entry, activity, n_frames, BLOCK: tl.constexpr):
    """``(S, T)`` activations times the norms of their entries, added up source by source.

    The entries of source s are those from ``first_entry[s]`` up to ``first_entry[s + 1]``.
    """
    s = tl.program_id(0).to(tl.int64)
    t = tl.program_id(1).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    in_t = t < n_frames
    total = tl.zeros((BLOCK,), tl.float32)
    for j in range(tl.load(first_entry + s), tl.load(first_entry + s + 1)):
        total += tl.load(H + j * n_frames + t, mask=in_t, other=0.0) * tl.load(norms + j)
    tl.store(activity + s * n_frames + t, total, mask=in_t)


@triton.jit(do_not_specialize=["n_squares", "n_sums"])
def cost_kernel(
    squares,
    sums,
    wide,
    inverse_norm,
    counters,
    history,
    n_squares,
    n_sums,
    RECORD: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """The norm; and, after a step, the cost into the history, until one is not finite.

    `wide` is the penalty's weight; it, the sums and `history` are float64, `counters` int64.
    """
    norm = tl.sqrt(summed(squares, n_squares, 1, BLOCK))
    tl.store(inverse_norm, tl.where(norm > 0.0, 1.0 / norm, 0.0).to(tl.float32))
    if RECORD:
        if tl.load(counters + STOPPED) == 0:
            cost = norm - tl.load(wide) * summed(sums, n_sums, 2, BLOCK)
            n = tl.load(counters + N_COSTS)
            tl.store(history + n, cost)
            tl.store(counters + N_COSTS, n + 1)
            finite = tl.abs(cost) < float("inf")
            tl.store(counters + STOPPED, tl.where(finite, 0, NON_FINITE))
