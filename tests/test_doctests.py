"""The examples in the docstrings run and say the truth, and nothing public lacks one."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from types import ModuleType

import matplotlib
import pytest

import dds_fast

matplotlib.use("Agg")

MODULES = [
    info.name
    for info in pkgutil.walk_packages(dds_fast.__path__, "dds_fast.")
    if not info.name.rpartition(".")[2].startswith("_c")
]
PUBLIC = (
    *("dds_fast", "arrays", "audio", "calibration", "codes", "corpus", "datasets"),
    "datasets.mixtures",
    *("datasets.soundfont", "datasets.synthetic", "decomposition", "dictionary", "flows"),
    *("inspection", "methods.amortised", "methods.langevin", "methods.nae", "methods.priors"),
    *("methods.recordings", "methods.transformer", "progress", "notes.note_audacity"),
    *("notes.note_frame", "notes.note_jams", "notes.note_layer", "notes.sonification"),
    *("methods.score_informed", "methods.variational", "metrics", "nmf", "notes.found"),
    *("notes.grouping", "notes.names", "notes.score", "ops", "page", "plots", "scalars"),
    *("search", "separation", "temporal.features", "temporal.network", "temporal.states"),
)
CANNOT_RUN = {
    "render": "needs tinysoundfont",
    "synthesizer": "needs tinysoundfont",
    "to_frame": "needs pandas",
}


def _public(module: ModuleType) -> Iterator[tuple[str, object]]:
    """Functions and classes of `__all__`, else those that a module defines itself."""
    names = getattr(module, "__all__", None)
    for name in vars(module) if names is None else names:
        thing = getattr(module, name)
        if inspect.isroutine(thing) or inspect.isclass(thing):
            if names or (thing.__module__ == module.__name__ and not name.startswith("_")):
                yield name, thing


@pytest.fixture
def closed_figures() -> Iterator[None]:
    yield
    importlib.import_module("matplotlib.pyplot").close("all")


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.usefixtures("closed_figures")
def test_examples(name: str) -> None:
    results = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert results.failed == 0


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_has_an_example(name: str) -> None:
    module = importlib.import_module(f"dds_fast.{name}" if name != "dds_fast" else name)
    parser = doctest.DocTestParser()
    for public, thing in _public(module):
        examples = parser.get_examples(inspect.getdoc(thing) or "")
        assert examples, f"{name}.{public} has no example"
        if public not in CANNOT_RUN:
            skipped = [example for example in examples if doctest.SKIP in example.options]
            assert not skipped, f"an example of {name}.{public} does not run"
