"""Importing is light and quiet, and what is public is there when it is asked for."""

from __future__ import annotations

import pickle

import fresh
import pytest

import dds_fast

HEAVY = (
    *("torch", "numpy", "librosa", "soundfile", "matplotlib", "ray", "pyarrow"),
    *("dds_fast._cpu", "dds_fast._cuda"),
)
COMMANDS = (
    *("decompose", "separate", "factorize", "evaluate", "fit", "inspect", "plot", "corpus"),
    *("corpus-report", "bench", "info", "demo", "completion"),
)


def printed(code: str) -> str:
    result = fresh.run(code)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_import_loads_nothing() -> None:
    code = "import sys, dds_fast; print([name for name in sys.modules if name in {})"
    assert printed(code.format(f"{HEAVY}]")) == "[]"


def test_public_names_load_no_native_code_and_no_audio_stack() -> None:
    audio = ("librosa", "soundfile", "mir_eval", "pretty_midi", "matplotlib.pyplot", "sklearn")
    names = ("dds_fast._cpu", "dds_fast._cuda", *audio)
    code = f"""
import sys
from dds_fast import *
print("torch" in sys.modules, [name for name in sys.modules if name in {names}])
"""
    assert printed(code) == "True []"


def test_help_loads_nothing() -> None:
    """Of the command, of each of its parts, and after a mistake."""
    code = f"""
import contextlib, io, sys
from dds_fast.command.main import COMMANDS, main

names = [command.__name__.rpartition(".")[2].replace("_", "-") for command in COMMANDS]
for arguments in (["--help"], *([name, "--help"] for name in names), ["decompose", "--not"]):
    with contextlib.suppress(SystemExit), contextlib.redirect_stderr(io.StringIO()):
        with contextlib.redirect_stdout(io.StringIO()):
            main(arguments)
print(*names, [name for name in sys.modules if name in {HEAVY}])
"""
    assert printed(code) == f"{' '.join(COMMANDS)} []"


def test_functions_stay_functions() -> None:
    """Submodules of their names exist: importing these must not put them in their place."""
    code = """
import dds_fast.decompose, dds_fast.fit
import dds_fast
print(*(type(getattr(dds_fast, name)).__name__ for name in ("decompose", "separate", "fit")))
import dds_fast.separate
from dds_fast.decompose import decompose
from dds_fast import separate
print(dds_fast.decompose is decompose, dds_fast.separate is separate, callable(separate))
"""
    assert printed(code).splitlines() == ["function function function", "True True True"]


def test_all_public_names_are_there() -> None:
    code = """
from dds_fast import *
import dds_fast
print(set(dds_fast.__all__) - set(globals()), set(dds_fast.__all__) - set(dir(dds_fast)))
modules = [name for name in dir(dds_fast) if type(getattr(dds_fast, name)).__name__ == "module"]
print({"audio", "datasets", "flows", "methods", "metrics", "ops", "plots"} - set(modules))
"""
    assert printed(code).splitlines() == ["set() set()", "set()"]


def test_threads_may_import_at_once() -> None:
    code = """
from concurrent.futures import ThreadPoolExecutor
import dds_fast

with ThreadPoolExecutor(len(dds_fast.__all__)) as threads:
    found = list(threads.map(lambda name: getattr(dds_fast, name), dds_fast.__all__))
print([value is getattr(dds_fast, name) for name, value in zip(dds_fast.__all__, found)])
"""
    assert printed(code) == str([True] * len(dds_fast.__all__))


def test_functions_can_be_pickled() -> None:
    for function in (dds_fast.decompose, dds_fast.fit, dds_fast.separate):
        assert pickle.loads(pickle.dumps(function)) is function


def test_what_there_is_not() -> None:
    with pytest.raises(AttributeError, match="'dds_fast' has no attribute 'nonsense'"):
        dds_fast.nonsense  # noqa: B018
