"""Ctrl-C that waits for a moment at which nothing is half done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def held_back(wanted: bool = True) -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C was pressed in the block, to be asked there; pressed twice, it does not wait.

    Where another handler than Python's is installed, or in another thread than the main one, it
    stays as it is, and so it does where it is not `wanted` to wait.
    """
    n_pressed = 0

    def press(number: int, frame: FrameType | None) -> None:
        nonlocal n_pressed
        n_pressed += 1
        if n_pressed > 1:
            raise KeyboardInterrupt

    usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not (wanted and usual and threading.current_thread() is threading.main_thread()):
        yield lambda: False
        return
    signal.signal(signal.SIGINT, press)
    try:
        yield lambda: n_pressed > 0
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
