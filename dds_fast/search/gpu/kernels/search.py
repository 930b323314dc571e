"""The moving parts of a search on the device: Adam on latents and activations, and the schedule.

Once the schedule has stopped, nothing moves any more: a graph may be replayed beyond the stop.
"""

from __future__ import annotations

import triton
import triton.language as tl

from dds_fast.search.gpu.kernels.objective import (
    activation_gradient,
    frame_correlation,
    product,
    tile,
)

BETA_1, BETA_2, EPSILON = tl.constexpr(0.9), tl.constexpr(0.999), tl.constexpr(1e-8)

# Places of the schedule's numbers; the host reads and writes them by these names.
INVERSE_NORM, RATE, RMS_CORRECTION = tl.constexpr(0), tl.constexpr(1), tl.constexpr(2)
BEST, STEP_SIZE, POWER_1, POWER_2 = (tl.constexpr(i) for i in range(4))
PENALTY, SPARSITY, FACTOR, TOLERANCE = (tl.constexpr(i) for i in range(4, 8))
N_COSTS, ABOVE_BEST, INCREASES, STOPPED = (tl.constexpr(i) for i in range(4))
MAX_STEPS, CONVERGED, DIVERGED, NON_FINITE = (tl.constexpr(i) for i in range(1, 5))


@triton.jit
def adam(values, gradient, first, second, lies, inside, rate, rms_correction):
    """The values after a step of Adam; the moments ``first[lies]``, ``second[lies]`` in place."""
    m = tl.load(first + lies, mask=inside, other=0.0)
    v = tl.load(second + lies, mask=inside, other=0.0)
    m = BETA_1 * m + (1.0 - BETA_1) * gradient
    v = BETA_2 * v + (1.0 - BETA_2) * gradient * gradient
    tl.store(first + lies, m, mask=inside)
    tl.store(second + lies, v, mask=inside)
    return values - rate * m / (tl.sqrt(v) * rms_correction + EPSILON)


@triton.jit
def latents_kernel(
    Z,
    first,
    second,
    gradient,
    likelihood_gradient,
    log_likelihoods,
    numbers,
    counters,
    N_FEATURES: tl.constexpr,
    N_FIXED: tl.constexpr,
    BLOCK: tl.constexpr,
    MOVE: tl.constexpr,
):
    """A step of Adam on one row of latents, and the log-likelihood of the row, per dimension.

    The gradient of the likelihood itself is added here. `first` and `second` are as wide as Z.
    """
    row = tl.program_id(0).to(tl.int64)
    moves = MOVE
    if MOVE:
        moves = tl.load(counters + STOPPED) == 0
    D: tl.constexpr = N_FEATURES - N_FIXED
    HALF_LOG_2_PI: tl.constexpr = 0.9189385332046727
    squares = tl.zeros((BLOCK,), tl.float32)
    for start in range(N_FIXED, N_FEATURES, BLOCK):
        f = start + tl.arange(0, BLOCK)
        in_f = f < N_FEATURES
        lies = row * N_FEATURES + f
        z = tl.load(Z + lies, mask=in_f, other=0.0)
        if moves:
            g = tl.load(gradient + lies, mask=in_f, other=0.0)
            g -= tl.load(likelihood_gradient + row) * z / D
            rate, correction = tl.load(numbers + RATE), tl.load(numbers + RMS_CORRECTION)
            z = adam(z, g, first, second, lies, in_f, rate, correction)
            z = tl.where(in_f, z, 0.0)
            tl.store(Z + lies, z, mask=in_f)
        squares += z * z
    tl.store(log_likelihoods + row, -HALF_LOG_2_PI - tl.sum(squares, axis=0) / (2.0 * D))


@triton.jit
def move_activations(
    correlation,
    H,
    active,
    first,
    second,
    likelihood,
    attributed,
    total,
    numbers,
    penalty,
    sparsity,
    lies,
    inside,
    PENALISED: tl.constexpr,
    PROJECTED: tl.constexpr,
):
    """A step of Adam on a tile of activations, with the mask or the projection at zero."""
    h = tl.load(H + lies, mask=inside, other=0.0)
    gradient = activation_gradient(
        correlation, tl.where(inside, 1.0, 0.0) if PROJECTED else h, likelihood, attributed, total,
        tl.load(numbers + INVERSE_NORM), penalty, sparsity, PENALISED,
    )  # fmt: skip
    rate, correction = tl.load(numbers + RATE), tl.load(numbers + RMS_CORRECTION)
    h = adam(h, gradient, first, second, lies, inside, rate, correction)
    positive = tl.where(h < 0.0, 0.0, h)  # NaN stays NaN
    tl.store(H + lies, positive if PROJECTED else h, mask=inside)
    tl.store(active + lies, positive, mask=inside)


