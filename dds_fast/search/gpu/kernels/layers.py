"""Tiles of the layers of a coupling step: what the kernels for banks and for one large flow share.

A tile is ``(BLOCK_M features, BLOCK_R rows)``. Vectors lie feature-major with a `pitch` between
features; `places` says where a logical feature of the state lies, so that permutations move no
data. Pointers to vectors and weights are those of the program's own group and block of rows.
"""

from __future__ import annotations

import triton
import triton.language as tl

from dds_fast.search.gpu.kernels.arithmetic import activate, multiply_add, rounded, slope, tanh


@triton.jit
def at(places, i, inside, PERMUTED: tl.constexpr):
    """Where the logical features `i` of the state lie."""
    if PERMUTED:
        return tl.load(places + i, mask=inside, other=0).to(tl.int64)
    else:
        return i


@triton.jit
def dense(
    weights,
    stride_m,
    stride_k,
    vectors,
    places,
    pitch,
    m,
    r,
    in_rows,
    N_M: tl.constexpr,
    N_K: tl.constexpr,
    PERMUTED: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_R: tl.constexpr,
):
    """``(BLOCK_M, BLOCK_R)`` of ``weights @ vectors``: rows `m` of the first, `r` of the second."""
    total = tl.zeros((BLOCK_M, BLOCK_R), tl.float32)
    for start in range(0, N_K, BLOCK_K):
        k = start + tl.arange(0, BLOCK_K).to(tl.int64)
        in_k = k < N_K
        w = tl.load(
            weights + m[:, None] * stride_m + k[None, :] * stride_k,
            mask=(m < N_M)[:, None] & in_k[None, :],
            other=0.0,
        )
        v = tl.load(
            vectors + at(places, k, in_k, PERMUTED)[:, None] * pitch + r[None, :],
            mask=in_k[:, None] & in_rows[None, :],
            other=0.0,
        )
        total = multiply_add(w, v.to(tl.float32), total, PRECISION)
    return total


@triton.jit
def hidden_tile(
    weights,
    biases,
    vectors,
    places,
    hidden,
    pitch,
    first,
    r,
    in_rows,
    N_OUT: tl.constexpr,
    N_IN: tl.constexpr,
    PERMUTED: tl.constexpr,
    ACTIVATION: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_R: tl.constexpr,
):
    """A tile of ``activation(weights @ vectors + biases)``, from output `first` on."""
    m = first + tl.arange(0, BLOCK_M).to(tl.int64)
    y = dense(
        weights, N_IN, 1, vectors, places, pitch, m, r, in_rows,
        N_OUT, N_IN, PERMUTED, PRECISION, BLOCK_M, BLOCK_K, BLOCK_R,
    )  # fmt: skip
    y = activate(y + tl.load(biases + m, mask=m < N_OUT, other=0.0)[:, None], ACTIVATION)
    if PRECISION == "bfloat16":
        y = rounded(y)
    inside = (m < N_OUT)[:, None] & in_rows[None, :]
    tl.store(hidden + m[:, None] * pitch + r[None, :], y.to(hidden.dtype.element_ty), mask=inside)


@triton.jit
def moving_tile(
    weights,
    biases,
    alpha,
    beta,
    vectors,
    state,
    places,
    moving,
    pitch,
    first,
    r,
    in_rows,
    PASSING: tl.constexpr,
    MOVING: tl.constexpr,
    N_IN: tl.constexpr,
    ENCODE: tl.constexpr,
    KEEP: tl.constexpr,
    PERMUTED: tl.constexpr,
    PERMUTED_INPUT: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_R: tl.constexpr,
):
    """A tile of the last layer and of the affine map that it makes, applied to the state in place.

    Writes ``tanh r`` and the moving half before (encode) or after (decode) the scaling to `moving`
    for the gradient. Returns the ``(BLOCK_R,)`` sum over the tile's features of the log-scale.
    """
    m = first + tl.arange(0, BLOCK_M).to(tl.int64)
    in_m = m < MOVING
    raw = dense(
        weights, N_IN, 1, vectors, places, pitch, m, r, in_rows,
        MOVING, N_IN, PERMUTED_INPUT, PRECISION, BLOCK_M, BLOCK_K, BLOCK_R,
    )  # fmt: skip
    translation = dense(
        weights + MOVING * N_IN, N_IN, 1, vectors, places, pitch, m, r, in_rows,
        MOVING, N_IN, PERMUTED_INPUT, PRECISION, BLOCK_M, BLOCK_K, BLOCK_R,
    )  # fmt: skip
    bounded = tanh(raw + tl.load(biases + m, mask=in_m, other=0.0)[:, None])
    translation += tl.load(biases + MOVING + m, mask=in_m, other=0.0)[:, None]
    log_scale = alpha * bounded + beta
    inside = in_m[:, None] & in_rows[None, :]
    lies = at(places, PASSING + m, in_m, PERMUTED)[:, None] * pitch + r[None, :]
    before = tl.load(state + lies, mask=inside, other=0.0)
    if ENCODE:
        after = before * tl.exp(log_scale) + translation
    else:
        log_scale = -log_scale
        after = (before - translation) * tl.exp(log_scale)
    tl.store(state + lies, after, mask=inside)
    if KEEP:
        kept = moving + m[:, None] * pitch + r[None, :]
        tl.store(kept, bounded, mask=inside)
        tl.store(kept + MOVING * pitch, before if ENCODE else after, mask=inside)
    return tl.sum(tl.where(in_m[:, None], log_scale, 0.0), axis=0)


