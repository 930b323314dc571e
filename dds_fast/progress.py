"""Progress on standard error: a bar in a terminal or a notebook, else a line now and then."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

import tqdm.asyncio
import tqdm.auto

BETWEEN_LINES = 30.0
"""Seconds without a terminal from one line to the next, and until the first."""


class Lines(tqdm.tqdm):
    """A bar whose every state is a line of its own, and which says nothing at its end.

    Example:
        >>> import io
        >>> written = io.StringIO()
        >>> with Lines(total=2, file=written) as bar:
        ...     shown = bar.update(2)
        >>> written.getvalue()
        ''
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        rare = dict.fromkeys(("mininterval", "maxinterval", "delay"), BETWEEN_LINES)
        super().__init__(*arguments, **options | rare)

    @staticmethod
    def status_printer(file: Any) -> Callable[[str], None]:
        def print_line(text: str) -> None:
            if text:
                file.write(f"{text}\n")
                file.flush()

        return print_line

    def refresh(self, *arguments: Any, **options: Any) -> bool | None:
        if self.disable or self._time() - max(self.last_print_t, self.start_t) < BETWEEN_LINES:
            return None  # a new postfix alone
        return super().refresh(*arguments, **options)

    def close(self) -> None:
        self.disable = True


def bar(iterable: Iterable[Any] | None = None, *, shown: bool, **options: Any) -> Any:
    """A tqdm bar, or one that shows nothing.

    Args:
        iterable: what is gone through; without it, the bar is told by ``update``.
        shown: whether to show it at all.
        **options: of tqdm.

    Example:
        >>> [step for step in bar(range(3), shown=False)]
        [0, 1, 2]
    """
    in_notebook = tqdm.auto.tqdm is not tqdm.asyncio.tqdm
    terminal = in_notebook or (sys.stderr is not None and sys.stderr.isatty())
    return (tqdm.auto.tqdm if terminal else Lines)(iterable, disable=not shown, **options)
