"""Training an autoencoder on a whole spectrogram."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from dds_fast import arrays, scalars
from dds_fast.arrays import Kind
from dds_fast.audio import SpectrogramConfig
from dds_fast.methods.nae.layers import ACTIVATIONS, divergence, through
from dds_fast.methods.nae.model import NAE
from dds_fast.methods.nae.rprop import minimise
from dds_fast.nmf import nonnegative

STRAIGHT_ON = 0.8
"""Share of a layer's input that initial square weights pass on as it is."""


@arrays.isolated()
def fit(
    X: Any,
    n_components: int,
    *,
    depth: int = 1,
    activation: str = "softplus",
    penalty: float = 0.0,
    level: float = 1.0,
    n_steps: int = 500,
    tolerance: float = 1e-4,
    spectrogram: SpectrogramConfig | None = None,
    device: str | torch.device | None = None,
    random_state: int = 0,
    progress: bool = False,
) -> NAE:
    """Train a non-negative autoencoder on the spectrogram of one source.

    The generalised Kullback-Leibler divergence plus ``penalty * sum(H)``, by RProp on the whole
    input. The input is brought to one mean first, so that the knee of the softplus lies at the
    same loudness for every recording.

    Args:
        X: ``(F, T)`` spectrogram, non-negative; NumPy array or tensor.
        n_components: K, the rank; also the size of every hidden layer.
        depth: L, layers of the encoder and of the decoder; 1 is the shallow autoencoder.
        activation: "softplus", "relu" or "abs".
        penalty: lambda, the weight of the L1 norm of H.
        level: the mean that X is brought to. The knee of the softplus lies at 1 and what it gives
            for silence at log 2: far above it a model is nearly linear and its templates nearly
            non-negative, about it separation was better.
        n_steps: most steps.
        tolerance: stop when twenty steps lower the cost by less than this share of it.
        spectrogram: what X was made with; stored, and needed for separation.
        device: where to train and keep the weights; by default a tensor's own, else a GPU if there
            is one.
        random_state: seed of the initial weights.
        progress: show a progress bar.

    Returns:
        An `NAE`, in the floating dtype of X. Ctrl-C returns what was reached so far.

    Raises:
        ValueError: X is no non-negative finite matrix or is all zero; a number out of range; an
            unknown `activation`.

    Source: Smaragdis and Venkataramani, A Neural Network Alternative to Non-Negative Audio Models
    (arXiv 1609.03296), Eqs. 3, 5 and 7.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> X = rng.random((20, 3)) @ rng.random((3, 50))
        >>> model = fit(X, n_components=3, n_steps=100)
        >>> model.encode(X).shape, bool(model.history.min() < 0.1 * model.history[0])
        ((3, 50), True)
    """
    X = arrays.as_tensor("nae.fit: X", X, device=arrays.device(device, Kind.of(X).device))
    nonnegative.check_matrix("nae.fit", "X", X)
    mean = float(X.mean())
    if not mean > 0:
        raise ValueError(f"nae.fit: X {tuple(X.shape)} is empty or silent: nothing can be learned")
    n_components = scalars.integer("nae.fit: n_components", n_components, least=1)
    depth = scalars.integer("nae.fit: depth", depth, least=1)
    n_steps = scalars.integer("nae.fit: n_steps", n_steps, least=0)
    penalty = scalars.real("nae.fit: penalty", penalty, least=0)
    level = scalars.real("nae.fit: level", level, least=1e-6)
    tolerance = scalars.real("nae.fit: tolerance", tolerance, least=0)
    random_state = scalars.integer("nae.fit: random_state", random_state)
    if activation not in ACTIVATIONS:
        raise ValueError(
            f"nae.fit: activation must be one of {tuple(ACTIVATIONS)}, not {activation!r}"
        )
    scale = mean / level
    X = X / scale
    sizes = [X.shape[0], *[n_components] * (2 * depth - 1), X.shape[0]]
    weights = [W.to(X) for W in initial_weights(sizes, random_state)]
    history, stop_reason = minimise(
        weights,
        lambda: cost(X, weights, activation, penalty),
        n_steps=n_steps,
        tolerance=tolerance,
        progress=progress,
    )
    settings = {
        "penalty": penalty,
        "level": level,
        "n_steps": n_steps,
        "tolerance": tolerance,
        "random_state": random_state,
    }
    return NAE(tuple(weights), activation, scale, spectrogram, history, stop_reason, settings)


def initial_weights(sizes: Sequence[int], random_state: int) -> list[Tensor]:
    """Uniform non-negative weights that keep the mean of what goes through them.

    Between layers of one size most of it goes straight on: without that, deep stacks begin with
    all rows alike and learn slowly. Drawn on the CPU in float64, so that devices and dtypes agree.
    """
    generator = torch.Generator().manual_seed(random_state)
    weights = []
    for a, b in zip(sizes, sizes[1:], strict=False):
        W = torch.rand(b, a, generator=generator, dtype=torch.float64) * (2 / a)
        if a == b:
            W = (1 - STRAIGHT_ON) * W + STRAIGHT_ON * torch.eye(a, dtype=W.dtype)
        weights.append(W)
    return weights


def cost(X: Tensor, weights: Sequence[Tensor], activation: str, penalty: float) -> Tensor:
    """The cost of Eq. 5."""
    depth = len(weights) // 2
    H = through(weights[:depth], X, activation)
    return divergence(X, through(weights[depth:], H, activation)) + penalty * H.sum()
