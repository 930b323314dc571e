"""Tensor functions: flows, objective, update step and NMF, each with its backends.

A backend file knows tensors, never audio. ``reference.py`` defines the truth in plain PyTorch,
in any floating dtype; the others are compared with it.
"""

from dds_fast.ops.coupling_step import coupling_step
from dds_fast.ops.flow import flow_decode, flow_encode
from dds_fast.ops.frozen import Coupling, FrozenFlow, FrozenStep
from dds_fast.ops.least_squares import least_squares
from dds_fast.ops.multiplicative import multiplicative_update
from dds_fast.ops.objective import objective
from dds_fast.ops.update_step import Problem, Schedule, UpdateStep, update_step

__all__ = [
    "Coupling",
    "FrozenFlow",
    "FrozenStep",
    "Problem",
    "Schedule",
    "UpdateStep",
    "coupling_step",
    "flow_decode",
    "flow_encode",
    "least_squares",
    "multiplicative_update",
    "objective",
    "update_step",
]
