"""What a worker does with recordings: fetches, decomposes and describes them, one row for each."""

from __future__ import annotations

import hashlib
import sys
import time
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dds_fast import results
from dds_fast.batch import BatchError
from dds_fast.corpus import manifest
from dds_fast.corpus.table import NOTES, is_numbered, schema
from dds_fast.decompose import decompose
from dds_fast.decomposition import Decomposition
from dds_fast.dictionary import Dictionary
from dds_fast.metrics import psa_of
from dds_fast.notes.general_midi import Numbers, drums
from dds_fast.notes.score import LABEL_SUFFIXES, load_labels

if TYPE_CHECKING:
    import pyarrow

Row = dict[str, Any]


class Worker:
    """Holds a dictionary and decomposes batches of recordings with it.

    Args:
        dictionary: what to decompose into.
        hashed: its hash, for the rows.
        folder: where the files of each recording go; None for none.
        midi: of these files, see `Decomposition.to_midi`.
        label_delay: of the reference notes that lie beside a recording.
        **options: for `dds_fast.decompose`.

    Example:
        >>> from dds_fast import PIANO, load
        >>> worker = Worker(load(PIANO), "not known", max_steps=1)
        >>> [row["error"] for row in worker.rows(["/gone.wav"])]
        ['no such audio file: /gone.wav']
    """

    def __init__(
        self,
        dictionary: Dictionary,
        hashed: str,
        *,
        folder: Path | None = None,
        midi: Numbers | None = None,
        label_delay: float = 0.0,
        **options: Any,
    ) -> None:
        self.dictionary, self.hashed = dictionary, hashed
        self.folder, self.midi, self.label_delay = folder, midi, label_delay
        self.wanted = results.Wanted(midi=midi).checked(dictionary)
        self.options = options

    def __call__(self, batch: pyarrow.Table) -> pyarrow.Table:
        """What is found in the recordings of a batch, as `dds_fast.corpus.table.schema` has it."""
        import pyarrow as pa

        rows = self.rows(batch["recording"].to_pylist())
        return pa.Table.from_pylist(rows, schema(self.dictionary.sources))

    def rows(self, recordings: Sequence[str]) -> list[Row]:
        """A row for each recording; whatever goes wrong with one is in its row."""
        rows: dict[str, Row] = {}
        paths: dict[str, Path] = {}
        labels: dict[str, Path | None] = {}
        with ExitStack() as copies:
            for recording in recordings:
                try:
                    paths[recording], labels[recording] = copies.enter_context(
                        manifest.fetched(recording, LABEL_SUFFIXES)
                    )
                except Exception as error:  # each file system has its own
                    rows[recording] = self.failed(recording, error)
            begun = time.perf_counter()
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                found = self._decomposed(list(paths.values()))
                seconds = time.perf_counter() - begun
                for (recording, path), result in zip(paths.items(), found, strict=True):
                    try:
                        if isinstance(result, Exception):
                            raise result
                        results.check_finite(result, path)
                        row = self._row(recording, path, result, labels[recording])
                    except Exception as error:  # whatever it is, it is this recording's
                        row = self.failed(recording, error, path)
                    rows[recording] = row
            total = sum(row.get("seconds", 0.0) for row in rows.values())
            for recording, path in paths.items():
                row = rows[recording]
                row["searched_s"] = seconds * row["seconds"] / total if "seconds" in row else None
                said = [str(one.message) for one in told if str(path) in str(one.message)]
                row["warning"] = "; ".join(said).replace(str(path), recording) or None
        return [rows[recording] for recording in recordings]

    def _decomposed(self, paths: list[Path]) -> list[Decomposition | Exception]:
        """What is found in each recording, or what went wrong with it."""
        if not paths:
            return []
        options = {"keep_components": self.folder is not None, **self.options}
        try:
            return list(decompose(paths, self.dictionary, **options))
        except BatchError as error:
            return [
                error.errors[index] if result is None else result
                for index, result in enumerate(error.results)
            ]
        except Exception as error:
            # Not known of which: each by itself.
            return [error] if len(paths) == 1 else [self._decomposed([p])[0] for p in paths]

    def failed(self, recording: str, error: Exception, path: Path | None = None) -> Row:
        """The row of a recording that could not be decomposed."""
        said = str(error) or repr(error)
        return {
            **self._made_by(recording),
            "error": said if path is None else said.replace(str(path), recording),
        }

    def _made_by(self, recording: str) -> Row:
        return {
            "recording": recording,
            "dds_fast": sys.modules["dds_fast"].__version__,  # importing it would be upwards
            "dictionary": self.hashed,
            "ended": datetime.now(UTC),
            NOTES: [],
        }

    def _row(self, recording: str, path: Path, result: Decomposition, labels: Path | None) -> Row:
        notes = result.notes()
        told = [note.confidence for note in notes if note.confidence is not None]
        row = {
            **self._made_by(recording),
            "seconds": result.n_frames / result.frame_rate,
            "n_notes": len(notes),
            "confidence": sum(told) / len(told) if told else None,
            "psa": self._psa(path, result, labels),
            "stop_reason": result.stop_reason,
            "gain": result.gain,
            "tuning": result.tuning,
            NOTES: [{**vars(note), "source": self._name(note.source)} for note in notes],
        }
        if self.folder is not None:
            row["folder"] = folder_name(recording)
            title = Path(recording).stem
            folder = self.folder / row["folder"]
            wanted = results.Wanted(midi=self.midi)
            results.write(
                result, folder, wanted.checked(self.dictionary), title=title, overwrite=True
            )
        return row

    def _name(self, source: int | str) -> int | str:
        """As it is in the table, whose sources are all numbers or all names."""
        return source if is_numbered(self.dictionary.sources) else str(source)

    def _psa(self, path: Path, result: Decomposition, labels: Path | None) -> float | None:
        """Where reference notes lie beside the recording; a text there may be of something else."""
        if labels is None:
            return None
        try:
            reference = load_labels(labels, drums=drums(result.sources, self.midi))
            return psa_of(result, reference, label_delay=self.label_delay)
        except (ValueError, ImportError) as error:
            warnings.warn(f"no PSA of {path}: {error}", stacklevel=2)
            return None


def folder_name(recording: str) -> str:
    """The folder of a recording's files, whose name no other one of the corpus has.

    Example:
        >>> folder_name("/music/cd1/track.flac"), folder_name("/music/cd2/track.flac")
        ('track-32ca5540', 'track-ae4c9314')
    """
    return f"{Path(recording).stem}-{hashlib.sha256(recording.encode()).hexdigest()[:8]}"
