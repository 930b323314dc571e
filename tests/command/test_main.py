"""The command line: what it takes for a mistake."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tiny import recording

import dds_fast
from dds_fast.command.main import main, parser


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


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["--version"])
    assert raised.value.code == 0
    assert capsys.readouterr().out == f"dds-fast {dds_fast.__version__}\n"


def test_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dds_fast", "--version"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, f"dds-fast {dds_fast.__version__}\n")


def options() -> list[tuple[str, argparse.Action, str]]:
    """Every option of every command, with the help that is shown for it."""
    commands = next(a for a in parser()._actions if isinstance(a, argparse._SubParsersAction))
    found = []
    for name, command in commands.choices.items():
        formatter = command._get_formatter()
        found += [
            (name, action, formatter._expand_help(action))
            for action in command._actions
            if action.option_strings and action.dest != "help"
        ]
    return found


def test_every_option_says_what_it_is_and_its_default() -> None:
    for command, action, shown in options():
        place = f"{command} {action.option_strings[0]}"
        assert shown.strip(), place
        optional = action.nargs != 0 and not action.required
        of_no_default = ("--midi", "--groups", "--only", "--labels", "--json", "--out", "--align")
        if optional and action.option_strings[-1] not in of_no_default:
            assert "default" in shown, place


def test_numbers_are_told_with_their_units() -> None:
    units = {
        **{"--tempo": "beats per minute", "--tuning": "cents", "--sensitivity": "log odds"},
        **{"--label-delay": "seconds", "--sr": "Hz", "--split": "MIDI number"},
    }
    told = {action.option_strings[-1]: shown for _, action, shown in options()}
    for option, unit in units.items():
        assert unit in told[option]


def test_completion(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("shtab")
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    assert "--sensitivity" in script and "decompose" in script
    checked = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True)
    assert checked.returncode == 0, checked.stderr


def test_warnings_are_a_line_without_their_place(
    tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(4800), 16000)
    out = str(tmp_path / "out")
    assert main(["decompose", str(tmp_path / "a.wav"), "-d", model, "-o", out]) == 0
    said = capsys.readouterr().err.splitlines()
    assert [line for line in said if "silent: " in line] == [
        "dds-fast: the recording is silent: all activations are zero"
    ]
    assert not any(".py" in line or "warnings.warn" in line for line in said)
