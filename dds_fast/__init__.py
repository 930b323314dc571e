"""dds_fast: decompose audio into its sources with Differentiable Dictionary Search.

Importing it loads nothing else, neither PyTorch nor native code: names are loaded when first used.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dds_fast import (  # noqa: F401
        audio,
        calibration,
        codes,
        datasets,
        decomposition,
        dictionary,
        flows,
        inspection,
        methods,
        metrics,
        nmf,
        notes,
        ops,
        page,
        plots,
        search,
        separation,
        temporal,
    )
    from dds_fast._public import (
        PIANO,
        BatchError,
        Decomposition,
        Dictionary,
        Spectrogram,
        SpectrogramConfig,
        calibrate,
        decompose,
        fit,
        load,
        separate,
    )

__version__ = "0.2.0"

__all__ = [
    "BatchError",
    "Decomposition",
    "Dictionary",
    "PIANO",
    "Spectrogram",
    "SpectrogramConfig",
    "calibrate",
    "decompose",
    "fit",
    "load",
    "separate",
]

_MODULES = (
    *("audio", "calibration", "codes", "corpus", "datasets", "decomposition", "dictionary"),
    *("flows", "inspection", "methods", "metrics", "nmf", "notes", "ops", "page", "plots"),
    *("search", "separation", "temporal"),
)


if not TYPE_CHECKING:  # type checkers are to complain of other names

    def __getattr__(name: str) -> Any:
        if name in __all__:
            return getattr(import_module(f"{__name__}._public"), name)
        if name in _MODULES:
            return import_module(f"{__name__}.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})


class _Package(ModuleType):
    """Whoever imports `dds_fast.fit` makes Python store that module as the package's `fit`, where
    users expect the function: this stores the function."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in __all__ and isinstance(value, ModuleType):
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
