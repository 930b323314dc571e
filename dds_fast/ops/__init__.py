"""The public functions of tensors, and what they take; passes and objective have one derivative.

For loops of your own around the engines of `search`. Tensors in, tensors out: no sound, no notes.
"""

from dds_fast.flows.frozen import Coupling, FrozenFlow, FrozenStep
from dds_fast.nmf.least_squares import least_squares
from dds_fast.nmf.multiplicative import multiplicative_update
from dds_fast.ops.flow import flow_decode, flow_encode
from dds_fast.ops.objective import objective

__all__ = [
    "Coupling",
    "FrozenFlow",
    "FrozenStep",
    "flow_decode",
    "flow_encode",
    "least_squares",
    "multiplicative_update",
    "objective",
]
