"""scikit-learn's NMF with components that stay as they are."""

from __future__ import annotations

import warnings

import numpy as np
import sklearn
from sklearn.decomposition import non_negative_factorization

VERSIONS = {"scikit-learn": sklearn.__version__}


def activations(
    X: np.ndarray, W: np.ndarray, solver: str, n_iterations: int, beta: int = 2
) -> np.ndarray:
    """``(J, T)`` activations of an ``(F, J)`` dictionary after so many iterations."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that few iterations are few
        H, _, _ = non_negative_factorization(
            np.ascontiguousarray(X.T),
            H=np.ascontiguousarray(W.T),
            n_components=W.shape[1],
            update_H=False,
            solver=solver,
            beta_loss=beta,
            max_iter=n_iterations,
            tol=0.0,
        )
    return H.T
