"""The command line: what it takes for a mistake."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import recording

from dds_fast.command.main import main


@pytest.mark.parametrize(
    "arguments",
    [[], ["compose"], ["decompose"], ["decompose", "a.wav"], ["decompose", "--max", "3"]],
    ids=["none", "unknown", "no-input", "no-output", "abbreviation"],
)
def test_usage_errors(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(arguments)
    assert raised.value.code == 2
    assert "usage: dds-fast" in capsys.readouterr().err


def test_options_are_not_abbreviated(tmp_path: Path, model: str) -> None:
    path = recording(tmp_path / "a.wav")
    with pytest.raises(SystemExit) as raised:
        main(["decompose", path, "-d", model, "-o", str(tmp_path / "out"), "--max-st", "1"])
    assert raised.value.code == 2
