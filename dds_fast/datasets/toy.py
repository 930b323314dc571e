"""Toy waves: a sinusoid, a square, a saw and a triangle, each a key of the piano, and their mix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dds_fast import scalars

SR = 14_700
SHAPES = ("sin", "square", "saw", "triangle")
AMPLITUDES = (0.8, 1.0)
KEYS = {"thesis": np.arange(1, 89).astype(float), "code": np.arange(1, 650) / 10}
"""Piano keys n by rule, 440 Hz at 49: the thesis' whole keyboard, its program's tenths of keys."""

NOISES = ("thesis", "code")


def period(key: float, sr: int = SR) -> int:
    """Whole samples per period of a piano key, rounded down.

    Example:
        >>> period(49), period(1)
        (33, 534)
    """
    return int(sr // (440 * 2 ** ((key - 49) / 12)))


def wave(shape: str, n_samples: int, period: int, phase: int = 0) -> np.ndarray:
    """One periodic wave in [-1, 1], ``(n_samples,)`` float64.

    The saw rises, the triangle rises and falls evenly, the square is up for the first half.

    Args:
        shape: one of `SHAPES`.
        n_samples: its length.
        period: samples per period.
        phase: samples by which it is ahead, below `period`.

    Example:
        >>> wave("saw", 4, period=4).tolist()
        [-1.0, -0.5, 0.0, 0.5]
    """
    import scipy.signal

    shapes = {
        "sin": np.sin,
        "square": scipy.signal.square,
        "saw": scipy.signal.sawtooth,
        "triangle": lambda angle: scipy.signal.sawtooth(angle, 0.5),
    }
    if shape not in shapes:
        raise ValueError(f"shape must be one of {SHAPES}, not {shape!r}")
    # Whole samples modulo the period, so that every period is the same to the last bit.
    angle = 2 * np.pi * ((np.arange(n_samples) + phase) % period) / period
    return shapes[shape](angle)


def add_noise(
    sources: np.ndarray, sigma: float, rng: np.random.Generator, rule: str = "thesis"
) -> np.ndarray:
    """Sources with white noise, to condition priors on: a new array of the same dtype.

    Args:
        sources: ``(..., n)``.
        sigma: standard deviation of the noise; 0 gives a copy.
        rng: draws it.
        rule: "thesis" adds it as it is; "code" (the thesis' program) scales it by U(0, 1) for each
            ``(n,)`` signal and clamps the sum to [-1, 1].

    Raises:
        ValueError: unknown `rule`, or a `sigma` that is negative or not finite.
    """
    if rule not in NOISES:
        raise ValueError(f"noise rule must be one of {NOISES}, not {rule!r}")
    if scalars.not_negative("sigma", sigma) == 0:
        return sources.copy()
    noise = rng.standard_normal(sources.shape, dtype=np.float32) * sigma
    if rule == "code":
        noise *= rng.random((*sources.shape[:-1], 1), dtype=np.float32)
        return np.clip(sources + noise, -1, 1).astype(sources.dtype)
    return (sources + noise).astype(sources.dtype)


@dataclass(frozen=True)
class ToyWaves:
    """A data set of toy waves, made item by item: the same item whenever it is asked for.

    Attributes:
        n_items: how many; the thesis trains on 5000 and tests on 1500.
        n_samples: length of an item.
        keys: "thesis" (keys 1 to 88) or "code" (0.1 to 64.9 in tenths).
        random_state: seed of all items; another seed is another set.

    Source: Frank, Source Separation with Deep Generative Priors (thesis, 2020);
    docs/method.md, Relatives.

    Example:
        >>> waves = ToyWaves(n_items=10, n_samples=100)
        >>> waves[3].shape, np.array_equal(waves[3], waves[3])
        ((4, 100), True)
        >>> mixture = waves[3].mean(axis=0)
    """

    n_items: int = 5000
    n_samples: int = 48_000
    keys: str = "thesis"
    random_state: int = 0

    sources = SHAPES
    sr = SR

    def __post_init__(self) -> None:
        if self.keys not in KEYS:
            raise ValueError(f"keys must be one of {tuple(KEYS)}, not {self.keys!r}")
        for name in ("n_items", "n_samples"):
            scalars.integer(name, getattr(self, name), least=1)

    def __len__(self) -> int:
        return self.n_items

    def __getitem__(self, item: int) -> np.ndarray:
        """``(4, n_samples)`` float32, in the order of `SHAPES`; the mixture is their mean.

        Each source has its own key, phase and amplitude.
        """
        if not 0 <= item < self.n_items:
            raise IndexError(f"item {item} of a set of {self.n_items}")
        rng = np.random.default_rng([self.random_state, item])
        waves = []
        for shape in SHAPES:
            samples = period(rng.choice(KEYS[self.keys]))
            phase = int(rng.integers(samples))
            waves.append(rng.uniform(*AMPLITUDES) * wave(shape, self.n_samples, samples, phase))
        return np.stack(waves).astype(np.float32)
