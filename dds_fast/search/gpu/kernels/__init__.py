"""Triton kernels: functions on pointers, launched by the modules of `search.gpu` and of `nmf`.

Importing a module needs Triton; `search.gpu.weights.kernels` does it when a kernel is first
launched. All offsets are 64-bit. Sizes that a flow fixes are compile-time constants, so a flow
compiles once; row and frame counts are not, and no size is tuned at run time.

Between a kernel's layers its vectors stay feature-major, ``(features, rows)``: the weights are then
the first factor of every product, in the order in which they lie in memory, and few rows fill the
second one.
"""

import os

from dds_fast import caches

caches.ensure("TRITON_CACHE_DIR", os.environ.get("TRITON_HOME", "~") + "/.triton")
