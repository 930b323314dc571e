"""Non-negative matrix factorisation: the updates of one factor, and of both to the end."""

from dds_fast.nmf.factorize import NMF, Factorization, activations, factorize

__all__ = ["NMF", "Factorization", "activations", "factorize"]
