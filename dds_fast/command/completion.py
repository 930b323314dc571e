"""``dds-fast completion``: a script that lets a shell complete options."""

from __future__ import annotations

import argparse
from typing import Any

SHELLS = ("bash", "zsh", "tcsh")


def add(commands: Any) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        "completion",
        help="a script that lets a shell complete options",
        description="Print a script for a shell. Bash: dds-fast completion bash > "
        "~/.local/share/bash-completion/completions/dds-fast; zsh: the same into a file _dds-fast "
        "in a folder of $fpath. Needs shtab: pip install shtab.",
    )
    parser.add_argument("shell", choices=SHELLS, help="which shell")
    return parser


def run(options: argparse.Namespace) -> int:
    """Print the script.

    Raises:
        ImportError: shtab is not installed.
    """
    try:
        import shtab
    except ImportError:
        raise ImportError("completion needs shtab: pip install shtab") from None
    from dds_fast.command.main import parser

    print(shtab.complete(parser(), options.shell))
    return 0
