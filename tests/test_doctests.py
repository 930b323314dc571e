"""The examples in the docstrings run and say the truth."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import dds_fast

MODULES = [
    info.name
    for info in pkgutil.walk_packages(dds_fast.__path__, "dds_fast.")
    if not info.name.rpartition(".")[2].startswith("_c")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    results = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert results.failed == 0


def test_the_main_functions_have_examples() -> None:
    finder = doctest.DocTestFinder()
    for function in (dds_fast.decompose, dds_fast.fit, dds_fast.SpectrogramConfig):
        (test, *_) = finder.find(function, function.__name__)
        assert test.examples, f"{function.__name__} has no example"
