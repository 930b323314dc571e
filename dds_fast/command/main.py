"""The command line: ``dds-fast decompose | separate | factorize | evaluate | fit | ...``.

A file per command: ``add`` makes its parser, ``run`` does it. Both the help and a mistake on the
command line are answered without PyTorch, which only ``run`` imports.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from typing import Any

from dds_fast import __version__
from dds_fast.command import (
    bench,
    completion,
    corpus,
    corpus_report,
    decompose,
    demo,
    evaluate,
    factorize,
    fit,
    info,
    inspect,
    plot,
    separate,
)
from dds_fast.command.messages import messages, plain_warnings

COMMANDS = (
    *(decompose, separate, factorize, evaluate, fit, inspect, plot, corpus, corpus_report),
    *(bench, info, demo, completion),
)
FAILURES = (ValueError, OSError, RuntimeError, MemoryError, ArithmeticError, ImportError)
"""What is told in a line; an import that fails is that of an extra."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit status: 0; 1 after an error or if some recordings failed; 130 after Ctrl-C.
    """
    options = parser().parse_args(arguments)
    # All figures go to files: a notebook's choice for its own, or a wrong one, is not for us.
    os.environ.pop("MPLBACKEND", None)
    with messages(), plain_warnings():
        return _run(options)


def _run(options: argparse.Namespace) -> int:
    logging.basicConfig(
        level=logging.INFO if options.verbose else logging.WARNING, format="%(message)s"
    )
    try:
        return options.run(options)
    except FAILURES as error:
        print(f"dds-fast: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as error:
        print(f"dds-fast: {str(error) or 'interrupted'}", file=sys.stderr)
        return 130


class _Help(argparse.HelpFormatter):
    """Help that tells the default of every option that has one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        text = action.help or ""
        nothing = (None, False, argparse.SUPPRESS)
        told = "default" in text or any(action.default is value for value in nothing)
        return text if told or not action.option_strings else f"{text} (default: %(default)s)"


class _CommandParser(argparse.ArgumentParser):
    """A command's options, which must be written out."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"allow_abbrev": False, "formatter_class": _Help, **options})


def parser() -> argparse.ArgumentParser:
    """That of the whole command."""
    whole = argparse.ArgumentParser(
        prog="dds-fast", description="Decompose audio into its sources.", allow_abbrev=False
    )
    whole.add_argument("--version", action="version", version=f"dds-fast {__version__}")
    whole.add_argument("-v", "--verbose", action="store_true", help="say what is done")
    commands = whole.add_subparsers(required=True, metavar="COMMAND", parser_class=_CommandParser)
    for command in COMMANDS:
        of_command = command.add(commands)
        of_command.set_defaults(run=command.run)
        if command is not bench:  # whose arguments are those of a suite
            of_command.add_argument(
                *("-v", "--verbose"),
                action="store_true",
                default=argparse.SUPPRESS,
                help="say what is done",
            )
    return whole
