"""A frozen flow in plain PyTorch, in any floating dtype: the truth of a pass."""
