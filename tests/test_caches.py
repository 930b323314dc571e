"""Caches have a place where there is no home."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest
from fresh import run as in_new_interpreter

from dds_fast import caches


@pytest.fixture
def homeless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user whose home cannot be written to; the folder of temporary files."""
    (tmp_path / "file").touch()
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.delenv("A_CACHE", raising=False)
    return tmp_path / "tmp"


def test_a_temporary_folder_of_the_user_alone(homeless: Path) -> None:
    caches.ensure("A_CACHE", "~/.cache/a")
    chosen = Path(os.environ.pop("A_CACHE"))
    assert chosen.parent == homeless and stat.S_IMODE(chosen.stat().st_mode) == 0o700
    caches.ensure("A_CACHE", "~/.cache/a")
    assert os.environ.pop("A_CACHE") == str(chosen)
    chosen.chmod(0o777)  # to anyone's code
    caches.ensure("A_CACHE", "~/.cache/a")
    assert os.environ.pop("A_CACHE") != str(chosen)


def test_a_choice_stays(homeless: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_CACHE", "mine")
    caches.ensure("A_CACHE", "~/.cache/a")
    assert os.environ["A_CACHE"] == "mine"


def test_nothing_is_changed_for_others(
    homeless: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "to" / "be" / "made"))
    caches.ensure("A_CACHE", "~/.cache/a")
    assert "A_CACHE" not in os.environ


def test_a_package_s_own_folder_serves(
    homeless: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "some_package").mkdir()
    (tmp_path / "some_package" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    caches.ensure("A_CACHE", "~/.cache/a", "no_package_of_that_name", "some_package")
    assert "A_CACHE" not in os.environ


def test_it_is_chosen_before_librosa_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code = """
import os, sys
from dds_fast import caches
caches._folders = lambda packages: []
import dds_fast.audio
print("librosa" in sys.modules, os.path.isdir(os.environ["NUMBA_CACHE_DIR"]))
"""
    environment = {"HOME": str(tmp_path / "file"), "TMPDIR": str(tmp_path)}
    result = in_new_interpreter(
        f"import os; os.environ.pop('NUMBA_CACHE_DIR', 0){code}", **environment
    )
    assert result.stdout.split() == ["False", "True"], result.stderr
