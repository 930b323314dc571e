"""The layers of a large flow, one launch each: the programs share out a layer's features and rows.

Vectors are ``(groups, features, pitch)`` with the rows of a group side by side.
"""

from __future__ import annotations

import triton
import triton.language as tl

from dds_fast.search.gpu.kernels.layers import (
    gradient_tile,
    hidden_tile,
    moving_gradient_tile,
    moving_tile,
    passing_gradient_tile,
    rows_to_state,
    state_to_rows,
)


@triton.jit
def program_rows(n_rows, BLOCK_R: tl.constexpr):
    """A program's group, and its rows with the mask of those that exist, rounded up to four."""
    r = tl.program_id(1).to(tl.int64) * BLOCK_R + tl.arange(0, BLOCK_R)
    return tl.program_id(2).to(tl.int64), r, r < (n_rows + 3) // 4 * 4


@triton.jit(do_not_specialize=["n_rows"])
def rows_to_state_kernel(
    rows, state, n_rows, pitch, FEATURES: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_R: tl.constexpr
):
    group, r, in_rows = program_rows(n_rows, BLOCK_R)
    rows_to_state(
        rows + group * n_rows * FEATURES, n_rows, state + group * FEATURES * pitch, state, pitch,
        tl.program_id(0) * BLOCK_M, r, in_rows, FEATURES, False, BLOCK_M,
    )  # fmt: skip


@triton.jit(do_not_specialize=["n_rows"])
def state_to_rows_kernel(
    state, rows, n_rows, pitch, FEATURES: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_R: tl.constexpr
):
    group, r, _ = program_rows(n_rows, BLOCK_R)
    state_to_rows(
        state + group * FEATURES * pitch, rows + group * n_rows * FEATURES, n_rows, state, pitch,
        tl.program_id(0) * BLOCK_M, r, FEATURES, False, BLOCK_M,
    )  # fmt: skip


@triton.jit(do_not_specialize=["n_rows"])
def hidden_kernel(
    weights,
    biases,
    vectors,
    hidden,
    n_rows,
    pitch,
    weights_stride,
    biases_stride,
    vectors_stride,
    hidden_stride,
    N_OUT: tl.constexpr,
    N_IN: tl.constexpr,
    ACTIVATION: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_R: tl.constexpr,
):
    """``activation(weights @ vectors + biases)``; the strides are those between groups."""
    group, r, in_rows = program_rows(n_rows, BLOCK_R)
    vectors += group * vectors_stride
    hidden_tile(
        weights + group * weights_stride, biases + group * biases_stride, vectors, vectors,
        hidden + group * hidden_stride, pitch, tl.program_id(0) * BLOCK_M, r, in_rows,
        N_OUT, N_IN, False, ACTIVATION, PRECISION, BLOCK_M, BLOCK_K, BLOCK_R,
    )  # fmt: skip


@triton.jit(do_not_specialize=["n_rows"])
def moving_kernel(
    weights,
    biases,
    alpha,
    beta,
    vectors,
    state,
    moving,
    log_dets,
    n_rows,
    pitch,
    weights_stride,
    biases_stride,
    vectors_stride,
    FEATURES: tl.constexpr,
    N_IN: tl.constexpr,
    ENCODE: tl.constexpr,
    KEEP: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_R: tl.constexpr,
):
    """The last layer and the affine map; `log_dets` ``(groups, tiles, pitch)`` takes the sums."""
    PASSING: tl.constexpr = (FEATURES + 1) // 2
    MOVING: tl.constexpr = FEATURES // 2
    group, r, in_rows = program_rows(n_rows, BLOCK_R)
    vectors += group * vectors_stride
    total = moving_tile(
        weights + group * weights_stride, biases + group * biases_stride,
        tl.load(alpha + group), tl.load(beta + group), vectors,
        state + group * FEATURES * pitch, state, moving + group * 2 * MOVING * pitch, pitch,
        tl.program_id(0) * BLOCK_M, r, in_rows,
        PASSING, MOVING, N_IN, ENCODE, KEEP, False, False, PRECISION, BLOCK_M, BLOCK_K, BLOCK_R,
    )  # fmt: skip
    tile = group * tl.num_programs(0) + tl.program_id(0)
    tl.store(log_dets + tile * pitch + r, total, mask=in_rows)


@triton.jit(do_not_specialize=["n_rows"])
def moving_gradient_kernel(
    alpha,
    beta,
    grad_log_det,
    grad_state,
    moving,
    grad_last,
    n_rows,
    pitch,
    FEATURES: tl.constexpr,
    ENCODE: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_R: tl.constexpr,
):
    PASSING: tl.constexpr = (FEATURES + 1) // 2
    MOVING: tl.constexpr = FEATURES // 2
    group, r, in_rows = program_rows(n_rows, BLOCK_R)
    of_log_det = tl.load(grad_log_det + group * n_rows + r, mask=r < n_rows, other=0.0)
    moving_gradient_tile(
        tl.load(alpha + group), tl.load(beta + group), of_log_det,
        grad_state + group * FEATURES * pitch, grad_state,
        moving + group * 2 * MOVING * pitch, grad_last + group * 2 * MOVING * pitch, pitch,
        tl.program_id(0) * BLOCK_M, r, in_rows, PASSING, MOVING, ENCODE, False, BLOCK_M,
    )  # fmt: skip


@triton.jit(do_not_specialize=["n_rows"])
def gradient_kernel(
    weights,
    grad_out,
    hidden,
    grad_in,
    n_rows,
    pitch,
    weights_stride,
    hidden_stride,
    N_OUT: tl.constexpr,
    N_IN: tl.constexpr,
    ACTIVATION: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_R: tl.constexpr,
):
    """``weights^T @ grad_out`` times the slope of the activation that made `hidden`."""
    group, r, in_rows = program_rows(n_rows, BLOCK_R)
    gradient_tile(
        weights + group * weights_stride, grad_out + group * N_OUT * pitch,
        hidden + group * hidden_stride, grad_in + group * N_IN * pitch, pitch,
        tl.program_id(0) * BLOCK_M, r, in_rows,
        N_OUT, N_IN, ACTIVATION, PRECISION, BLOCK_M, BLOCK_K, BLOCK_R,
    )  # fmt: skip


@triton.jit(do_not_specialize=["n_rows"])
def passing_gradient_kernel(
    weights,
    grad_out,
    grad_state,
    n_rows,
    pitch,
    weights_stride,
    N_OUT: tl.constexpr,
    FEATURES: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_R: tl.constexpr,
):
    """Adds ``weights^T @ grad_out`` to the passing half's gradient."""
    PASSING: tl.constexpr = (FEATURES + 1) // 2
    group, r, in_rows = program_rows(n_rows, BLOCK_R)
    passing_gradient_tile(
        weights + group * weights_stride, grad_out + group * N_OUT * pitch,
        grad_state + group * FEATURES * pitch, grad_state, pitch,
        tl.program_id(0) * BLOCK_M, r, in_rows,
        N_OUT, PASSING, False, PRECISION, BLOCK_M, BLOCK_K, BLOCK_R,
    )  # fmt: skip
