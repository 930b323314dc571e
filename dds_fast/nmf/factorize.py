"""NMF: both factors by multiplicative updates, or the activations of a fixed dictionary."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from dds_fast import arrays, memory, scalars
from dds_fast.arrays import Kind
from dds_fast.nmf import nonnegative
from dds_fast.nmf.least_squares import least_squares
from dds_fast.nmf.multiplicative import check_loss, choose, divergence

CHECK_EVERY = 10
"""Multiplicative updates stop by what so many of them have changed."""


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
    sparsity: float = 0.0,
    progress: bool = False,
) -> Factorization:
    """Multiplicative updates, H before W, with the loss at every `check_every`-th."""
    update_of = choose(X, loss, backend)
    W = W.T.contiguous().T  # products with few columns are slow
    update_H = update_of(X, W, n_updates=n_steps) if fixed == "W" else None
    history, stop_reason = [divergence(X, W, H, loss)], "max_steps"
    span = max(1, CHECK_EVERY // check_every)
    try:
        for step in tqdm(range(1, n_steps + 1), disable=not progress, unit="step"):
            norms = sparsity * W.norm(dim=0)[:, None] if sparsity else 0.0
            if fixed != "H":
                H = (update_H or update_of(X, W))(H, norms)
            if fixed != "W":
                pull = _pull(W, H, sparsity) if sparsity else 0.0
                W = update_of(X.T, H.T)(W.T, pull).T
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


def _pull(W: Tensor, H: Tensor, sparsity: float) -> Tensor:
    """``(J, F)`` gradient of the sparsity penalty to W."""
    norms = W.norm(dim=0).clamp_min(torch.finfo(W.dtype).tiny)
    return sparsity * H.sum(1)[:, None] * (W / norms).T


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
    sparsity: float = 0.0,
    n_steps: int = 200,
    tolerance: float = 1e-4,
    check_every: int = CHECK_EVERY,
    random_state: int = 0,
    backend: str = "auto",
    device: str | torch.device | None = None,
    progress: bool = False,
) -> Factorization:
    """Non-negative factors of a spectrogram, ``X = W H``, by multiplicative updates.

    A factor that is not given starts at uniform random numbers, scaled so that W H has about the
    mean of X. Zeros of a given factor stay zero, and so do the entries where a mask is zero: that
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
        sparsity: weight of ``sum_j ||w_j||_2 sum_t h_jt``, the L1 norm of H for columns of unit
            norm, beside half the squared error or the divergence.
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
            entries; unknown `loss`, `fixed` or `backend`.
        RuntimeError: the backend cannot run on `X`, with its reason.
        MemoryError: it does not fit, with its size.

    Source: Lee and Seung, NIPS 2000; Févotte and Idier, Neural Computation 2011 (Itakura-Saito);
    Le Roux, Weninger and Hershey, Sparse NMF - half-baked or well done?, 2015 (penalty).

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
    sparsity = scalars.not_negative("factorize: sparsity", sparsity)
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
        start_W = _start(V, "W", W, (F, J), W_mask, generator)
        start_H = _start(V, "H", H, (J, T), H_mask, generator)
        nonnegative.check("factorize", V, start_W, start_H)
        result = _descend(
            V,
            start_W,
            start_H,
            loss=loss,
            fixed=fixed,
            sparsity=sparsity,
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
    """An initial factor; random ones are drawn on the CPU so that devices agree."""
    if given is None:
        J = shape[1] if shape[0] == X.shape[0] else shape[0]
        drawn = torch.rand(shape, generator=generator, dtype=torch.float64)
        factor = drawn.to(X) * (2 * torch.sqrt(X.mean() / J))
    else:
        factor = arrays.as_tensor(name, given, X.dtype, X.device)
    if mask is None:
        return factor
    return factor * (arrays.as_tensor(f"{name}_mask", mask, device=X.device) != 0)


@dataclass(eq=False)
class NMF:
    """`factorize` as an estimator: learn W on one spectrogram, find its H in others.

    Spectrograms are ``(F, T)``, bins before frames: transposed, by scikit-learn's convention.
    Otherwise it is a transformer as scikit-learn knows them, for `sklearn.base.clone` or a
    `sklearn.pipeline.Pipeline`.

    Attributes:
        n_components, loss, sparsity, n_steps, tolerance, random_state, backend, device: see
            `factorize`.
        components_: ``(F, J)`` W after `fit`.
        history_: the loss during `fit`, see `Factorization`.

    Example:
        >>> X = np.random.default_rng(0).random((20, 30))
        >>> model = NMF(3, loss="kl").fit(X)
        >>> H = model.transform(X[:, :5])
        >>> H.shape, model.inverse_transform(H).shape
        ((3, 5), (20, 5))
    """

    n_components: int
    loss: str = "euclidean"
    sparsity: float = 0.0
    n_steps: int = 200
    tolerance: float = 1e-4
    random_state: int = 0
    backend: str = "auto"
    device: str | torch.device | None = None
    components_: Any = field(default=None, init=False, repr=False)
    history_: list[float] = field(default_factory=list, init=False, repr=False)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The arguments of the constructor, as they are now.

        Example:
            >>> NMF(4, loss="kl").get_params()["loss"]
            'kl'
        """
        return {of.name: getattr(self, of.name) for of in fields(self) if of.init}

    def set_params(self, **params: Any) -> NMF:
        """Change arguments of the constructor; they count from the next call on.

        Raises:
            ValueError: it has no such argument.
        """
        unknown = params.keys() - self.get_params()
        if unknown:
            raise ValueError(f"NMF has no parameter {min(unknown)!r}")
        vars(self).update(params)
        return self

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import Tags, TargetTags, TransformerTags

        return Tags(None, TargetTags(required=False), transformer_tags=TransformerTags())

    def __sklearn_is_fitted__(self) -> bool:
        return self.components_ is not None

    def fit(self, X: np.ndarray | Tensor, y: None = None, *, W: Any = None, H: Any = None) -> NMF:
        """Learn W from ``(F, T)``, starting at the factors given; `y` has no meaning."""
        self.fit_transform(X, W=W, H=H)
        return self

    def fit_transform(
        self, X: np.ndarray | Tensor, y: None = None, *, W: Any = None, H: Any = None
    ) -> Any:
        """Learn W from ``(F, T)`` and return its ``(J, T)`` activations; `y` has no meaning."""
        result = self._factorize(X, W=W, H=H)
        self.components_, self.history_ = result.W, result.history
        return result.H

    def transform(self, X: np.ndarray | Tensor) -> Any:
        """The ``(J, T)`` activations of another ``(F, T)`` spectrogram, with W fixed.

        Raises:
            ValueError: not fitted yet, or another number of bins.
        """
        return self._factorize(X, W=self._fitted(), fixed="W").H

    def inverse_transform(self, H: np.ndarray | Tensor) -> Any:
        """``(F, T)`` approximation W H.

        Raises:
            ValueError: not fitted yet.
        """
        return self._fitted() @ H

    def _fitted(self) -> Any:
        if self.components_ is None:
            raise ValueError("this NMF has no components yet: call fit first")
        return self.components_

    def _factorize(self, X: np.ndarray | Tensor, **given: Any) -> Factorization:
        return factorize(
            X,
            self.n_components,
            loss=self.loss,
            sparsity=self.sparsity,
            n_steps=self.n_steps,
            tolerance=self.tolerance,
            random_state=self.random_state,
            backend=self.backend,
            device=self.device,
            **given,
        )
