"""The engines on a GPU: `triton`, and `cuda`, which takes banks through kernels of its own.

They know no other engine but the reference.
"""
