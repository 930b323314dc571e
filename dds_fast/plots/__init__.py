"""Figures, one function each, which returns the Axes that it drew on (``ax=``, or new ones).

They draw arrays and notes as given, and know neither a decomposition nor what computed it.
"""

from dds_fast.plots.factors import activations, mask, templates
from dds_fast.plots.figure import save_figure
from dds_fast.plots.learning import cost, cross_likelihood, likelihood_matrix, losses, samples
from dds_fast.plots.roll import piano_roll

__all__ = [
    "activations",
    "cost",
    "cross_likelihood",
    "likelihood_matrix",
    "losses",
    "mask",
    "piano_roll",
    "samples",
    "save_figure",
    "templates",
]
