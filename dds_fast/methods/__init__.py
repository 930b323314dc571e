"""Relatives of the search, which share its front end, results, metrics and figures.

They import the heart, which knows nothing of them. scikit-learn, of whose kind
`DictionaryTransformer` is, is loaded when that is first used.
"""

from typing import TYPE_CHECKING, Any

from dds_fast import nmf
from dds_fast.methods import amortised, langevin, nae, score_informed, variational
from dds_fast.methods.recordings import factorize

if TYPE_CHECKING:
    from dds_fast.methods.transformer import DictionaryTransformer

__all__ = [
    "DictionaryTransformer",
    "amortised",
    "factorize",
    "langevin",
    "nae",
    "nmf",
    "score_informed",
    "variational",
]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name == "DictionaryTransformer":
            from dds_fast.methods.transformer import DictionaryTransformer

            return DictionaryTransformer
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
