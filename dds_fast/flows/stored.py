"""A flow out of the tensors of a file, which may be anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from dds_fast.flows.coupling import sizes
from dds_fast.flows.frozen import check_permutations
from dds_fast.flows.glow import ConditionalGlow, LUMixing
from dds_fast.flows.realnvp import RealNVPBank


def restored(
    make: type[RealNVPBank | ConditionalGlow],
    told: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
) -> RealNVPBank | ConditionalGlow:
    """A flow of the sizes that a file tells, with the state that it holds.

    Sizes are compared with the number of tensors before a module is made, and shapes before it is
    given any memory.

    Args:
        make: a flow's class.
        told: its `hyperparameters`.
        tensors: its state; float32 and int64.

    Raises:
        ValueError: sizes or tensors that are no such flow's; names them.

    Example:
        >>> bank = RealNVPBank(2, 8, n_steps=2, width=4, depth=1)
        >>> again = restored(RealNVPBank, bank.hyperparameters, dict(bank.state_dict()))
        >>> torch.equal(again.orders, bank.orders)
        True
    """
    told = sizes(**told)
    if told["n_steps"] * (told["depth"] + 1) > len(tensors):
        raise ValueError(
            f"n_steps={told['n_steps']} with depth={told['depth']} take more than the "
            f"{len(tensors)} tensors that there are"
        )
    with torch.device("meta"):
        flow = make(**told)
    _compare(flow.state_dict(), tensors)
    for name, _ in flow.named_buffers():
        check_permutations(name, tensors[name])
    flow.load_state_dict(tensors, assign=True)
    for name, module in flow.named_modules():
        if isinstance(module, LUMixing) and not bool(module.factors.diagonal().all()):
            raise ValueError(f"{name}.factors are singular: a zero on the diagonal")
    return flow.requires_grad_(True)


def _compare(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
    for name, tensor in wanted.items():
        if name not in given:
            raise ValueError(f"tensor {name} is missing")
        found = given[name]
        if found.shape != tensor.shape:
            raise ValueError(f"{name} must be {tuple(tensor.shape)}, not {tuple(found.shape)}")
        if found.is_floating_point() != tensor.is_floating_point():
            kind = "floats" if tensor.is_floating_point() else "integers"
            raise ValueError(f"{name} must hold {kind}, not {found.dtype}")
    unknown = sorted(given.keys() - wanted.keys())
    if unknown:
        raise ValueError(f"tensor {unknown[0]} has no place here")
