"""Training over several processes: each takes a share of every batch.

Processes are those of ``torchrun``; without it there is one. Gradients are summed over the ranks,
so that n ranks take the steps that one would with the same batches.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
import torch.distributed as distributed
from torch import Tensor

from dds_fast import arrays


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Join the processes that torchrun started, if it did and they are not joined yet."""
    if "TORCHELASTIC_RUN_ID" not in os.environ or distributed.is_initialized():
        yield
        return
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()


def rank_device(device: str | torch.device | None) -> torch.device:
    """The device to train on: as asked for, else a GPU (a rank's own) if there is one."""
    found = arrays.device(device)
    if device is None and found.type == "cuda":
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    return found


def is_first() -> bool:
    """Whether this process is the one that writes files and shows progress."""
    return int(os.environ.get("RANK", 0)) == 0


def rank() -> int:
    return distributed.get_rank() if distributed.is_initialized() else 0


def n_ranks() -> int:
    return distributed.get_world_size() if distributed.is_initialized() else 1


def share(batch: Tensor, dim: int) -> Tensor:
    """This rank's part of a batch, whose rows are counted by `dim`; it may be empty."""
    own = torch.arange(rank(), batch.shape[dim], n_ranks(), device=batch.device)
    return batch.index_select(dim, own)


def add_up(tensors: Iterable[Tensor]) -> None:
    """Replace each tensor by its sum over the ranks."""
    if n_ranks() > 1:
        for tensor in tensors:
            distributed.all_reduce(tensor)


def average(tensors: Iterable[Tensor]) -> None:
    """Replace each tensor by its mean over the ranks."""
    if n_ranks() > 1:
        for tensor in tensors:
            distributed.all_reduce(tensor)
            tensor /= n_ranks()


@torch.no_grad()
def copy_first(tensors: Iterable[Tensor]) -> None:
    """Replace each tensor by the first rank's."""
    if n_ranks() > 1:
        for tensor in tensors:
            distributed.broadcast(tensor, 0)