@triton.jit
def moving_gradient_tile(
    alpha,
    beta,
    grad_log_det,
    grad_state,
    places,
    moving,
    grad_last,
    pitch,
    first,
    r,
    in_rows,
    PASSING: tl.constexpr,
    MOVING: tl.constexpr,
    ENCODE: tl.constexpr,
    PERMUTED: tl.constexpr,
    BLOCK_M: tl.constexpr,
):
    """The gradient of `moving_tile` to the last layer's outputs, and to the moving half.

    `grad_log_det` is a ``(BLOCK_R,)`` tile; the moving half of `grad_state` is scaled in place.
    """
    m = first + tl.arange(0, BLOCK_M).to(tl.int64)
    in_m = m < MOVING
    inside = in_m[:, None] & in_rows[None, :]
    kept = moving + m[:, None] * pitch + r[None, :]
    bounded = tl.load(kept, mask=inside, other=0.0)
    moved = tl.load(kept + MOVING * pitch, mask=inside, other=0.0)
    lies = at(places, PASSING + m, in_m, PERMUTED)[:, None] * pitch + r[None, :]
    grad = tl.load(grad_state + lies, mask=inside, other=0.0)
    log_scale = alpha * bounded + beta
    if ENCODE:
        scaled = grad * tl.exp(log_scale)
        grad_log_scale = scaled * moved + grad_log_det[None, :]
        grad_translation = grad
    else:
        scaled = grad * tl.exp(-log_scale)
        grad_log_scale = -grad * moved - grad_log_det[None, :]
        grad_translation = -scaled
    grad_raw = grad_log_scale * alpha * (1.0 - bounded * bounded)
    tl.store(grad_state + lies, scaled, mask=inside)
    target = grad_last + m[:, None] * pitch + r[None, :]
    tl.store(target, grad_raw, mask=inside)
    tl.store(target + MOVING * pitch, grad_translation, mask=inside)


@triton.jit
def gradient_tile(
    weights,
    grad_out,
    hidden,
    grad_in,
    pitch,
    first,
    r,
    in_rows,
    N_OUT: tl.constexpr,
    N_IN: tl.constexpr,
    ACTIVATION: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_R: tl.constexpr,
):
    """A tile of ``weights^T @ grad_out``, times the slope of the activation that made `hidden`."""
    m = first + tl.arange(0, BLOCK_M).to(tl.int64)
    grad = dense(
        weights, 1, N_IN, grad_out, grad_out, pitch, m, r, in_rows,
        N_IN, N_OUT, False, PRECISION, BLOCK_M, BLOCK_K, BLOCK_R,
    )  # fmt: skip
    inside = (m < N_IN)[:, None] & in_rows[None, :]
    lies = m[:, None] * pitch + r[None, :]
    if ACTIVATION != "none":
        y = tl.load(hidden + lies, mask=inside, other=0.0).to(tl.float32)
        grad *= slope(y, ACTIVATION)
    tl.store(grad_in + lies, grad, mask=inside)


@triton.jit
def passing_gradient_tile(
    weights,
    grad_out,
    grad_state,
    places,
    pitch,
    first,
    r,
    in_rows,
    N_OUT: tl.constexpr,
    PASSING: tl.constexpr,
    PERMUTED: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_R: tl.constexpr,
):
    """Adds a tile of the first layer's ``weights^T @ grad_out`` to the passing half's gradient."""
    m = first + tl.arange(0, BLOCK_M).to(tl.int64)
    in_m = m < PASSING
    grad = dense(
        weights, 1, PASSING, grad_out, grad_out, pitch, m, r, in_rows,
        PASSING, N_OUT, False, PRECISION, BLOCK_M, BLOCK_K, BLOCK_R,
    )  # fmt: skip
    inside = in_m[:, None] & in_rows[None, :]
    lies = grad_state + at(places, m, in_m, PERMUTED)[:, None] * pitch + r[None, :]
    tl.store(lies, tl.load(lies, mask=inside, other=0.0) + grad, mask=inside)


@triton.jit
def rows_to_state(
    rows,
    n_rows,
    state,
    places,
    pitch,
    first,
    r,
    in_rows,
    FEATURES: tl.constexpr,
    PERMUTED: tl.constexpr,
    BLOCK_M: tl.constexpr,
):
    """A tile of the state, from row-major ``(n_rows, FEATURES)``; zeros in rows beyond."""
    m = first + tl.arange(0, BLOCK_M).to(tl.int64)
    in_m = m < FEATURES
    given = in_m[:, None] & (r < n_rows)[None, :]
    values = tl.load(rows + r[None, :] * FEATURES + m[:, None], mask=given, other=0.0)
    lies = at(places, m, in_m, PERMUTED)[:, None] * pitch + r[None, :]
    tl.store(state + lies, values, mask=in_m[:, None] & in_rows[None, :])


@triton.jit
def state_to_rows(
    state,
    rows,
    n_rows,
    places,
    pitch,
    first,
    r,
    FEATURES: tl.constexpr,
    PERMUTED: tl.constexpr,
    BLOCK_M: tl.constexpr,
):
    """The inverse of `rows_to_state`."""
    m = first + tl.arange(0, BLOCK_M).to(tl.int64)
    in_m = m < FEATURES
    inside = in_m[:, None] & (r < n_rows)[None, :]
    lies = at(places, m, in_m, PERMUTED)[:, None] * pitch + r[None, :]
    values = tl.load(state + lies, mask=inside, other=0.0)
    tl.store(rows + r[None, :] * FEATURES + m[:, None], values, mask=inside)
