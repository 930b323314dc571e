"""Notes: those of a score, those found, how they are named and grouped."""
