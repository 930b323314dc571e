"""Nothing but a corpus needs Ray, and a corpus says so in a sentence."""

from __future__ import annotations

from pathlib import Path

import fresh
import pytest
from tiny import dictionary, recording

BLOCKER = """
import sys
from importlib.machinery import PathFinder

class Blocker(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.partition(".")[0] in ("ray", "pyarrow"):
            return None
        return super().find_spec(name, path, target)

sys.meta_path = [Blocker if finder is PathFinder else finder for finder in sys.meta_path]
"""
EVERYTHING = """
import importlib, pkgutil
import dds_fast
for info in pkgutil.walk_packages(dds_fast.__path__, "dds_fast."):
    if info.name.rpartition(".")[2] not in ("_cpu", "_cuda", "_probe"):
        importlib.import_module(info.name)
"""
COMMAND = """
from dds_fast.command.main import main
sys.exit(main({arguments}))
"""


def test_everything_is_imported_without_it() -> None:
    done = fresh.run(BLOCKER + EVERYTHING)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("dry", [False, True])
def test_a_corpus_says_what_it_needs(tmp_path: Path, dry: bool) -> None:
    """What it costs can be told without it."""
    model = tmp_path / "m.safetensors"
    dictionary("nmf").save(model)
    arguments = ["corpus", recording(tmp_path / "a.wav"), "-d", str(model), "-o"]
    arguments += [str(tmp_path / "out"), *["--dry-run"] * dry]
    done = fresh.run(BLOCKER + COMMAND.format(arguments=arguments))
    if dry:
        assert done.stdout.startswith("1 recordings, 0.0 hours of sound; 1 to decompose\n")
        assert done.returncode == 0, done.stderr
    else:
        said = "dds-fast: corpora need Ray Data and pyarrow: pip install 'dds-fast[ray]'\n"
        assert (done.returncode, done.stderr) == (1, said)
    assert not (tmp_path / "out").exists()
