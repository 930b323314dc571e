"""Non-negative matrix factorisation: the updates of one factor, and of both to the end.

It knows non-negative matrices, never sound, sources or a dictionary's flow. scikit-learn, of whose
kind `NMF` is, is loaded when that is first used.
"""

from typing import TYPE_CHECKING, Any

from dds_fast.nmf.factorize import Factorization, activations, factorize

if TYPE_CHECKING:
    from dds_fast.nmf.estimator import NMF

__all__ = ["NMF", "Factorization", "activations", "factorize"]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name == "NMF":
            from dds_fast.nmf.estimator import NMF

            return NMF
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
