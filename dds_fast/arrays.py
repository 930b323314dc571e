"""Arrays that users give: NumPy or torch in, the same out, on whatever device and in any memory.

Public functions turn what they are given into plain tensors with `as_tensor`, compute under
`isolated` on the `device` that was asked for, and hand results back with `Kind.give_back`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

WIDENED = {torch.float16: torch.float32, torch.bfloat16: torch.float32}
"""Dtypes that are stored, but neither computed in nor handed back."""


@dataclass(frozen=True)
class Kind:
    """What an array was, for results to be handed back alike.

    Attributes:
        dtype: its floating dtype, at least float32; None where it held no floats.
        device: where the tensor lay; None for NumPy.

    Example:
        >>> kind = Kind.of(np.zeros(3, np.float16))
        >>> kind
        Kind(dtype=torch.float32, device=None)
        >>> kind.give_back(torch.ones(2, dtype=torch.float64))
        array([1., 1.], dtype=float32)
    """

    dtype: torch.dtype | None
    device: torch.device | None

    @classmethod
    def of(cls, array: Any) -> Kind:
        """That of an array, tensor or nested list.

        Example:
            >>> Kind.of(np.zeros(3)).give_back(torch.ones(2))
            array([1., 1.])
        """
        own = array.device if isinstance(array, Tensor) else None
        dtype = array.dtype if own else getattr(torch, np.asarray(array).dtype.name, torch.int64)
        return cls(WIDENED.get(dtype, dtype) if dtype.is_floating_point else None, own)

    def give_back(self, result: Tensor | None) -> Any:
        """A result in this dtype, on this device, or as a NumPy array; None stays None."""
        if result is None:
            return None
        result = result.detach().to(self.device or "cpu", self.dtype)
        return result if self.device is not None else as_numpy(result)


def as_tensor(
    name: str,
    array: Any,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """A plain tensor of an array, tensor or nested list: dense, of native floats, no graph.

    Half precision becomes float32 where no dtype is asked for; a tensor keeps its device unless
    another is asked for, and other arrays come to the CPU, copied.

    Args:
        name: of the argument, for messages.
        array: what was given.
        dtype: wanted.
        device: wanted.

    Raises:
        ValueError: a sparse matrix, or something that is no array of numbers.

    Example:
        >>> as_tensor("X", np.ones(2, ">f4")[::-1])
        tensor([1., 1.])
    """
    if isinstance(array, Tensor):
        tensor = plain(name, array.detach())
    else:
        try:
            tensor = torch.from_numpy(as_numpy(array).copy("K"))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{name} must be a dense array of numbers or a tensor, not {type(array).__name__} "
                f"({error})"
            ) from None
    return tensor.to(device, dtype or WIDENED.get(tensor.dtype))


def plain(name: str, tensor: Tensor) -> Tensor:
    """A dense tensor whose memory holds its values, as kernels read them; it keeps its graph.

    Raises:
        ValueError: a sparse tensor, one without memory, or something that is no tensor.

    Example:
        >>> plain("X", torch.eye(2).to_sparse())
        Traceback (most recent call last):
        ValueError: X must be a dense tensor, not a sparse one
    """
    if not isinstance(tensor, Tensor):
        raise ValueError(f"{name} must be a tensor, not {type(tensor).__name__}")
    if tensor.layout != torch.strided:
        raise ValueError(f"{name} must be a dense tensor, not a sparse one")
    if tensor.is_meta:
        raise ValueError(f"{name} must hold values, not lie on the meta device")
    return tensor.resolve_conj().resolve_neg()


def as_numpy(array: Any) -> np.ndarray:
    """A NumPy view or copy of an array or tensor, wherever it lies, in the machine's byte order.

    NumPy has no bfloat16: it becomes float32.

    Example:
        >>> as_numpy(torch.ones(2, dtype=torch.bfloat16, requires_grad=True))
        array([1., 1.], dtype=float32)
    """
    if isinstance(array, Tensor):
        return (array.float() if array.dtype == torch.bfloat16 else array).numpy(force=True)
    array = np.asarray(array)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def device(
    asked: str | torch.device | None = None, own: torch.device | None = None
) -> torch.device:
    """Where to compute: as asked, else where a tensor lies, else on a GPU if there is one.

    Raises:
        RuntimeError: a GPU was asked for and torch sees none.

    Example:
        >>> device("cpu"), device(own=torch.zeros(1).device)
        (device(type='cpu'), device(type='cpu'))
    """
    if asked is not None:
        asked = torch.device(asked)
        if asked.type == "cuda" and not torch.cuda.is_available():
            raise RuntimeError("device='cuda' was asked for, but torch sees no CUDA device")
        return asked
    return own or torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def isolated() -> Iterator[None]:
    """As if nobody had changed torch's default device or switched on autocast.

    For a function that makes tensors or multiplies them, as its decorator: its results then do not
    depend on where it is called.

    Example:
        >>> @isolated()
        ... def three() -> Tensor:
        ...     return torch.ones(3)
        >>> with torch.device("meta"):
        ...     found = three()
        >>> found.device
        device(type='cpu')
    """
    with ExitStack() as stack:
        # Only where they are needed: a device's context slows down every call of torch.
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        yield


def check_entries(
    what: str, array: Any, *, axis: str | None = None, negative: bool = False
) -> None:
    """Refuse NaN and infinite entries of an array or tensor of floats, and negative ones.

    Args:
        what: the array, for messages.
        array: of any shape; it may be empty.
        axis: name of a step along the last dim, by which the first one is placed ("frame");
            by default its whole index is told.
        negative: whether negative entries are legal.

    Raises:
        ValueError: it counts the bad entries and places the first.

    Example:
        >>> check_entries("X", np.array([[0.0, np.nan]]), axis="frame")
        Traceback (most recent call last):
        ValueError: X holds 1 NaN or infinite values, the first at frame 1
    """
    if 0 in array.shape:
        return
    least, most = float(array.min()), float(array.max())  # NaN if an entry is
    if not (math.isfinite(least) and math.isfinite(most)):
        problem, bad = "NaN or infinite", ~np.isfinite(as_numpy(array))
    elif least < 0 and not negative:
        problem, bad = "negative", as_numpy(array) < 0
    else:
        return
    places = np.argwhere(bad)
    if axis is None:
        place = f", first at {tuple(places[0].tolist())}"
    else:
        place = f" values, the first at {axis} {places[:, -1].min()}"
    raise ValueError(f"{what} holds {len(places)} {problem}{place}")


def zeros_like(array: Any, *shape: int) -> Any:
    """Zeros of the kind of an array or tensor.

    Example:
        >>> zeros_like(torch.ones(2, dtype=torch.float64), 1, 3)
        tensor([[0., 0., 0.]], dtype=torch.float64)
    """
    return np.zeros(shape, array.dtype) if isinstance(array, np.ndarray) else array.new_zeros(shape)


def concatenated(arrays: Sequence[Any], axis: int) -> Any:
    """Arrays or tensors, one behind the other; None if one of them is None.

    Example:
        >>> concatenated([np.ones((2, 3)), np.ones((2, 4))], axis=1).shape
        (2, 7)
        >>> concatenated([np.ones((2, 3)), None], axis=1) is None
        True
    """
    if any(array is None for array in arrays):
        return None
    if len(arrays) == 1:
        return arrays[0]
    if isinstance(arrays[0], np.ndarray):
        return np.concatenate(arrays, axis=axis)
    return torch.cat(list(arrays), dim=axis)
