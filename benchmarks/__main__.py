"""One way to run all that is measured: ``python benchmarks NAME ...``, from a checkout.

NAME is a module of kernels/, paper/ or studies/ that has a ``main``; without one they are listed.
``dds-fast bench NAME`` is the same for the suites that it names.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import store

HERE = Path(__file__).parent
ROOMS = ("kernels", "paper", "studies")


def runnable() -> dict[str, str]:
    """The room of each module that can be run, by its name."""
    return {
        path.stem: room
        for room in ROOMS
        for path in sorted((HERE / room).glob("*.py"))
        if "\ndef main(" in path.read_text(encoding="utf-8")
    }


def main() -> int:
    rooms = runnable()
    name = sys.argv.pop(1) if len(sys.argv) > 1 else ""
    if name not in rooms:
        print(f"python benchmarks NAME ...; NAME is one of {', '.join(rooms)}", file=sys.stderr)
        return 2
    sys.argv[0] = f"benchmarks {name}"
    try:
        return importlib.import_module(f"{rooms[name]}.{name}").main() or 0
    except store.Refused as refusal:
        print(f"dds-fast: {refusal}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
