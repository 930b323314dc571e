"""The decomposition methods: what each one searches, and the loop that they share."""

from dds_fast.methods import dds, langevin, nae, nmf, score_informed, solver, variational
from dds_fast.methods.settings import PAPER, SearchSettings

__all__ = [
    "PAPER",
    "SearchSettings",
    "dds",
    "langevin",
    "nae",
    "nmf",
    "score_informed",
    "solver",
    "variational",
]
