"""What every separation returns: the stems of a mixture, by name."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dds_fast.arrays import as_numpy

if TYPE_CHECKING:
    from dds_fast.audio.stem_files import Kind
    from dds_fast.audio.stems import Stems
    from dds_fast.notes.found import Note
    from dds_fast.notes.score import Labels


class Separation(Mapping[Any, Any]):
    """Stems of a mixture by name: a mapping, in the order of its names, and an array.

    Stems that masks make are at the recording's rate, have its channels and sum to it. They are
    made when they are first asked for, and kept; `save` writes them block by block and keeps none.

    Attributes:
        names: S names, or sources.
        sr: sampling rate in Hz; None if the mixture is no sound.

    Args:
        names: likewise.
        stems: ``(S, ...)`` array or tensor, or what makes it block by block.
        sr: likewise.
        notes: gives the notes found with the name of the stem of each.
        score: notes that were played, for the page.

    Raises:
        ValueError: there are not as many stems as names, or two have the same.

    Example:
        >>> stems = Separation(("left", "right"), np.array([[0.5, 0.0], [0.0, 0.25]]), sr=16000)
        >>> stems["left"], list(stems), stems.stems.sum(0)
        (array([0.5, 0. ]), ['left', 'right'], array([0.5 , 0.25]))
    """

    def __init__(
        self,
        names: Sequence[int | str],
        stems: Any | Stems,
        sr: float | None = None,
        *,
        notes: Callable[[], list[tuple[Any, Note]]] = list,
        score: Labels | None = None,
    ) -> None:
        self.names, self.sr, self.score = tuple(names), sr, score
        self._stems, self._notes = stems, notes
        if len(self.names) != stems.shape[0]:
            raise ValueError(f"{len(self.names)} names for {stems.shape[0]} stems")
        if len(set(self.names)) < len(self.names):
            raise ValueError(f"two stems have one name: {', '.join(map(str, self.names))}")

    @cached_property
    def stems(self) -> Any:
        """``(S, ...)``: all of them; of a recording ``(S, n)``, or ``(S, channels, n)`` if it was
        given with channels."""
        return self._stems if self._is_made else self._stems.waveforms

    @property
    def _is_made(self) -> bool:
        return not hasattr(self._stems, "blocks")

    @cached_property
    def notes(self) -> list[tuple[Any, Note]]:
        """Notes found, each with the name of its stem."""
        return self._notes()

    def __getitem__(self, name: int | str) -> Any:
        if name not in self.names:
            raise KeyError(name)
        return self.stems[self.names.index(name)]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(as_numpy(self.stems), dtype=dtype, copy=True if copy is None else copy)

    def __repr__(self) -> str:
        shape = tuple(self._stems.shape)
        rate = "" if self.sr is None else f" at {self.sr:g} Hz"
        return f"<{type(self).__name__}: {', '.join(map(str, self.names))}; {shape}{rate}>"

    def blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The stems ``(S, channels, n)`` and the mixture ``(channels, n)``, block after block.

        Raises:
            ValueError: the mixture is no sound.

        Example:
            >>> stems = Separation(("left", "right"), np.eye(2), sr=16000)
            >>> [(block.shape, mixture.shape) for block, mixture in stems.blocks()]
            [((2, 1, 2), (1, 2))]
        """
        if self.sr is None:
            raise ValueError("what was separated is no sound: it has no sampling rate")
        if self._is_made:
            stems = as_numpy(self._stems)
            whole = stems[:, None] if stems.ndim == 2 else stems
            yield whole, whole.sum(axis=0)
        else:
            yield from self._stems.blocks()

    def save(
        self, folder: str | Path, *, overwrite: bool = False, subtype: str | None = None
    ) -> list[Path]:
        """Write each stem to a file of its name: WAV, or FLAC if the recording was.

        The samples are of the recording's kind (24 bit stay 24 bit; floats, and what was compressed
        with a loss, are written as 32-bit floats). Of integers, the files sum to the recording bit
        for bit.

        Args:
            folder: is made if need be.
            overwrite: replace existing files.
            subtype: another kind of samples, as libsndfile names it: "PCM_16", "FLOAT".

        Returns:
            The paths.

        Raises:
            FileExistsError: a file exists and `overwrite` is false; nothing is written then.
            ValueError: two stems would have the same file, the mixture is no sound, or there is no
                such kind of samples.

        Warns:
            UserWarning: a stem is louder than integers can be, and was held at full scale; what is
                above it was taken from what opposes it in other stems, so that they sum as before.

        Example:
            >>> import tempfile
            >>> stems = Separation(("left", "right"), np.zeros((2, 2, 8000)), sr=44100)
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     [path.name for path in stems.save(folder)]
            ['left.wav', 'right.wav']
        """
        from dds_fast.audio import stem_files

        return stem_files.write(
            self.paths(folder, subtype),
            self.blocks(),
            sr=self.sr,
            kind=self._kind(subtype),
            overwrite=overwrite,
        )

    def paths(self, folder: str | Path, subtype: str | None = None) -> list[Path]:
        """The file of each stem that `save` would write.

        Raises:
            ValueError: two would have the same, perhaps only where case does not count.

        Example:
            >>> stems = Separation(("left", "right"), np.zeros((2, 8000)), sr=44100)
            >>> [str(path) for path in stems.paths("out")]
            ['out/left.wav', 'out/right.wav']
        """
        from dds_fast.audio import stem_files

        return stem_files.paths_of(Path(folder), self.names, self._kind(subtype))

    def to_html(
        self, path: str | Path, *, title: str | None = None, overwrite: bool = False
    ) -> None:
        """Write a page to listen to the stems and see their notes, in one file without a network.

        The stems are held in memory, and compressed in the page.

        Args:
            path: of the HTML file.
            title: its heading; by default the recording's name.
            overwrite: replace an existing file.

        Raises:
            FileExistsError: the file exists and `overwrite` is false.
            ValueError: the mixture is no sound.

        Example:
            >>> import tempfile
            >>> stems = Separation(("left", "right"), np.zeros((2, 8000)), sr=16000)
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     stems.to_html(f"{folder}/page.html")
            ...     "left" in Path(folder, "page.html").read_text()
            True
        """
        from dds_fast.files import writing

        text = self._page(title)
        with writing(path, overwrite) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def _repr_html_(self) -> str:
        from dds_fast.page import frame

        return f"<pre>{html.escape(repr(self))}</pre>" if self.sr is None else frame(self._page())

    def _page(self, title: str | None = None) -> str:
        from dds_fast.page import page

        if self.sr is None:
            raise ValueError("what was separated is no sound: it has no sampling rate")
        stems = as_numpy(self.stems)
        return page(
            title or self._title, self.names, stems, self.sr, notes=self.notes, score=self.score
        )

    @property
    def _title(self) -> str:
        source = None if self._is_made else self._stems.samples.source
        return source.stem if isinstance(source, Path) else "Stems"

    def _kind(self, subtype: str | None) -> Kind:
        from dds_fast.audio import stem_files

        return stem_files.Kind.of(None if self._is_made else self._stems.samples, subtype)
