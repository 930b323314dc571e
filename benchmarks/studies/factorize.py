"""Both factors of an NMF: the time of the same updates beside libfmp and scikit-learn.

    OMP_NUM_THREADS=1 python benchmarks factorize -o benchmarks/results/factorize.json

Euclidean multiplicative updates from the same random factors, without a stop by change. Every
contender is first checked against the update rule written out in float64; then they are timed in
turn, and medians are compared within the run; processor time is counted, which other programs on
the machine disturb less, hence one thread. libfmp (1.3.0) is loaded from its file: importing the
package needs music21 and IPython. It computes in float64 whatever it is given.
"""

from __future__ import annotations

import importlib.util
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import store
import torch
from report import markdown
from sklearn.decomposition import non_negative_factorization

from dds_fast import nmf

SIZES = {
    "tutorial: F = 500, T = 1000, J = 20": (500, 1000, 20),
    "30 s of piano: F = 1025, T = 938, J = 39": (1025, 938, 39),
}
N_STEPS = 50
ROUNDS = 15
TOLERANCE = {np.float64: 1e-5, np.float32: 1e-4}
"""RMS ratio of both factors to the rule; float32 differs by about 1e-6 after 50 steps."""

Factors = tuple[np.ndarray, np.ndarray]


def libfmp_nmf() -> Callable[..., Any]:
    package = importlib.util.find_spec("libfmp")
    if package is None or package.submodule_search_locations is None:
        raise SystemExit("libfmp is not installed: pip install --no-deps libfmp")
    path = Path(package.submodule_search_locations[0]) / "c8" / "c8s3_nmf.py"
    spec = importlib.util.spec_from_file_location("c8s3_nmf", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.nmf


def the_rule(X: np.ndarray, W: np.ndarray, H: np.ndarray) -> Factors:
    """Lee and Seung's updates, with the small number in their denominators."""
    eps = np.finfo(np.float32).eps
    for _ in range(N_STEPS):
        H = H * (W.T @ X) / (W.T @ W @ H + eps)
        W = W * (X @ H.T) / (W @ (H @ H.T) + eps)
    return W, H


def ours(X: np.ndarray, W: np.ndarray, H: np.ndarray) -> Factors:
    # The others do not look at the loss on the way either.
    result = nmf.factorize(
        X, W=W, H=H, n_steps=N_STEPS, tolerance=0, check_every=N_STEPS, device="cpu"
    )
    return result.W, result.H


def scikit_learn(
    X: np.ndarray, W: np.ndarray, H: np.ndarray, n_steps: int = N_STEPS, **options: Any
) -> Factors:
    """Multiplicative updates of the transposed problem: it too moves H first."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it stops at its last step, and starts at its own H
        Ht, Wt, _ = non_negative_factorization(
            X.T,
            W=np.ascontiguousarray(H.T),
            H=np.ascontiguousarray(W.T),
            n_components=W.shape[1],
            init="custom",
            solver="mu",
            max_iter=n_steps,
            tol=0,
            **options,
        )
    return Wt.T, Ht.T


def ratio(actual: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))


def race(size: str) -> list[store.Record]:
    """Processor seconds of each contender, and how far it is from the rule."""
    F, T, J = SIZES[size]
    libfmp = libfmp_nmf()
    rng = np.random.default_rng(0)
    double = rng.random((F, T)), rng.random((F, J)), rng.random((J, T))
    X, W, H = (matrix.astype(np.float32) for matrix in double)
    single = X, W, H
    contenders: dict[str, tuple[Callable[[], Factors], type[np.floating]]] = {
        "libfmp": (
            lambda: libfmp(double[0], J, thresh=0.0, L=N_STEPS, W=double[1], H=double[2])[:2],
            np.float64,
        ),
        "scikit-learn, float64": (lambda: scikit_learn(*double), np.float64),
        "scikit-learn, float32": (lambda: scikit_learn(*single), np.float32),
        "dds_fast, float64": (lambda: ours(*double), np.float64),
        "dds_fast, float32": (lambda: ours(*single), np.float32),
    }
    expected = the_rule(*double)
    errors = {}
    for name, (run, dtype) in contenders.items():
        errors[name] = max(ratio(a, b) for a, b in zip(run(), expected, strict=True))
        if not errors[name] < TOLERANCE[dtype]:
            raise SystemExit(f"{name} differs from the rule by {errors[name]:.1e}")
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(ROUNDS):
        for name, (run, _) in contenders.items():
            start = time.process_time()
            run()
            seconds[name].append(time.process_time() - start)
    return [
        store.timed(size, name, samples, {"error": errors[name]})
        for name, samples in seconds.items()
    ]


def table(rows: list[store.Record]) -> str:
    """Markdown: how many times as long as dds_fast in float32."""
    names = list(dict.fromkeys(row["contender"] for row in rows))
    seconds = {(row["group"], row["contender"]): row["median"] for row in rows}
    return markdown(
        ["size", *names],
        [
            [size, *(f"{seconds[size, n] / seconds[size, 'dds_fast, float32']:.1f}" for n in names)]
            for size in SIZES
        ],
    )


def main() -> None:
    parser = store.parser(__doc__)
    options = parser.parse_args()
    if torch.get_num_threads() != 1:
        parser.error("set OMP_NUM_THREADS=1: processor time is counted")
    store.permit(options.output, options.trial)
    rows = [row for size in SIZES for row in race(size)]
    run = store.provenance(more=("libfmp", "numba", "scikit-learn"))
    about = {"n_steps": N_STEPS, "rounds": ROUNDS}
    store.write(options.output, {"runs": [run], "about": about, "rows": rows})
    print(table(rows))
