"""The command line: ``dds-fast decompose | separate | evaluate | fit | inspect | plot | ...``.

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

from dds_fast.command import (
    bench,
    corpus,
    corpus_report,
    decompose,
    demo,
    evaluate,
    fit,
    info,
    inspect,
    plot,
    separate,
)
from dds_fast.command.messages import messages

COMMANDS = (
    *(decompose, separate, evaluate, fit, inspect, plot, corpus, corpus_report),
    *(bench, info, demo),
)
FAILURES = (ValueError, OSError, RuntimeError, MemoryError, ArithmeticError, ImportError)
"""What is told in a line; an import that fails is that of an extra."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit status: 0; 1 after an error or if some recordings failed; 130 after Ctrl-C.
    """
    options = _parser().parse_args(arguments)
    # All figures go to files: a notebook's choice for its own, or a wrong one, is not for us.
    os.environ.pop("MPLBACKEND", None)
    with messages():
        return _run(options)


def _run(options: argparse.Namespace) -> int:
    logging.basicConfig(
        level=logging.INFO if options.verbose else logging.WARNING, format="%(message)s"
    )
    logging.captureWarnings(True)
    try:
        return options.run(options)
    except FAILURES as error:
        print(f"dds-fast: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as error:
        print(f"dds-fast: {str(error) or 'interrupted'}", file=sys.stderr)
        return 130


class _CommandParser(argparse.ArgumentParser):
    """A command's options, which must be written out."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **options})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dds-fast", description="Decompose audio into its sources.", allow_abbrev=False
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="say what is done")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_CommandParser)
    for command in COMMANDS:
        command.add(commands).set_defaults(run=command.run)
    return parser
