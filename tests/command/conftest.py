"""What the tests of the commands share."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import pytest
from tiny import dictionary

matplotlib.use("Agg")


@pytest.fixture
def model(tmp_path: Path) -> str:
    path = tmp_path / "model.safetensors"
    dictionary("dds3", search={"dds3": {"max_steps": 3, "n_components": 2}}).save(path)
    return str(path)