@triton.jit(do_not_specialize=["n_frames", "n_entries"])
def activations_kernel(
    D,
    residual,
    H,
    active,
    first,
    second,
    log_likelihoods,
    attributed,
    total,
    numbers,
    counters,
    penalty,
    sparsity,
    n_frames,
    n_features,
    n_entries,
    d_entry,
    d_feature,
    PENALISED: tl.constexpr,
    PROJECTED: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """The activations' half-step with entries that all frames share: ``D R^T`` and Adam."""
    if tl.load(counters + STOPPED) == 0:
        j, t, _ = tile(BLOCK_M, BLOCK_N)
        in_j, in_t = j < n_entries, t < n_frames
        correlation = product(
            D, d_entry, d_feature, residual, 1, n_features, j, t, n_entries, n_frames, n_features,
            PRECISION, BLOCK_M, BLOCK_N, BLOCK_K,
        )  # fmt: skip
        likelihood, mean, divisor = 0.0, 0.0, 1.0
        if PENALISED:
            likelihood = tl.load(log_likelihoods + j, mask=in_j, other=0.0)[:, None]
            mean = tl.load(attributed + t, mask=in_t, other=0.0)[None, :]
            divisor = tl.load(total + t, mask=in_t, other=1.0)[None, :]
        move_activations(
            correlation, H, active, first, second, likelihood, mean, divisor, numbers,
            penalty, sparsity, j[:, None] * n_frames + t[None, :], in_j[:, None] & in_t[None, :],
            PENALISED, PROJECTED,
        )  # fmt: skip


@triton.jit(do_not_specialize=["n_frames", "n_entries"])
def frame_activations_kernel(
    D,
    residual,
    H,
    active,
    first,
    second,
    log_likelihoods,
    attributed,
    total,
    numbers,
    counters,
    penalty,
    sparsity,
    n_frames,
    n_features,
    n_entries,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """The same with entries ``(S, T, F)`` of each frame's own."""
    if tl.load(counters + STOPPED) == 0:
        t = tl.program_id(0).to(tl.int64)
        s = tl.program_id(1).to(tl.int64) * BLOCK_M + tl.arange(0, BLOCK_M)
        in_s = s < n_entries
        lies = s * n_frames + t
        correlation = frame_correlation(D, residual, lies, in_s, t, n_features, BLOCK_M, BLOCK_N)
        move_activations(
            correlation, H, active, first, second,
            tl.load(log_likelihoods + lies, mask=in_s, other=0.0), tl.load(attributed + t),
            tl.load(total + t), numbers, penalty, sparsity, lies, in_s, True, False,
        )  # fmt: skip


@triton.jit
def summed(values, n_values, stride, BLOCK: tl.constexpr):
    """The sum of float64 values, in a fixed order."""
    total = tl.zeros((BLOCK,), tl.float64)
    for start in range(0, n_values, BLOCK):
        i = start + tl.arange(0, BLOCK)
        total += tl.load(values + i * stride, mask=i < n_values, other=0.0)
    return tl.sum(total, axis=0)


@triton.jit
def observe(
    norm,
    sums,
    numbers,
    wide,
    counters,
    history,
    n_sums,
    patience,
    max_increases,
    max_steps,
    BLOCK: tl.constexpr,
):
    """Takes the cost after an update step: ``schedule.Controller.observe``, on the device."""
    if tl.load(counters + STOPPED) == 0:
        cost = norm - tl.load(wide + PENALTY) * summed(sums, n_sums, 2, BLOCK)
        cost += tl.load(wide + SPARSITY) * summed(sums + 1, n_sums, 2, BLOCK)
        n = tl.load(counters + N_COSTS)
        best = tl.load(wide + BEST)
        step_size = tl.load(wide + STEP_SIZE)
        above = tl.load(counters + ABOVE_BEST)
        increases = tl.load(counters + INCREASES)
        tl.store(history + n, cost)
        finite = tl.abs(cost) < float("inf")
        judged = finite & (n > 0)
        previous = tl.load(history + n - 1, mask=n > 0, other=float("inf"))
        above = tl.where(judged, tl.where(cost > best, above + 1, 0), above)
        halve = judged & (above > patience)
        step_size = tl.where(halve, step_size * tl.load(wide + FACTOR), step_size)
        above = tl.where(halve, 0, above)
        increases = tl.where(judged, tl.where(cost >= previous, increases + 1, 0), increases)
        stop = tl.where(n + 1 > max_steps, MAX_STEPS, 0)
        stop = tl.where(
            judged & (tl.abs(cost - previous) < tl.load(wide + TOLERANCE)), CONVERGED, stop
        )
        stop = tl.where(judged & (increases > max_increases), DIVERGED, stop)
        stop = tl.where(finite, stop, NON_FINITE)
        tl.store(wide + BEST, tl.where(finite & (cost < best), cost, best))
        tl.store(wide + STEP_SIZE, step_size)
        tl.store(counters + N_COSTS, n + 1)
        tl.store(counters + ABOVE_BEST, above)
        tl.store(counters + INCREASES, increases)
        tl.store(counters + STOPPED, stop)
        power_1 = tl.load(wide + POWER_1) * 0.9
        power_2 = tl.load(wide + POWER_2) * 0.999
        tl.store(wide + POWER_1, power_1)
        tl.store(wide + POWER_2, power_2)
        tl.store(numbers + RATE, (step_size / (1.0 - power_1)).to(tl.float32))
        tl.store(numbers + RMS_CORRECTION, (1.0 / tl.sqrt(1.0 - power_2)).to(tl.float32))


@triton.jit(do_not_specialize=["n_squares", "n_sums", "patience", "max_increases", "max_steps"])
def schedule_kernel(
    squares,
    sums,
    numbers,
    wide,
    counters,
    history,
    n_squares,
    n_sums,
    patience,
    max_increases,
    max_steps,
    OBSERVE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """The norm; and, at the end of an update step, the cost and what follows from it.

    The rules are those of ``schedule.Controller``; `numbers` is float32, `wide` and `history` are
    float64, `counters` int64.
    """
    norm = tl.sqrt(summed(squares, n_squares, 1, BLOCK))
    inverse = tl.where(norm > 0.0, 1.0 / norm, 0.0)
    tl.store(numbers + INVERSE_NORM, inverse.to(tl.float32))
    if OBSERVE:
        observe(
            norm, sums, numbers, wide, counters, history, n_sums,
            patience, max_increases, max_steps, BLOCK,
        )  # fmt: skip
