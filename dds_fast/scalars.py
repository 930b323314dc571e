"""Numbers that users give: what is legal, in which words it is refused, and plain Python inside.

Python's and NumPy's numbers (0-d arrays and tensors too) are taken; truth values, strings and NaN
are none. What comes back is an ``int``, ``float`` or ``bool``, which JSON can hold. Nothing here
needs torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any


def plain(value: Any) -> Any:
    """A NumPy scalar, or an array of no dims, as the Python object that it holds.

    Example:
        >>> import numpy as np
        >>> plain(np.float32(0.5)), plain(np.array(3)), plain("three")
        (0.5, 3, 'three')
    """
    return value.item() if getattr(value, "ndim", None) == 0 else value


def integer(name: str, value: Any, least: int | None = None, most: int | None = None) -> int:
    """A whole number, perhaps within bounds; floats without a fraction are taken.

    Raises:
        ValueError: anything else; it names the argument.

    Example:
        >>> import numpy as np
        >>> integer("max_steps", np.int64(66), least=0)
        66
        >>> integer("max_steps", True)
        Traceback (most recent call last):
        ValueError: max_steps must be an integer, not True
    """
    number = plain(value)
    whole = isinstance(number, Integral) or (isinstance(number, float) and number.is_integer())
    if not whole or isinstance(number, bool):
        raise ValueError(f"{name} must be an integer, not {value!r}")
    if least is not None and number < least:
        raise ValueError(f"{name} must be at least {least}, not {value!r}")
    if most is not None and number > most:
        raise ValueError(f"{name} must be at most {most}, not {value!r}")
    return int(number)


def real(name: str, value: Any, least: float | None = None) -> float:
    """A finite number, perhaps of at least so much.

    Raises:
        ValueError: anything else; it names the argument.

    Example:
        >>> real("sr", "16000")
        Traceback (most recent call last):
        ValueError: sr must be a number, not '16000'
    """
    number = _number(name, value)
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, not {value!r}")
    if least is not None and number < least:
        raise ValueError(f"{name} must be at least {least}, not {value!r}")
    return number


def positive(name: str, value: Any) -> float:
    """A finite number above 0; anything else is a ValueError that names the argument.

    Example:
        >>> positive("step_size", 1)
        1.0
        >>> positive("step_size", 0)
        Traceback (most recent call last):
        ValueError: step_size must be finite and positive, not 0
    """
    number = _number(name, value)
    if not 0 < number < math.inf:
        raise ValueError(f"{name} must be finite and positive, not {value!r}")
    return number


def not_negative(name: str, value: Any) -> float:
    """A finite number from 0 on; anything else is a ValueError that names the argument.

    Example:
        >>> not_negative("penalty", 0)
        0.0
        >>> not_negative("penalty", float("nan"))
        Traceback (most recent call last):
        ValueError: penalty must be finite and not negative, not nan
    """
    number = _number(name, value)
    if not 0 <= number < math.inf:
        raise ValueError(f"{name} must be finite and not negative, not {value!r}")
    return number


def pair(name: str, values: Any) -> tuple[float, float]:
    """Two finite numbers of a sequence or array; anything else is a ValueError.

    Example:
        >>> pair("bounds", [-1, 1])
        (-1.0, 1.0)
        >>> pair("bounds", 1)
        Traceback (most recent call last):
        ValueError: bounds must be two numbers, not 1
    """
    both = values.tolist() if hasattr(values, "tolist") else values
    if not isinstance(both, Sequence) or isinstance(both, str) or len(both) != 2:
        raise ValueError(f"{name} must be two numbers, not {values!r}")
    return real(name, both[0]), real(name, both[1])


def flag(name: str, value: Any) -> bool:
    """True or False, NumPy's too; anything else is a ValueError that names the argument.

    Example:
        >>> import numpy as np
        >>> flag("align", np.True_)
        True
        >>> flag("align", 1)
        Traceback (most recent call last):
        ValueError: align must be True or False, not 1
    """
    truth = plain(value)
    if not isinstance(truth, bool):
        raise ValueError(f"{name} must be True or False, not {value!r}")
    return truth


def _number(name: str, value: Any) -> float:
    number = plain(value)
    if not isinstance(number, Real) or isinstance(number, bool):
        raise ValueError(f"{name} must be a number, not {value!r}")
    try:
        return float(number)
    except OverflowError:  # a Python integer beyond all floats
        return math.inf
