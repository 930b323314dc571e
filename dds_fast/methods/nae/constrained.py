"""Linear non-negative autoencoders that a score constrains: masks, templates, and their updates.

    H = (W_E X) ⊙ M,   X_hat = W_D H,   ||X - X_hat||^2,   all non-negative

With non-negative weights the rectifiers of ``max(W_E X, 0)`` and ``max(W_D H, 0)`` do nothing, so
the projected gradient and the multiplicative updates search the same model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dds_fast import arrays, scalars
from dds_fast.arrays import Kind
from dds_fast.nmf import nonnegative
from dds_fast.progress import bar

UPDATES = ("multiplicative", "projected")
CHECK_EVERY = 10
"""The loop looks at the loss every so many steps."""


@dataclass(frozen=True, eq=False)
class ConstrainedNAE:
    """What `constrained` found. NumPy arrays, or torch tensors where X was one.

    Attributes:
        encoder: W_E ``(J, F)``.
        decoder: W_D ``(F, J)``, the templates.
        activations: H ``(J, T)``, under the mask.
        history: ``||X - X_hat||^2``, initial and after each step.

    Example:
        >>> templates = np.eye(20)[:, :3]
        >>> result = constrained(templates @ np.ones((3, 50)), templates, n_steps=5)
        >>> result.encoder.shape, result.activations.shape, result.reconstruction().shape
        ((3, 20), (3, 50), (20, 50))
    """

    encoder: Any
    decoder: Any
    activations: Any
    history: np.ndarray

    def reconstruction(self) -> Any:
        """``(F, T)`` approximation of the spectrogram, W_D H."""
        return self.decoder @ self.activations


@arrays.isolated()
def constrained(
    X: Any,
    decoder: Any,
    *,
    encoder: Any = None,
    mask: Any = None,
    updates: str = "multiplicative",
    keep_zeros: bool = True,
    step_size: float = 1.0,
    n_steps: int = 300,
    tolerance: float = 0.0,
    progress: bool = False,
) -> ConstrainedNAE:
    """Train a linear non-negative autoencoder under templates and a score mask.

    Every step moves the encoder, then the decoder with the new activations. With
    "multiplicative" updates, or "projected" ones of a step size of at most 1, no step increases
    the loss.

    Args:
        X: ``(F, T)`` spectrogram, non-negative; NumPy array or tensor.
        decoder: ``(F, J)`` initial W_D, non-negative: templates, zero where a component may have
            no energy.
        encoder: ``(J, F)`` initial W_E, non-negative; by default the templates, each row summing
            to one.
        mask: ``(J, T)``, M in {0, 1}: structured dropout, H is zero where the score has no note.
        updates: "multiplicative" (docs/method.md, Relatives), or "projected" for gradient steps
            that are clipped at zero.
        keep_zeros: "projected" only: zeros of the initial decoder stay (template projection).
            Multiplicative updates keep the zeros of encoder and decoder anyway.
        step_size: "projected" only: in units of one over the curvature of the loss; below 2.
        n_steps: most steps.
        tolerance: stop when ten steps lower the loss by less than this share of it.
        progress: show a progress bar.

    Returns:
        A `ConstrainedNAE`.

    Raises:
        ValueError: matrices that do not fit, entries that are negative, NaN or infinite, a mask
            that is not of zeros and ones, an unknown `updates`, a number out of range.

    Source: Müller's tutorial (Eurographics 2023).

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> X = rng.random((20, 3)) @ rng.random((3, 50))
        >>> result = constrained(X, rng.random((20, 3)), mask=rng.random((3, 50)) < 0.8)
        >>> result.activations.shape, bool((np.diff(result.history) <= 0).all())
        ((3, 50), True)
    """
    step_size = scalars.real("nae.constrained: step_size", step_size)
    n_steps = scalars.integer("nae.constrained: n_steps", n_steps, least=0)
    tolerance = scalars.real("nae.constrained: tolerance", tolerance, least=0)
    V, give_back = arrays.as_tensor("nae.constrained: X", X), Kind.of(X).give_back
    nonnegative.check_matrix("nae.constrained", "X", V)

    def like(name: str, array: Any) -> Tensor:
        return arrays.as_tensor(f"nae.constrained: {name}", array, V.dtype, V.device)

    W_D = like("the decoder", decoder).clone()
    nonnegative.check("nae.constrained", V, W_D)
    W_E = _rows_of_sum_one(W_D.T) if encoder is None else like("the encoder", encoder).clone()
    M = V.new_ones(()) if mask is None else like("the mask", mask)
    _check(V, W_D, W_E, M, updates, step_size)
    if updates == "multiplicative":
        search: _Multiplicative | _Projected = _Multiplicative(V, M)
    else:
        allowed = (W_D > 0).to(W_D) if keep_zeros else W_D.new_ones(())
        search = _Projected(V, M, allowed, step_size)
    H = activations(V, W_E, M)
    losses = [_loss(V, W_D, H)]
    for step in bar(range(1, n_steps + 1), shown=progress, unit="step"):
        W_E = search.encoder(W_E, W_D, H)
        H = activations(V, W_E, M)
        W_D = search.decoder(W_D, H)
        losses.append(_loss(V, W_D, H))
        if tolerance and step % CHECK_EVERY == 0:
            before, now = losses[step - CHECK_EVERY].item(), losses[step].item()
            if before - now <= tolerance * before:
                break
    history = torch.stack(losses).cpu().numpy()
    return ConstrainedNAE(give_back(W_E), give_back(W_D), give_back(H), history)


def activations(X: Tensor, W_E: Tensor, M: Tensor) -> Tensor:
    """``H = (W_E X) ⊙ M``."""
    return (W_E @ X) * M


class _Multiplicative:
    """Quotients of the negative and the positive part of the gradients."""

    def __init__(self, X: Tensor, M: Tensor) -> None:
        self.X, self.M = X, M

    def encoder(self, W_E: Tensor, W_D: Tensor, H: Tensor) -> Tensor:
        X, M = self.X, self.M
        return _multiply(W_E, ((W_D.T @ X) * M) @ X.T, ((W_D.T @ W_D @ H) * M) @ X.T)

    def decoder(self, W_D: Tensor, H: Tensor) -> Tensor:
        return _multiply(W_D, self.X @ H.T, W_D @ (H @ H.T))


def _multiply(W: Tensor, numerator: Tensor, denominator: Tensor) -> Tensor:
    """``W ⊙ numerator ⊘ denominator``; entries without influence on the loss stay as they are.

    No epsilon: one in the denominator lets the loss increase where it is near its minimum.
    """
    tiny = torch.finfo(W.dtype).tiny
    return torch.where(denominator > tiny, W * numerator / denominator.clamp_min(tiny), W)


class _Projected:
    """Gradient steps of one over the curvature, clipped at zero and to the templates.

    The gradient to W_E is ``2 (W_D^T W_D W_E X X^T)`` but for the mask, which only lowers its
    curvature; to W_D it is ``2 W_D H H^T``, but for constants.
    """

    def __init__(self, X: Tensor, M: Tensor, allowed: Tensor, step_size: float) -> None:
        self.X, self.M, self.allowed, self.step_size = X, M, allowed, step_size
        self.curvature = _largest_eigenvalue(X)

    def encoder(self, W_E: Tensor, W_D: Tensor, H: Tensor) -> Tensor:
        X, M = self.X, self.M
        gradient = _gradient(lambda W: _loss(X, W_D, activations(X, W, M)), W_E)
        curvature = 2 * _largest_eigenvalue(W_D) * self.curvature
        step = self.step_size / curvature.clamp_min(torch.finfo(W_E.dtype).tiny)
        return (W_E - step * gradient).clamp_min(0)

    def decoder(self, W_D: Tensor, H: Tensor) -> Tensor:
        gradient = _gradient(lambda W: _loss(self.X, W, H), W_D)
        curvature = 2 * _largest_eigenvalue(H)
        step = self.step_size / curvature.clamp_min(torch.finfo(W_D.dtype).tiny)
        return (W_D - step * gradient).clamp_min(0) * self.allowed


@torch.enable_grad()
def _gradient(loss: Callable[[Tensor], Tensor], W: Tensor) -> Tensor:
    W = W.detach().requires_grad_()
    return torch.autograd.grad(loss(W), W)[0]


def _largest_eigenvalue(A: Tensor) -> Tensor:
    """Of the Gram matrix of A."""
    gram = A @ A.T if A.shape[0] <= A.shape[1] else A.T @ A
    return torch.linalg.eigvalsh(gram)[-1]


def _rows_of_sum_one(W: Tensor) -> Tensor:
    return W / W.sum(1, keepdim=True).clamp_min(torch.finfo(W.dtype).tiny)


def _loss(X: Tensor, W_D: Tensor, H: Tensor) -> Tensor:
    return (W_D @ H - X).square().sum(dtype=torch.float64)


def _check(
    X: Tensor,
    W_D: Tensor,
    W_E: Tensor,
    M: Tensor,
    updates: str,
    step_size: float,
) -> None:
    J = W_D.shape[1]
    if tuple(W_E.shape) != (J, X.shape[0]):
        raise ValueError(
            f"nae.constrained: the encoder must be ({J}, {X.shape[0]}), not {tuple(W_E.shape)}"
        )
    arrays.check_entries("nae.constrained: the encoder", W_E)
    if M.ndim and tuple(M.shape) != (J, X.shape[1]):
        raise ValueError(
            f"nae.constrained: the mask must be ({J}, {X.shape[1]}), not {tuple(M.shape)}"
        )
    if not bool(((M == 0) | (M == 1)).all()):
        raise ValueError("nae.constrained: the mask must hold zeros and ones only")
    if updates not in UPDATES:
        raise ValueError(f"nae.constrained: updates must be one of {UPDATES}, not {updates!r}")
    if not 0 < step_size < 2:
        raise ValueError(f"nae.constrained: step_size must lie in (0, 2), not {step_size!r}")
