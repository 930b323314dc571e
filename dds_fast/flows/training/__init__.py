"""Training: the loop, what a bank, a Glow and a wave prior do in it, checkpoints, ranks.

It makes a flow of spectra or windows; `dds_fast.fit` makes a dictionary of that. No search here.
"""
