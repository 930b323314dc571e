"""What the package says of itself, in one place or in agreement."""

from __future__ import annotations

import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path

import fresh
import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import dds_fast

ROOT = Path(__file__).parents[1]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = SETTINGS["project"]


def _pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {re.sub("[-_.]+", "-", name).lower(): version for name, version in pairs}


def test_version_is_that_of_the_changelog_and_of_the_installation() -> None:
    released = re.findall(r"^## (\d\S*)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert released[0] == dds_fast.__version__
    try:
        assert importlib.metadata.version("dds-fast") == dds_fast.__version__
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("dds-fast is not installed")


def test_pythons_are_said_in_agreement() -> None:
    told = {
        found[1]
        for text in PROJECT["classifiers"]
        if (found := re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", text))
    }
    oldest = min(told, key=lambda version: int(version[2:]))
    assert PROJECT["requires-python"] == f">={oldest}"
    assert SETTINGS["tool"]["ruff"]["target-version"] == f"py{oldest.replace('.', '')}"
    built = SETTINGS["tool"]["cibuildwheel"]["build"]
    assert {f"cp{version.replace('.', '')}-*" for version in told} == set(built)


def test_pinned_versions_are_within_the_declared_ranges() -> None:
    extras = PROJECT["optional-dependencies"].values()
    declared = [*PROJECT["dependencies"], *SETTINGS["build-system"]["requires"]]
    pins, checked = _pins(), []
    for requirement in map(Requirement, [*declared, *(text for extra in extras for text in extra)]):
        name = re.sub("[-_.]+", "-", requirement.name).lower()
        if name in pins:
            assert requirement.specifier.contains(pins[name]), (str(requirement), pins[name])
            checked.append(name)
    assert {"torch", "numpy", "pybind11", "scikit-build-core"} <= set(checked)


def test_pinned_versions_serve_every_python_declared() -> None:
    """Those that are installed here say which Pythons they serve."""
    oldest = SETTINGS["project"]["requires-python"].removeprefix(">=")
    checked = []
    for name, version in _pins().items():
        try:
            metadata = importlib.metadata.metadata(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        serves = SpecifierSet(metadata.get("Requires-Python", ""))
        if metadata["Version"].split("+")[0] == version:
            assert serves.contains(f"{oldest}.0"), f"{name} {version} serves Python {serves}"
            checked.append(name)
    assert sys.version_info >= (3, 11) and {"torch", "numpy"} <= set(checked)


def test_what_windows_lacks_is_not_asked_for() -> None:
    """A rehearsal: names that are POSIX's alone are taken away before the package is used."""
    code = """
import os, pathlib, shutil, sys, tempfile
import librosa, soundfile, torch

for name in ("O_DIRECTORY", "O_NOFOLLOW", "getuid", "register_at_fork", "sysconf"):
    delattr(os, name)
sys.modules["fcntl"] = sys.modules["resource"] = sys.modules["dds_fast._cpu"] = None
sys.platform = "win32"
import dds_fast
from dds_fast import caches, files, locks

result = dds_fast.nmf.factorize(torch.ones(4, 4), 2, n_steps=2)
files.allow_open(10)
assert pathlib.Path(caches._temporary("dds_fast-rehearsal")).is_dir()
with locks.claimed(pathlib.Path("a")) as own, files.writing(pathlib.Path("b.txt")) as path:
    path.write_text(str(own))
print(pathlib.Path("b.txt").read_text(), os.listdir())
"""
    result = fresh.run(code)
    assert result.returncode == 0, result.stderr
    assert result.stdout == "True ['b.txt']\n"
