"""The command line, a file per command: options in, public functions called, files out.

Nothing imports it, and what a library user needs does not live here. Its help loads no PyTorch.
"""
