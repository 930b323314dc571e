"""NMF: both factors by multiplicative updates, or the activations of a fixed dictionary."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from dds_fast import arrays, memory, scalars
from dds_fast.arrays import Kind
from dds_fast.choices import INITS
from dds_fast.nmf import initial, nonnegative
from dds_fast.nmf.least_squares import least_squares
from dds_fast.nmf.multiplicative import check_loss, choose, divergence
from dds_fast.nmf.penalties import Penalties
from dds_fast.progress import bar

CHECK_EVERY = 10
"""Multiplicative updates stop by what so many of them have changed."""
NOTHING = Penalties()


class Factorization(NamedTuple):
    """``X = W H``, and how it was reached.

    Attributes:
        W: ``(F, J)``.
        H: ``(J, T)``.
        history: the loss: the initial one, and one per look at it.
        stop_reason: "max_steps", "converged" or "interrupted".

    Example:
        >>> result = factorize(np.random.default_rng(0).random((20, 30)), 4, n_steps=20)
        >>> result.W.shape, result.H.shape, len(result.history), result.stop_reason
        ((20, 4), (4, 30), 3, 'max_steps')
    """

    W: Any
    H: Any
    history: list[float]
    stop_reason: str

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__}: W {tuple(self.W.shape)}, H {tuple(self.H.shape)}, loss "
            f"{self.history[-1]:.4g} ({self.stop_reason})>"
        )


@arrays.isolated()
def activations(
    X: np.ndarray | Tensor,
    W: np.ndarray | Tensor,
    *,
    loss: str = "euclidean",
    H: np.ndarray | Tensor | None = None,
    n_steps: int = 200,
    tolerance: float = 1e-4,
    backend: str = "auto",
) -> tuple[Any, list[float]]:
    """The activations of a fixed dictionary that approximate a spectrogram best.

    Without `H`, the Euclidean loss is solved as non-negative least squares, each frame over few
    candidates: the fastest way to its minimum, and sparse. With `H`, and for the other losses,
    multiplicative updates start at `H` (by default at the same positive value everywhere),
    and its zeros stay zero: that is how a score constrains a decomposition.

    Args:
        X: ``(F, T)`` spectrogram, non-negative.
        W: ``(F, J)`` dictionary, non-negative.
        loss: "euclidean", "kl" (generalised Kullback-Leibler) or "is" (Itakura-Saito).
        H: ``(J, T)`` initial activations.
        n_steps: most passes or updates.
        tolerance: stop when a pass, or ten multiplicative updates, lower the loss by less than
            this share of it.
        backend: a backend's name, or "auto".

    Returns:
        The ``(J, T)`` activations, like X; and the history of the loss (``||X - W H||_F``, or the
        divergence), which starts with the initial one and has an entry per pass, or one per ten
        multiplicative updates.

    Raises:
        ValueError: shapes, dtypes or devices that do not fit together; negative, NaN or infinite
            entries; unknown `loss` or `backend`.
        RuntimeError: the backend cannot run on `X`, with its reason.
        MemoryError: it does not fit, with its size.

    Source: Lee and Seung, NIPS 2000 (multiplicative updates); Lawson and Hanson, Solving Least
    Squares Problems, 1974 (active sets).

    Example:
        >>> import torch
        >>> W = torch.rand(20, 5)
        >>> X = W @ torch.rand(5, 30)
        >>> H, history = activations(X, W)
        >>> H.shape, history[-1] < 0.01 * history[0]
        (torch.Size([5, 30]), True)
    """
    check_loss("activations", loss)
    n_steps = scalars.integer("n_steps", n_steps, least=0)
    tolerance = scalars.not_negative("tolerance", tolerance)
    kind = Kind.of(X)
    X, W = arrays.as_tensor("X", X), arrays.as_tensor("W", W)
    H = None if H is None else arrays.as_tensor("H", H)
    nonnegative.check("activations", X, W, H)
    if loss == "euclidean" and H is None:
        H, costs = least_squares(X, W, max_passes=n_steps, tolerance=tolerance, backend=backend)
        return kind.give_back(H), costs
    if H is None:
        # W H then has the mean of X.
        level = X.mean() / W.sum(1).mean().clamp_min(torch.finfo(X.dtype).tiny)
        H = level.nan_to_num(0.0).expand(W.shape[1], X.shape[1]).contiguous()
    result = _descend(
        X,
        W,
        H,
        loss=loss,
        fixed="W",
        n_steps=n_steps,
        tolerance=tolerance,
        check_every=CHECK_EVERY,
        backend=backend,
    )
    return kind.give_back(result.H), result.history


def _descend(
    X: Tensor,
    W: Tensor,
    H: Tensor,
    *,
    loss: str,
    fixed: str | None,
    n_steps: int,
    tolerance: float,
    check_every: int,
    backend: str,
    penalties: Penalties = NOTHING,
    progress: bool = False,
) -> Factorization:
    """Multiplicative updates, H before W, with the loss at every `check_every`-th."""
    update_of = choose(X, loss, backend)
    W = W.T.contiguous().T  # products with few columns are slow
    update_H = update_of(X, W, n_updates=n_steps) if fixed == "W" else None
    history, stop_reason = [divergence(X, W, H, loss)], "max_steps"
    span = max(1, CHECK_EVERY // check_every)
    try:
        for step in bar(range(1, n_steps + 1), shown=progress, unit="step"):
            if fixed != "H":
                H = (update_H or update_of(X, W))(H, penalties.of_H(W, H))
            if fixed != "W":
                W = update_of(X.T, H.T)(W.T, penalties.of_W(W, H)).T
            if step % check_every == 0 or step == n_steps:
                history.append(divergence(X, W, H, loss))
                if len(history) <= span:
                    continue
                if abs(history[-1 - span] - history[-1]) <= tolerance * history[-1 - span]:
                    stop_reason = "converged"
                    break
    except KeyboardInterrupt:
        stop_reason = "interrupted"
    return Factorization(W, H, history, stop_reason)


@arrays.isolated()
def factorize(
    X: np.ndarray | Tensor,
    n_components: int | None = None,
    *,
    loss: str = "euclidean",
    W: np.ndarray | Tensor | None = None,
    H: np.ndarray | Tensor | None = None,
    W_mask: np.ndarray | Tensor | None = None,
    H_mask: np.ndarray | Tensor | None = None,
    fixed: str | None = None,
    init: str = "random",
    sparsity: float = 0.0,
    l1: tuple[float, float] = (0.0, 0.0),
    l2: tuple[float, float] = (0.0, 0.0),
    n_steps: int = 200,
    tolerance: float = 1e-4,
    check_every: int = CHECK_EVERY,
    random_state: int = 0,
    backend: str = "auto",
    device: str | torch.device | None = None,
    progress: bool = False,
) -> Factorization:
    """Non-negative factors of a spectrogram, ``X = W H``, by multiplicative updates.

    Zeros of a given factor stay zero, and so do the entries where a mask is zero: that
    is how a score constrains a factorisation.

    Args:
        X: ``(F, T)``, non-negative, NumPy array or torch tensor of a floating dtype.
        n_components: J; by default that of the factors or masks given.
        loss: "euclidean", "kl" (generalised Kullback-Leibler) or "is" (Itakura-Saito).
        W: ``(F, J)`` initial dictionary.
        H: ``(J, T)`` initial activations.
        W_mask: ``(F, J)``; W starts, and stays, at zero where it is zero.
        H_mask: ``(J, T)``; H likewise.
        fixed: the factor that does not move, "W" or "H", which must be given.
        init: where factors that are not given start: at "random" uniform numbers, scaled so that
            W H has about the mean of X; or at the singular vectors of X ("nndsvd"), with the mean
            of X ("nndsvda") or small random numbers ("nndsvdar") for their zeros, which otherwise
            stay zero.
        sparsity: weight of ``sum_j ||w_j||_2 sum_t h_jt``, the L1 norm of H for columns of unit
            norm, beside half the squared error or the divergence.
        l1: weights of ``||W||_1`` and ``||H||_1``, likewise.
        l2: weights of ``||W||_F^2 / 2`` and ``||H||_F^2 / 2``, likewise.
        n_steps: most updates of both factors.
        tolerance: stop when ten updates change the loss by less than this share of it.
        check_every: steps from one look at the loss to the next; a look takes about as long as
            half a step.
        random_state: seed of the random factors.
        backend: "auto", "cpu" (compiled, float32) or "reference".
        device: where to compute; by default a tensor's own, else a GPU if there is one.
        progress: show a progress bar.

    Returns:
        W, H, the history of the loss (``||X - W H||_F`` or the divergence, without the penalty; the
        initial one first, then one per look) and the reason to stop; arrays like X. Ctrl-C is such
        a reason.

    Raises:
        ValueError: shapes, dtypes or devices that do not fit together; negative, NaN or infinite
            entries; unknown `loss`, `fixed`, `init` or `backend`; an `init` by singular vectors
            beside a factor that is given, or for more components than there are.
        RuntimeError: the backend cannot run on `X`, with its reason.
        MemoryError: it does not fit, with its size.

    Source: Lee and Seung, NIPS 2000; Févotte and Idier, Neural Computation 2011 (Itakura-Saito);
    Le Roux, Weninger and Hershey, Sparse NMF - half-baked or well done?, 2015 (sparsity);
    Boutsidis and Gallopoulos, Pattern Recognition 2008 (NNDSVD).

    Example:
        >>> X = np.random.default_rng(0).random((20, 4)) @ np.random.default_rng(1).random((4, 30))
        >>> W, H, history, stop_reason = factorize(X, 4, loss="kl")
        >>> W.shape, H.shape, history[-1] < 0.05 * history[0]
        ((20, 4), (4, 30), True)
    """
    check_loss("factorize", loss)
    if fixed not in (None, "W", "H"):
        raise ValueError(f"factorize: fixed must be None, 'W' or 'H', not {fixed!r}")
    if (fixed == "W" and W is None) or (fixed == "H" and H is None):
        raise ValueError(f"factorize: fixed={fixed!r} needs {fixed}")
    if n_components is not None:
        n_components = scalars.integer("factorize: n_components", n_components)
    if init not in INITS:
        raise ValueError(f"factorize: init must be one of {INITS}, not {init!r}")
    if init != "random" and not (W is None and H is None):
        raise ValueError(f"factorize: init={init!r} is for two factors, but one was given")
    penalties = Penalties.checked("factorize", sparsity, l1, l2)
    n_steps = scalars.integer("factorize: n_steps", n_steps, least=0)
    tolerance = scalars.not_negative("factorize: tolerance", tolerance)
    check_every = scalars.integer("factorize: check_every", check_every, least=1)
    random_state = scalars.integer("factorize: random_state", random_state)
    kind = Kind.of(X)
    V = arrays.as_tensor("factorize: X", X, device=arrays.device(device, kind.device))
    if V.ndim != 2 or not V.is_floating_point() or V.numel() == 0:
        raise ValueError(
            f"factorize: X must be an (F, T) array of floats with F and T above 0, not "
            f"{tuple(V.shape)} of {V.dtype}"
        )
    (F, T), J = V.shape, _rank(n_components, W, H, W_mask, H_mask)
    size = 2 * (F * T + F * J + J * T) * V.itemsize
    with memory.explained(size, "factorize", "n_components or fewer frames", V.device.type):
        # Before the mean of X is used for the start.
        nonnegative.check("factorize", V, V.new_zeros(F, J))
        generator = torch.Generator().manual_seed(random_state)
        if init != "random":
            W, H = initial.nndsvd(V, J, init, generator)
        start_W = _start(V, "W", W, (F, J), W_mask, generator)
        start_H = _start(V, "H", H, (J, T), H_mask, generator)
        nonnegative.check("factorize", V, start_W, start_H)
        result = _descend(
            V,
            start_W,
            start_H,
            loss=loss,
            fixed=fixed,
            penalties=penalties,
            n_steps=n_steps,
            tolerance=tolerance,
            check_every=check_every,
            backend=backend,
            progress=progress,
        )
    W, H = (kind.give_back(factor.contiguous()) for factor in (result.W, result.H))
    return Factorization(W, H, result.history, result.stop_reason)


def _rank(n_components: int | None, W: Any, H: Any, W_mask: Any, H_mask: Any) -> int:
    """J, on which all that is given must agree."""
    ranks = {matrix.shape[-1] for matrix in (W, W_mask) if matrix is not None}
    ranks |= {matrix.shape[0] for matrix in (H, H_mask) if matrix is not None}
    ranks |= set() if n_components is None else {n_components}
    if len(ranks) != 1 or min(ranks) < 1:
        raise ValueError(
            "factorize: n_components, the factors and the masks must agree on one number of "
            f"components above 0; they say {sorted(ranks) or 'nothing'}"
        )
    return ranks.pop()


def _start(
    X: Tensor, name: str, given: Any, shape: tuple[int, int], mask: Any, generator: torch.Generator
) -> Tensor:
    """An initial factor: the one given, or else a random one; zero where the mask is."""
    if given is None:
        factor = initial.random(X, shape, generator)
    else:
        factor = arrays.as_tensor(name, given, X.dtype, X.device)
    if mask is None:
        return factor
    return factor * (arrays.as_tensor(f"{name}_mask", mask, device=X.device) != 0)
