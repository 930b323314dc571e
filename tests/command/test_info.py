"""``dds-fast info``, in-process."""

from __future__ import annotations

import pytest

from dds_fast.command.main import main


def test_six_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    for line, text in zip(
        lines, ("dds-fast ", "torch ", "cpu: ", "cuda: ", "cpu by ", "-v"), strict=True
    ):
        assert text in line


@pytest.mark.parametrize("arguments", [["info", "-v"], ["-v", "info"]])
def test_versions_devices_and_backends(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 0
    out = capsys.readouterr().out
    for text in ("dds-fast ", "torch ", "cpu: ", "cpu in float64:", "search: ", "tf32"):
        assert text in out
