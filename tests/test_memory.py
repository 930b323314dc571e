"""What does not fit is refused before the work, with its size and what lowers it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

import dds_fast
from dds_fast import audio, memory, nmf, ops
from dds_fast.flows import RealNVPBank
from dds_fast.search import Schedule, SearchSettings, StagedProblem, engines

MANY = 10**7


@pytest.fixture(autouse=True)
def poisoned_memory() -> None:
    """Not here: torch's meta device knows its own allocators alone."""


def row(n: int) -> torch.Tensor:
    """``(2, n)``: little by itself."""
    return torch.ones(2, 1).expand(2, n)


def made_flow() -> Any:
    return RealNVPBank(1, 2, n_steps=1, width=2, depth=1).freeze()


def searched() -> Any:
    """A search whose activations are too many."""
    labels, settings = torch.zeros(MANY, dtype=torch.int64), SearchSettings(1, 0.01, 0.0)
    problem = StagedProblem(row(MANY), settings, 1, labels, W=row(MANY))
    return engines.start([problem], [Schedule(0.01, 1)])


CALLS: dict[str, tuple[Callable[[], Any], str]] = {
    "least_squares": (lambda: ops.least_squares(row(MANY), row(MANY)), "fewer frames or entries"),
    "factorize": (lambda: nmf.factorize(np.ones((2, 9)), 10**12), "n_components or fewer frames"),
    "multiplicative_update": (
        lambda: ops.multiplicative_update(torch.ones(2, 9), row(99), torch.ones(99, 9)),
        "fewer frames or components",
    ),
    "objective": (
        lambda: ops.objective(*[torch.ones(2, 2)] * 3, torch.ones(2), penalty=0.0),
        "fewer frames or entries",
    ),
    "flow_decode of 5 rows": (
        lambda: ops.flow_decode(made_flow(), torch.zeros(1, 5, 2)),
        "fewer rows",
    ),
    "this nmf search": (searched, "fewer frames"),
    "the training of this dds2 flow": (
        lambda: dds_fast.fit({60: np.ones((6, 16)), 64: np.ones((6, 16))}, width=10**6),
        "width",
    ),
    "the training of this dds3 flow": (
        lambda: dds_fast.fit({60: np.ones((6, 16))}, "dds3", n_steps=10**12),
        "n_steps",
    ),
}
SMALL = ("multiplicative_update", "objective", "flow_decode of 5 rows")
"""Calls whose operands are as large as what they keep."""


@pytest.mark.parametrize("work", CALLS)
def test_refused_before_the_work(work: str, monkeypatch: pytest.MonkeyPatch) -> None:
    call, lower = CALLS[work]
    if work in SMALL:
        monkeypatch.setattr(memory, "limit", lambda: 1.0)
    pattern = rf"^out of memory: {work} keeps about [\d.]+ GiB; .*{lower}.* lowers? it$"
    with pytest.raises(MemoryError, match=pattern):
        call()


@pytest.mark.parametrize("work", SMALL)
def test_what_fits_is_done(work: str) -> None:
    CALLS[work][0]()


def test_a_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "long.wav"
    soundfile.write(path, np.zeros(1000), 8000)
    monkeypatch.setattr(memory, "limit", lambda: 8000.0)
    assert len(audio.read_file(path)[0]) == 1000
    monkeypatch.setattr(memory, "limit", lambda: 7999.0)
    with pytest.raises(MemoryError, match=r"the sound of .*long\.wav keeps"):
        audio.read_file(path)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA out of memory. Tried to")])
def test_memory_that_runs_out_is_explained(error: Exception) -> None:
    with pytest.raises(
        MemoryError, match=r"^out of memory: it keeps about 2\.0 GiB; less lowers it$"
    ):
        with memory.explained(2**31, "it", "less", "cuda"):
            raise error


def test_other_errors_stay_what_they_are() -> None:
    for error in (RuntimeError("no backend"), ValueError("no")):
        with pytest.raises(type(error), match="^no"), memory.explained(1, "it", "less"):
            raise error


def test_the_inner_work_is_named() -> None:
    with pytest.raises(MemoryError, match="the inner keeps"):
        with memory.explained(1, "the outer", "less"), memory.explained(1, "the inner", "less"):
            raise MemoryError


@pytest.mark.parametrize(("content", "least"), [("4096\n", 4096), ("max\n", None), (None, None)])
def test_containers(
    content: str | None, least: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "CONTAINER", tmp_path / "memory.max")
    machine = memory.limit()
    if content is not None:
        memory.CONTAINER.write_text(content)
    assert memory.limit() == (least or machine)
