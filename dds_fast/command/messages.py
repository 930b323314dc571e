"""Standard error for messages alone: closed, or on a full disk, it loses them and nothing else."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, suppress
from typing import Any, TextIO


class Messages:
    """A stream that goes to nowhere once it cannot be written to."""

    def __init__(self, stream: TextIO | None) -> None:
        self.stream = stream or _nowhere()

    def write(self, text: str) -> int:
        try:
            return self.stream.write(text)
        except (OSError, ValueError):  # the latter of a stream that was closed
            self._lose()
            return len(text)

    def flush(self) -> None:
        try:
            self.stream.flush()
        except (OSError, ValueError):
            self._lose()

    def _lose(self) -> None:
        """Send what is left, also in Python's buffer and of native libraries, to nowhere."""
        lost, self.stream = self.stream, _nowhere()
        with suppress(OSError, ValueError):
            os.dup2(self.stream.fileno(), lost.fileno())
            lost.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def _nowhere() -> TextIO:
    return open(os.devnull, "w")  # noqa: SIM115


@contextmanager
def messages() -> Iterator[None]:
    """Let standard error be `Messages`, and no file that is opened be taken for it."""
    with suppress(OSError):
        while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
            pass  # it was closed, and native libraries write to it
        os.close(descriptor)
    with redirect_stderr(Messages(sys.stderr)):
        yield


@contextmanager
def plain_warnings() -> Iterator[None]:
    """A line for each warning, without the place in the source that gave it."""

    def show(message: Warning | str, *place: Any, **more: Any) -> None:
        print(f"dds-fast: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield
