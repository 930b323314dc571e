"""``dds-fast plot``, in-process."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import recording

from dds_fast.command.main import main


def test_a_picture_with_labels(
    tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = recording(tmp_path / "a.wav"), tmp_path / "out"
    assert main(["decompose", path, "-d", model, "-o", str(out)]) == 0
    (tmp_path / "a.txt").write_text("0 0.2 60\n")
    arguments = ["plot", str(out / "a" / "activations.npz"), "-o", str(tmp_path / "p.png")]
    assert main([*arguments, "--labels", str(tmp_path / "a.txt"), "--label-delay", "0.1"]) == 0
    assert (tmp_path / "p.png").read_bytes()[:4] == b"\x89PNG"
    assert main(arguments) == 1
    assert "p.png exists" in capsys.readouterr().err
    assert main([*arguments, "--overwrite"]) == 0
