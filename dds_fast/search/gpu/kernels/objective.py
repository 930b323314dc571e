"""The decomposition objective and its gradients (docs/method.md, The objective).

The residual ``W H - X`` is held by frames, ``(T, F)``, like the target `Xt`, and written: all of it
stays in the second-level cache (0.6 MB at F = 512 and T = 300), and each of its two readers would
otherwise repeat a product. Sums that the schedule compares are float64 from the tile on, added in
a fixed order.
"""

from __future__ import annotations

import triton
import triton.language as tl

from dds_fast.search.gpu.kernels.arithmetic import multiply_add


@triton.jit
def product(
    a,
    a_m,
    a_k,
    b,
    b_k,
    b_n,
    m,
    n,
    n_m,
    n_n,
    n_k,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """``(BLOCK_M, BLOCK_N)`` of ``a @ b`` at rows `m` and columns `n`; strides of any order."""
    total = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    for start in range(0, n_k, BLOCK_K):
        k = start + tl.arange(0, BLOCK_K).to(tl.int64)
        in_a = (m < n_m)[:, None] & (k < n_k)[None, :]
        in_b = (k < n_k)[:, None] & (n < n_n)[None, :]
        left = tl.load(a + m[:, None] * a_m + k[None, :] * a_k, mask=in_a, other=0.0)
        right = tl.load(b + k[:, None] * b_k + n[None, :] * b_n, mask=in_b, other=0.0)
        total = multiply_add(left, right, total, PRECISION)
    return total


@triton.jit
def tile(BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr):
    """Rows and columns of a program's tile, and the tile's place among all."""
    m = tl.program_id(0).to(tl.int64) * BLOCK_M + tl.arange(0, BLOCK_M)
    n = tl.program_id(1).to(tl.int64) * BLOCK_N + tl.arange(0, BLOCK_N)
    return m, n, tl.program_id(0) * tl.num_programs(1) + tl.program_id(1)


@triton.jit
def finish_residual(approximation, Xt, residual, squares, t, f, place, n_frames, n_features):
    """Writes a tile of the residual and the sum of its squares."""
    inside = (t < n_frames)[:, None] & (f < n_features)[None, :]
    lies = t[:, None] * n_features + f[None, :]
    values = approximation - tl.load(Xt + lies, mask=inside, other=0.0)
    tl.store(residual + lies, values, mask=inside)
    wide = tl.where(inside, values, 0.0).to(tl.float64)
    tl.store(squares + place, tl.sum(tl.sum(wide * wide, axis=1), axis=0))


@triton.jit(do_not_specialize=["n_frames", "n_entries"])
def residual_kernel(
    H,
    D,
    Xt,
    residual,
    squares,
    n_frames,
    n_features,
    n_entries,
    h_stride,
    d_entry,
    d_feature,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """``H^T D - Xt`` with entries that all frames share."""
    t, f, place = tile(BLOCK_M, BLOCK_N)
    approximation = product(
        H, 1, h_stride, D, d_entry, d_feature, t, f, n_frames, n_features, n_entries,
        PRECISION, BLOCK_M, BLOCK_N, BLOCK_K,
    )  # fmt: skip
    finish_residual(approximation, Xt, residual, squares, t, f, place, n_frames, n_features)


@triton.jit(do_not_specialize=["n_frames", "n_entries"])
def frame_residual_kernel(
    H,
    D,
    Xt,
    residual,
    squares,
    n_frames,
    n_features,
    n_entries,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """The same with entries ``(S, T, F)`` of each frame's own (DDS-1)."""
    t, f, place = tile(BLOCK_M, BLOCK_N)
    inside = (t < n_frames)[:, None] & (f < n_features)[None, :]
    lies = t[:, None] * n_features + f[None, :]
    total = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    size = n_frames.to(tl.int64) * n_features
    for s in range(n_entries):
        h = tl.load(H + s * n_frames + t, mask=t < n_frames, other=0.0)
        total += h[:, None] * tl.load(D + s * size + lies, mask=inside, other=0.0)
    finish_residual(total, Xt, residual, squares, t, f, place, n_frames, n_features)


@triton.jit(do_not_specialize=["n_frames", "n_entries"])
def frames_kernel(
    H,
    log_likelihoods,
    total,
    attributed,
    sums,
    epsilon,
    n_frames,
    n_entries,
    PER_FRAME: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """Each frame's sum of activations and mean log-likelihood by them.

    `sums` ``(programs, 2)``, float64, takes the sums over frames of the mean log-likelihood, and of
    the activations.
    """
    t = tl.program_id(0).to(tl.int64) * BLOCK_N + tl.arange(0, BLOCK_N)
    in_t = t < n_frames
    active = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    weighted = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    for start in range(0, n_entries, BLOCK_M):
        j = start + tl.arange(0, BLOCK_M).to(tl.int64)
        inside = (j < n_entries)[:, None] & in_t[None, :]
        lies = j[:, None] * n_frames + t[None, :]
        h = tl.load(H + lies, mask=inside, other=0.0)
        if PER_FRAME:
            likelihood = tl.load(log_likelihoods + lies, mask=inside, other=0.0)
        else:
            likelihood = tl.load(log_likelihoods + j, mask=j < n_entries, other=0.0)[:, None]
        active += h
        weighted += h * likelihood
    in_frame = tl.sum(active, axis=0)
    divisor = in_frame + epsilon
    # A fixed dictionary has no epsilon, and no likelihoods either.
    mean = tl.where(divisor > 0.0, tl.sum(weighted, axis=0) / divisor, 0.0)
    tl.store(total + t, divisor, mask=in_t)
    tl.store(attributed + t, mean, mask=in_t)
    place = sums + tl.program_id(0) * 2
    tl.store(place, tl.sum(mean.to(tl.float64), axis=0))
    tl.store(place + 1, tl.sum(in_frame.to(tl.float64), axis=0))


@triton.jit(do_not_specialize=["n_frames", "n_entries"])
def likelihood_gradient_kernel(
    H,
    total,
    gradient,
    penalty,
    n_frames,
    n_entries,
    PER_FRAME: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """The gradient to the log-likelihoods: ``-penalty`` times the activations' shares."""
    j = tl.program_id(0).to(tl.int64) * BLOCK_M + tl.arange(0, BLOCK_M)
    shares = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    for start in range(0, n_frames, BLOCK_N):
        t = start + tl.arange(0, BLOCK_N).to(tl.int64)
        inside = (j < n_entries)[:, None] & (t < n_frames)[None, :]
        lies = j[:, None] * n_frames + t[None, :]
        share = tl.load(H + lies, mask=inside, other=0.0)
        share /= tl.load(total + t, mask=t < n_frames, other=1.0)[None, :]
        if PER_FRAME:
            tl.store(gradient + lies, -penalty * share, mask=inside)
        else:
            shares += share
    if not PER_FRAME:
        tl.store(gradient + j, -penalty * tl.sum(shares, axis=1), mask=j < n_entries)


@triton.jit(do_not_specialize=["n_frames", "n_entries"])
def dictionary_gradient_kernel(
    H,
    D,
    residual,
    inverse_norm,
    gradient,
    n_frames,
    n_features,
    n_entries,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """``H R / norm`` ``(J, F)``, zero where the entry was clipped."""
    j, f, _ = tile(BLOCK_M, BLOCK_N)
    values = product(
        H, n_frames, 1, residual, n_features, 1, j, f, n_entries, n_features, n_frames,
        PRECISION, BLOCK_M, BLOCK_N, BLOCK_K,
    )  # fmt: skip
    inside = (j < n_entries)[:, None] & (f < n_features)[None, :]
    lies = j[:, None] * n_features + f[None, :]
    entries = tl.load(D + lies, mask=inside, other=0.0)
    values = tl.where(entries > 0.0, values * tl.load(inverse_norm), 0.0)
    tl.store(gradient + lies, values, mask=inside)


@triton.jit(do_not_specialize=["n_frames", "n_entries"])
def frame_dictionary_gradient_kernel(
    H,
    D,
    residual,
    inverse_norm,
    gradient,
    n_frames,
    n_features,
    n_entries,
    BLOCK_N: tl.constexpr,
):
    """The same for entries ``(S, T, F)``; a program does one of them."""
    t, s = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
    scale = tl.load(H + s * n_frames + t) * tl.load(inverse_norm)
    entry = (s * n_frames + t) * n_features
    for start in range(0, n_features, BLOCK_N):
        f = start + tl.arange(0, BLOCK_N)
        in_f = f < n_features
        values = scale * tl.load(residual + t * n_features + f, mask=in_f, other=0.0)
        clipped = tl.load(D + entry + f, mask=in_f, other=0.0) <= 0.0
        tl.store(gradient + entry + f, tl.where(clipped, 0.0, values), mask=in_f)


@triton.jit
def activation_gradient(
    correlation,
    active,
    likelihood,
    attributed,
    total,
    inverse_norm,
    penalty,
    sparsity,
    PENALISED: tl.constexpr,
):
    """The gradient to the activations where they are positive; `active` tells where they are."""
    gradient = correlation * inverse_norm + sparsity
    if PENALISED:
        gradient -= penalty * (likelihood - attributed) / total
    return tl.where(active > 0.0, gradient, 0.0)


@triton.jit
def frame_correlation(
    D,
    residual,
    lies,
    in_s,
    t,
    n_features,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """``(BLOCK_M,)`` products of sources' entries for frame `t`, at `lies`, with its residual."""
    products = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    for start in range(0, n_features, BLOCK_N):
        f = start + tl.arange(0, BLOCK_N)
        in_f = f < n_features
        r = tl.load(residual + t * n_features + f, mask=in_f, other=0.0)
        inside = in_s[:, None] & in_f[None, :]
        d = tl.load(D + lies[:, None] * n_features + f[None, :], mask=inside, other=0.0)
        products += d * r[None, :]
    return tl.sum(products, axis=1)
