"""What the tests of the commands share."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import pytest
from tiny import dictionary

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def quiet_warnings() -> Iterator[None]:
    """`main` sends warnings to the log; later tests want them back."""
    yield
    logging.captureWarnings(False)


@pytest.fixture
def model(tmp_path: Path) -> str:
    path = tmp_path / "model.safetensors"
    dictionary("dds3", search={"dds3": {"max_steps": 3, "n_components": 2}}).save(path)
    return str(path)
