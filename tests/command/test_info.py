"""``dds-fast info``, in-process."""

from __future__ import annotations

import pytest

from dds_fast.command.main import main


def test_versions_devices_and_backends(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info"]) == 0
    out = capsys.readouterr().out
    for text in ("dds-fast ", "torch ", "cpu: ", "cpu in float64:", "search: ", "tf32"):
        assert text in out
