"""The recordings of a corpus: found in folders, globs, lists and buckets; told by their headers."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dds_fast.datasets.note_files import AUDIO_SUFFIXES

LISTS = (".txt", ".parquet")
"""Of files that name recordings: a line each, or a column."""

COLUMN = "recording"
READERS = 16
"""Threads that read headers, most of the time waiting for a disk or a network."""

HEADER = 1 << 16
"""Bytes of a remote file that are fetched at a time for its header."""

MOST = 64
"""Recordings of a batch, at most: headers that cannot be read tell of no length."""


def find(inputs: Iterable[str | Path]) -> list[str]:
    """The recordings that inputs stand for, each once; local ones as absolute paths.

    Args:
        inputs: recordings, folders (searched at every depth for files with an audio suffix), globs,
            or lists of recordings: a text file with one a line, whose relative paths are relative
            to it, or a Parquet file with the column "recording". Each may be a local path or a URL
            that fsspec reads ("s3://bucket/folder/*.flac").

    Raises:
        FileNotFoundError: an input does not exist, or stands for no recording. What a list names is
            not looked for.
        ImportError: a file system or a Parquet list needs a package that is not installed.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("b.wav", "a.flac", "a.txt"):
        ...         (Path(folder) / name).touch()
        ...     [Path(recording).name for recording in find([folder])]
        ['a.flac', 'b.wav']
    """
    found: dict[str, None] = {}
    for text in map(str, inputs):
        recordings = _recordings(text)
        if not recordings:
            raise FileNotFoundError(f"no recordings: {text}")
        found |= dict.fromkeys(recordings)
    return list(found)


def _recordings(text: str) -> list[str]:
    files, path = _located(text)
    if files.isdir(path):
        paths = [p for p in files.find(path) if Path(p).suffix.lower() in AUDIO_SUFFIXES]
    elif files.isfile(path):
        if Path(path).suffix.lower() in LISTS:
            return _listed(files, path, text)
        paths = [path]
    else:
        paths = [p for p in files.glob(path) if files.isfile(p)]
    return [p if is_local(text) else files.unstrip_protocol(p) for p in sorted(paths)]


def _listed(files: Any, path: str, text: str) -> list[str]:
    """What a list names."""
    with files.open(path, "rb") as file:
        if path.endswith(".parquet"):
            from pyarrow import parquet

            return parquet.read_table(file, columns=[COLUMN])[COLUMN].to_pylist()
        lines = [line.strip() for line in file.read().decode().splitlines()]
    folder = Path(path).parent if is_local(text) else None
    return [
        line if folder is None or not is_local(line) else str(folder / line)
        for line in lines
        if line and not line.startswith("#")
    ]


def is_local(recording: str) -> bool:
    """Whether it is a path of this machine, not a URL.

    Example:
        >>> is_local("/music/a.flac"), is_local("s3://music/a.flac")
        (True, False)
    """
    return "://" not in recording


def _located(text: str) -> tuple[Any, str]:
    """The file system of a path or URL, and where it lies there."""
    import fsspec

    if is_local(text):  # which may hold what fsspec takes for chains of URLs
        return fsspec.filesystem("file"), str(Path(text).absolute())
    return fsspec.core.url_to_fs(text)


@contextmanager
def fetched(recording: str, beside: Sequence[str] = ()) -> Iterator[tuple[Path, Path | None]]:
    """A recording as a file of this machine while the block lasts, and one of its stem beside it.

    Args:
        recording: a local path or a URL, of which a temporary copy is made.
        beside: suffixes of files of the same stem, of which the first that exists is fetched too.

    Raises:
        OSError: it cannot be fetched; a local file is not looked for.
    """
    files, path = _located(recording)
    stem = path[: len(path) - len(Path(path).suffix)]
    other = next((stem + suffix for suffix in beside if files.isfile(stem + suffix)), None)
    if is_local(recording):
        yield Path(path), None if other is None else Path(other)
        return
    with tempfile.TemporaryDirectory(prefix="dds_fast-") as folder:
        copies = [Path(folder) / Path(one).name for one in (path, other) if one is not None]
        for source, copy in zip((path, other), copies, strict=False):
            files.get_file(source, str(copy))
        yield copies[0], None if other is None else copies[1]


def seconds(recordings: Sequence[str]) -> list[float]:
    """How long each lasts by its header; 0 where that cannot be read.

    Example:
        >>> seconds(["/no/such/file.wav"])
        [0.0]
    """
    with ThreadPoolExecutor(READERS) as threads:
        return list(threads.map(_seconds, recordings))


def _seconds(recording: str) -> float:
    from dds_fast.audio.waveforms import FRAMES_PER_BYTE, open_file

    # Whatever is wrong with it, its worker will say.
    with suppress(Exception):
        files, path = _located(recording)
        if is_local(recording):
            with open_file(path) as file:
                return min(file.frames, FRAMES_PER_BYTE * files.size(path)) / file.samplerate
        import soundfile

        with files.open(path, "rb", block_size=HEADER) as remote, soundfile.SoundFile(remote) as f:
            return f.frames / f.samplerate
    return 0.0


def batches(recordings: Sequence[str], lengths: Sequence[float], longest: float) -> list[list[str]]:
    """Recordings in groups that are decomposed together, the long ones first.

    So that workers end together, and that short ones come several at a time.

    Args:
        recordings: what to group.
        lengths: of each, in seconds.
        longest: seconds of a group of several.

    Example:
        >>> batches(["a", "b", "c", "d"], [1.0, 50.0, 2.0, 3.0], longest=5.0)
        [['b'], ['d', 'c'], ['a']]
    """
    groups: list[list[str]] = []
    room = 0.0
    order = sorted(zip(lengths, recordings, strict=True), key=lambda one: -one[0])
    for length, recording in order:
        if not groups or length > room or len(groups[-1]) == MOST:
            groups.append([])
            room = longest
        groups[-1].append(recording)
        room -= length
    return groups
