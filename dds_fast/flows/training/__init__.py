"""Training: the loop, what a bank, a Glow and a wave prior do in it, checkpoints, ranks."""
