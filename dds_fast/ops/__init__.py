"""Functions of tensors, differentiable once, each on the engines that have it.

Plain PyTorch (``reference``) defines the truth, in any floating dtype; the others are compared with
it.
"""

from dds_fast.flows.frozen import Coupling, FrozenFlow, FrozenStep
from dds_fast.nmf.least_squares import least_squares
from dds_fast.nmf.multiplicative import multiplicative_update
from dds_fast.ops.coupling_step import coupling_step
from dds_fast.ops.flow import flow_decode, flow_encode
from dds_fast.ops.objective import objective

__all__ = [
    "Coupling",
    "FrozenFlow",
    "FrozenStep",
    "coupling_step",
    "flow_decode",
    "flow_encode",
    "least_squares",
    "multiplicative_update",
    "objective",
]
