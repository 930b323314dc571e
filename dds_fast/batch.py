"""The recordings of one call, searched piece by piece; a bad one costs the others nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

import torch

from dds_fast import arrays
from dds_fast.decomposition import Decomposition
from dds_fast.pieces import Piece, Recording
from dds_fast.problems import Problems
from dds_fast.search import memory
from dds_fast.search.engines import choose
from dds_fast.search.loop import Callback, run
from dds_fast.search.problem import AnyProblem
from dds_fast.search.search import Search

Source = TypeVar("Source")

FAILURES = (ValueError, OSError, MemoryError, ArithmeticError)
"""What may be wrong with one recording; other errors are wrong with the call, or the machine."""


class BatchError(ValueError):
    """Some recordings of a list could not be decomposed; what was found in the others is here.

    Attributes:
        results: a `Decomposition` for each source, None for those that failed.
        errors: what went wrong, by index of the source.

    Example:
        >>> import numpy as np
        >>> import dds_fast
        >>> frames = np.eye(512)[15:16]
        >>> dictionary = dds_fast.fit({60: frames}, kind="nmf")
        >>> good = dds_fast.Spectrogram(np.repeat(frames.T, 9, axis=1), dictionary.spectrogram)
        >>> try:
        ...     dds_fast.decompose([good, "gone.wav"], dictionary)
        ... except dds_fast.BatchError as error:
        ...     error.results[0].n_frames, error.results[1], error.errors
        (9, None, {1: FileNotFoundError('no such audio file: gone.wav')})
    """

    def __init__(self, results: list[Decomposition | None], errors: dict[int, Exception]) -> None:
        super().__init__(results, errors)
        self.results, self.errors = results, errors

    def __str__(self) -> str:
        each = "; ".join(
            f"source {index}: {str(error) or repr(error)}" for index, error in self.errors.items()
        )
        return f"{len(self.errors)} of {len(self.results)} recordings failed: {each}"


class Batch:
    """Recordings on their way, and what went wrong with some of them.

    Args:
        asked: of each search.
        precision: of the searches.
        backend: "auto" or an engine's name.
        device: where to compute; None for that of each recording.
        callback: of the searches, which then take one piece at a time.
        bar: shows the seconds of sound that are done.
        several: whether an error is kept as one recording's; a lone one's is raised.
    """

    def __init__(
        self,
        asked: Problems,
        precision: str,
        backend: str,
        device: str | torch.device | None,
        callback: Callback | None,
        bar: Any,
        *,
        several: bool,
    ) -> None:
        self.asked, self.precision, self.backend = asked, precision, backend
        self.device, self.callback, self.bar, self.several = device, callback, bar, several
        self.dtype = torch.float64 if precision == "float64" else torch.float32
        self.begun: list[Recording | Exception] = []

    def search(self, sources: Iterable[Source], begin: Callable[[Source], Recording]) -> None:
        """Search what `begin` makes of each source, until Ctrl-C."""
        pieces = self._pieces(sources, begin)
        all(self._goes_on([piece], pieces) for piece in pieces)

    def results(self, settings: dict[str, Any]) -> list[Decomposition]:
        """The decompositions of all whose turn had come.

        Args:
            settings: to be recorded with each.

        Raises:
            BatchError: some recordings failed.
        """
        tried = [one for one in self.begun if isinstance(one, Exception) or one.was_tried]
        errors: dict[int, Exception] = {}
        results: list[Decomposition | None] = []
        for index, one in enumerate(tried):
            error = one if isinstance(one, Exception) else one.error
            if error is None and isinstance(one, Recording):
                results.append(one.result(settings))
            elif error is not None:
                results.append(None)
                errors[index] = error
        if errors:
            raise BatchError(results, errors)
        return [result for result in results if result is not None]

    def _pieces(
        self, sources: Iterable[Source], begin: Callable[[Source], Recording]
    ) -> Iterator[Piece]:
        for index, source in enumerate(sources):
            try:
                recording = begin(source)
                self.begun.append(recording)
                yield from recording.pieces()
            except FAILURES as error:
                self.begun[index:] = [self._kept(error)]

    def _goes_on(self, pieces: list[Piece], more: Iterator[Piece]) -> bool:
        """Search pieces, and together with them some of `more`; whether to go on after them."""
        try:
            search = self._searched(pieces, more)
        except FAILURES as error:
            kept = self._kept(error)
            if len(pieces) == 1:
                pieces[0].recording.error = kept
                return True
            # Perhaps one of them is to blame.
            return all(
                self._goes_on([piece], iter(()))
                for piece in pieces
                if piece.recording.error is None
            )
        states = zip(pieces, search.controllers, search.states(), strict=True)
        for piece, controller, state in states:
            try:
                piece.recording.add(piece, controller, state, self.asked.labels)
            except FAILURES as error:
                piece.recording.error = self._kept(error)
        return all(c.stop_reason != "interrupted" for c in search.controllers)

    def _searched(self, pieces: list[Piece], more: Iterator[Piece]) -> Search:
        """The search of pieces, to which some of `more` are added, when it is done."""
        first = pieces[0]
        size = self.asked.floats(*first.X.shape) * self.dtype.itemsize
        device = self._device_of(first).type
        with memory.explained(size, self.asked.dictionary.kind, device):
            problems = [self._problem(first)]
            engine = choose(problems[0], self.precision, self.backend)
            if self.callback is None:
                pieces += islice(more, engine.TOGETHER - 1)
                problems += [self._problem(piece) for piece in pieces[1:]]
            seconds, before = sum(piece.seconds for piece in pieces), self.bar.n

            def show(share: float, what: str) -> None:
                self.bar.set_postfix_str(what, refresh=False)
                self.bar.update(before + share * seconds - self.bar.n)

            search = engine.search(problems, [piece.schedule for piece in pieces], self.precision)
            run(search, callback=self.callback, progress=show)
        show(1.0, "")
        return search

    def _device_of(self, piece: Piece) -> torch.device:
        return arrays.device(self.device, piece.recording.given.kind.device)

    def _problem(self, piece: Piece) -> AnyProblem:
        return self.asked.of(piece.X.to(self._device_of(piece), self.dtype))

    def _kept(self, error: Exception) -> Exception:
        """One recording's error, without the frames it passed, which would keep their tensors."""
        if not self.several:
            raise error
        error.__cause__ = error.__context__ = None
        return error.with_traceback(None)
