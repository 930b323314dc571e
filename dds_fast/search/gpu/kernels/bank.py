"""Whole passes through a bank of flows: one program per flow and block of rows, one launch.

A program walks the steps of its flow with its rows. What a layer hands to the next goes through
memory that only this program touches (the first-level cache holds it), so a barrier of the program
is all that separates the layers; the weights stream past.
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
def block_of_rows(n_rows, BLOCK_R: tl.constexpr):
    """A program's flow (the blocks of one are neighbours and share its weights in the cache), its
    own index, its first row, the places of rows in its block, and how many of them it has."""
    flow, block = tl.program_id(1).to(tl.int64), tl.program_id(0)
    n_own = tl.minimum(n_rows - block * BLOCK_R, BLOCK_R)
    first_row = flow * n_rows + block * BLOCK_R
    return flow, flow * tl.num_programs(0) + block, first_row, tl.arange(0, BLOCK_R), n_own


@triton.jit(do_not_specialize=["n_rows", "n_groups", "n_programs"])
def bank_forward_kernel(
    rows,
    out,
    log_det,
    groups,
    constants,
    weights,
    biases,
    alpha,
    beta,
    places,
    state,
    hidden,
    moving,
    n_rows,
    n_groups,
    n_programs,
    N_STEPS: tl.constexpr,
    FEATURES: tl.constexpr,
    WIDTH: tl.constexpr,
    DEPTH: tl.constexpr,
    ENCODE: tl.constexpr,
    KEEP: tl.constexpr,
    ACTIVATION: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_R: tl.constexpr,
):
    """``(groups, n_rows, FEATURES)`` rows through their flows.

    Memory of the caller: `state` ``(programs, FEATURES, BLOCK_R)``, `hidden` ``(steps, programs,
    DEPTH WIDTH, BLOCK_R)`` and `moving` ``(steps, programs, 2 MOVING, BLOCK_R)``, where steps is 1
    (and `moving` not touched) unless KEEP.
    """
    PASSING: tl.constexpr = (FEATURES + 1) // 2
    MOVING: tl.constexpr = FEATURES // 2
    INPUT: tl.constexpr = WIDTH if DEPTH > 0 else PASSING  # of the last layer
    N_HIDDEN: tl.constexpr = DEPTH * WIDTH
    N_INNER: tl.constexpr = WIDTH * PASSING + (DEPTH - 1) * WIDTH * WIDTH if DEPTH > 0 else 0
    N_WEIGHTS: tl.constexpr = N_INNER + 2 * MOVING * INPUT

    flow, program, first_row, r, n_own = block_of_rows(n_rows, BLOCK_R)
    in_rows = r < (n_own + 3) // 4 * 4  # whole vectors of four
    group = tl.load(groups + flow)
    state += program * FEATURES * BLOCK_R
    for first in range(0, FEATURES, BLOCK_M):
        rows_to_state(
            rows + first_row * FEATURES, n_own, state, places + group * FEATURES, BLOCK_R,
            first, r, in_rows, FEATURES, False, BLOCK_M,
        )  # fmt: skip
    total = tl.zeros((BLOCK_R,), tl.float32) + tl.load(constants + group)
    for applied in range(N_STEPS):
        step = applied if ENCODE else N_STEPS - 1 - applied
        own = step * n_groups + group
        w, b = weights + own * N_WEIGHTS, biases + own * (N_HIDDEN + 2 * MOVING)
        map = places + own * FEATURES
        kept = step * n_programs + program if KEEP else program
        h = hidden + kept * N_HIDDEN * BLOCK_R
        tl.debug_barrier()
        for layer in tl.static_range(DEPTH):
            for first in range(0, WIDTH, BLOCK_M):
                if layer == 0:
                    hidden_tile(
                        w, b, state, map, h, BLOCK_R, first, r, in_rows,
                        WIDTH, PASSING, True, ACTIVATION, PRECISION, BLOCK_M, BLOCK_K, BLOCK_R,
                    )  # fmt: skip
                else:
                    hidden_tile(
                        w + WIDTH * PASSING + (layer - 1) * WIDTH * WIDTH, b + layer * WIDTH,
                        h + (layer - 1) * WIDTH * BLOCK_R, map, h + layer * WIDTH * BLOCK_R,
                        BLOCK_R, first, r, in_rows,
                        WIDTH, WIDTH, False, ACTIVATION, PRECISION, BLOCK_M, BLOCK_K, BLOCK_R,
                    )  # fmt: skip
            tl.debug_barrier()
        for first in range(0, MOVING, BLOCK_M):
            total += moving_tile(
                w + N_INNER, b + N_HIDDEN, tl.load(alpha + own), tl.load(beta + own),
                h + (DEPTH - 1) * WIDTH * BLOCK_R if DEPTH > 0 else state, state, map,
                moving + kept * 2 * MOVING * BLOCK_R, BLOCK_R, first, r, in_rows,
                PASSING, MOVING, INPUT, ENCODE, KEEP, True, DEPTH == 0,
                PRECISION, BLOCK_M, BLOCK_K, BLOCK_R,
            )  # fmt: skip
    tl.debug_barrier()
    last = N_STEPS * n_groups + group
    for first in range(0, FEATURES, BLOCK_M):
        state_to_rows(
            state, out + first_row * FEATURES, n_own, places + last * FEATURES, BLOCK_R,
            first, r, FEATURES, True, BLOCK_M,
        )  # fmt: skip
    tl.store(log_det + first_row + r, total, mask=r < n_own)


@triton.jit(do_not_specialize=["n_rows", "n_groups", "n_programs"])
def bank_backward_kernel(
    grad_out,
    grad_log_det,
    grad_in,
    groups,
    weights,
    alpha,
    beta,
    places,
    hidden,
    moving,
    state,
    scratch,
    n_rows,
    n_groups,
    n_programs,
    N_STEPS: tl.constexpr,
    FEATURES: tl.constexpr,
    WIDTH: tl.constexpr,
    DEPTH: tl.constexpr,
    ENCODE: tl.constexpr,
    ACTIVATION: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_R: tl.constexpr,
):
    """The gradient to the rows of `bank_forward_kernel`, from what it kept.

    Memory of the caller: `state` as there, `scratch` ``(programs, 2, max(2 MOVING, WIDTH),
    BLOCK_R)``.
    """
    PASSING: tl.constexpr = (FEATURES + 1) // 2
    MOVING: tl.constexpr = FEATURES // 2
    INPUT: tl.constexpr = WIDTH if DEPTH > 0 else PASSING
    N_HIDDEN: tl.constexpr = DEPTH * WIDTH
    N_INNER: tl.constexpr = WIDTH * PASSING + (DEPTH - 1) * WIDTH * WIDTH if DEPTH > 0 else 0
    N_WEIGHTS: tl.constexpr = N_INNER + 2 * MOVING * INPUT
    LARGEST: tl.constexpr = 2 * MOVING if 2 * MOVING > WIDTH else WIDTH

    flow, program, first_row, r, n_own = block_of_rows(n_rows, BLOCK_R)
    in_rows = r < (n_own + 3) // 4 * 4
    group = tl.load(groups + flow)
    state += program * FEATURES * BLOCK_R
    last = N_STEPS * n_groups + group
    for first in range(0, FEATURES, BLOCK_M):
        rows_to_state(
            grad_out + first_row * FEATURES, n_own, state, places + last * FEATURES, BLOCK_R,
            first, r, in_rows, FEATURES, True, BLOCK_M,
        )  # fmt: skip
    of_log_det = tl.load(grad_log_det + first_row + r, mask=r < n_own, other=0.0)
    even = scratch + program * 2 * LARGEST * BLOCK_R
    odd = even + LARGEST * BLOCK_R
    for undone in range(N_STEPS):
        step = N_STEPS - 1 - undone if ENCODE else undone
        own = step * n_groups + group
        w = weights + own * N_WEIGHTS
        map = places + own * FEATURES
        kept = step * n_programs + program
        h = hidden + kept * N_HIDDEN * BLOCK_R
        tl.debug_barrier()
        for first in range(0, MOVING, BLOCK_M):
            moving_gradient_tile(
                tl.load(alpha + own), tl.load(beta + own), of_log_det, state, map,
                moving + kept * 2 * MOVING * BLOCK_R, even, BLOCK_R, first, r, in_rows,
                PASSING, MOVING, ENCODE, True, BLOCK_M,
            )  # fmt: skip
        tl.debug_barrier()
        if DEPTH == 0:
            for first in range(0, PASSING, BLOCK_M):
                passing_gradient_tile(
                    w, even, state, map, BLOCK_R, first, r, in_rows,
                    2 * MOVING, PASSING, True, PRECISION, BLOCK_M, BLOCK_K, BLOCK_R,
                )  # fmt: skip
        else:
            for first in range(0, WIDTH, BLOCK_M):
                gradient_tile(
                    w + N_INNER, even, h + (DEPTH - 1) * WIDTH * BLOCK_R, odd, BLOCK_R, first, r,
                    in_rows, 2 * MOVING, WIDTH, ACTIVATION, PRECISION, BLOCK_M, BLOCK_K, BLOCK_R,
                )  # fmt: skip
            tl.debug_barrier()
            for layers_done in tl.static_range(1, DEPTH):
                layer = DEPTH - layers_done
                source = odd if layers_done % 2 == 1 else even
                target = even if layers_done % 2 == 1 else odd
                for first in range(0, WIDTH, BLOCK_M):
                    gradient_tile(
                        w + WIDTH * PASSING + (layer - 1) * WIDTH * WIDTH, source,
                        h + (layer - 1) * WIDTH * BLOCK_R, target, BLOCK_R, first, r, in_rows,
                        WIDTH, WIDTH, ACTIVATION, PRECISION, BLOCK_M, BLOCK_K, BLOCK_R,
                    )  # fmt: skip
                tl.debug_barrier()
            for first in range(0, PASSING, BLOCK_M):
                passing_gradient_tile(
                    w, odd if DEPTH % 2 == 1 else even, state, map, BLOCK_R, first, r, in_rows,
                    WIDTH, PASSING, True, PRECISION, BLOCK_M, BLOCK_K, BLOCK_R,
                )  # fmt: skip
    tl.debug_barrier()
    for first in range(0, FEATURES, BLOCK_M):
        state_to_rows(
            state, grad_in + first_row * FEATURES, n_own, places + group * FEATURES, BLOCK_R,
            first, r, FEATURES, False, BLOCK_M,
        )  # fmt: skip
