"""``dds-fast factorize``, in-process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from tiny import dictionary, recording

from dds_fast import Decomposition
from dds_fast.command.main import main


def factorize(tmp_path: Path, *arguments: object) -> int:
    source = recording(tmp_path / "a.wav")
    return main(["factorize", source, "-o", str(tmp_path / "out"), *map(str, arguments)])


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (("--components", 2, "--loss", "kl", "--init", "nndsvda", "--page"), ["1", "2"]),
        (("--method", "nae", "--components", 2, "--max-steps", 3), ["1", "2"]),
        (("--method", "langevin", "--sources", "60,67", "--max-steps", 2), ["60", "67"]),
    ],
    ids=["nmf", "nae", "langevin"],
)
def test_stems_and_factors(tmp_path: Path, arguments: tuple, names: list[str]) -> None:
    if "langevin" in arguments:
        dictionary("dds2").save(tmp_path / "m.safetensors")
        arguments += ("-d", tmp_path / "m.safetensors")
    assert factorize(tmp_path, *arguments) == 0
    folder = tmp_path / "out" / "a"
    pictures = {"factors.npz", "templates.png", "activations.png"}
    page = {"page.html"} if "--page" in arguments else set()
    assert {path.name for path in folder.iterdir()} == {f"{n}.wav" for n in names} | pictures | page
    total = sum(soundfile.read(folder / f"{name}.wav")[0] for name in names)
    np.testing.assert_allclose(total, soundfile.read(tmp_path / "a.wav")[0], atol=1e-4)
    result = Decomposition.load(folder / "factors.npz")
    assert [str(source) for source in result.sources] == names
    assert factorize(tmp_path, *arguments) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--method", "nae", "--loss", "kl"), "--loss is for --method nmf, not nae"),
        (("--sources", "60"), "--sources is for --method langevin, not nmf"),
        (("--components", "0"), "n_components must be at least 1"),
        (("--sparsity", "-1"), "sparsity must be finite and not negative"),
    ],
)
def test_wrong_options(
    tmp_path: Path, arguments: tuple, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert factorize(tmp_path, *arguments) == 1
    assert message in capsys.readouterr().err
