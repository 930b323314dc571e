"""Non-negative matrix factorisation: the updates of one factor, and of both to the end.

It knows non-negative matrices, never sound, sources or a dictionary's flow.
"""

from dds_fast.nmf.factorize import NMF, Factorization, activations, factorize

__all__ = ["NMF", "Factorization", "activations", "factorize"]
