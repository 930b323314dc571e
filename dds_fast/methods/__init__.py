"""Relatives of the search, which share its front end, results, metrics and figures.

They import the heart, which knows nothing of them.
"""

from dds_fast import nmf
from dds_fast.methods import amortised, langevin, nae, score_informed, variational

__all__ = ["amortised", "langevin", "nae", "nmf", "score_informed", "variational"]
