"""Triton kernels of the ops: functions on pointers, launched by the ``triton.py`` of each op.

Importing this package needs Triton; the ops import it when they first launch a kernel. All offsets
are 64-bit. Sizes that a flow fixes are compile-time constants, so a flow compiles once; row and
frame counts are not, and no size is tuned at run time.

Between a kernel's layers its vectors stay feature-major, ``(features, rows)``: the weights are then
the first factor of every product, in the order in which they lie in memory, and few rows fill the
second one.
"""
