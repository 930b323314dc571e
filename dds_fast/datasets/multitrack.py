"""Stems of tracks: any folder of stems, or musdb18."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from dds_fast import audio, scalars
from dds_fast.datasets.note_files import AUDIO_SUFFIXES
from dds_fast.datasets.toy import SR

MUSDB_SOURCES = ("drums", "bass", "other", "vocals")
NOT_STEMS = ("mixture", "mix")
TRACKS_IN_MEMORY = 8


class StemCrops:
    """Random crops of the stems of tracks: the same item whenever it is asked for.

    As in the thesis, of a stem with several channels the first is taken and resampled; each stem
    loses its mean and is scaled to a peak of 1 over its whole track. Make one with `stem_folder`
    or `musdb18`.

    Args:
        tracks: for each track a function that reads its stems: ``{source: (samples, sr)}``, the
            samples ``(n,)`` or ``(n, channels)``.
        sources: names of the S sources.
        n_samples: length of an item.
        crops_per_track: items per track, one track's after the other's.
        sr: sampling rate of the items in Hz.
        random_state: seed of the crops.

    Source: Frank (thesis, 2020); docs/method.md, Relatives.

    Example:
        >>> track = lambda: {"drums": (np.arange(9.0), 8000), "bass": (np.ones(9), 8000)}
        >>> crops = StemCrops([track], ("bass", "drums"), n_samples=4, crops_per_track=3, sr=8000)
        >>> len(crops), crops[2].shape
        (3, (2, 4))
    """

    def __init__(
        self,
        tracks: Sequence[Callable[[], dict[str, tuple[np.ndarray, float]]]],
        sources: Sequence[str],
        *,
        n_samples: int = 48_000,
        crops_per_track: int = 150,
        sr: int = SR,
        random_state: int = 0,
    ) -> None:
        self.tracks, self.sources = list(tracks), tuple(sources)
        self.n_samples = scalars.integer("n_samples", n_samples, least=1)
        self.crops_per_track = scalars.integer("crops_per_track", crops_per_track, least=1)
        self.sr, self.random_state = sr, random_state
        self._stems = functools.lru_cache(maxsize=TRACKS_IN_MEMORY)(self._read)

    def __len__(self) -> int:
        return len(self.tracks) * self.crops_per_track

    def _read(self, track: int) -> np.ndarray:
        """``(S, n)`` float32 stems of a track, each as long as the shortest."""
        stems = self.tracks[track]()
        waveforms = []
        for source in self.sources:
            samples, sr = stems[source]
            first = np.asarray(samples, dtype=np.float32)
            first = first[:, 0] if first.ndim == 2 else first
            waveform = audio.to_mono(first, sr=sr, target_sr=self.sr)
            waveform = waveform - waveform.mean()
            waveforms.append(waveform / max(float(np.abs(waveform).max()), 1e-9))
        shortest = min(map(len, waveforms))
        return np.stack([waveform[:shortest] for waveform in waveforms])

    def __getitem__(self, item: int) -> np.ndarray:
        """``(S, n_samples)`` float32; the mixture is their mean.

        Raises:
            ValueError: the track is shorter than an item.
        """
        if not 0 <= item < len(self):
            raise IndexError(f"item {item} of a set of {len(self)}")
        track = item // self.crops_per_track
        stems = self._stems(track)
        left = stems.shape[1] - self.n_samples
        if left < 0:
            raise ValueError(
                f"track {track} has {stems.shape[1]} samples at {self.sr} Hz, an item needs "
                f"{self.n_samples}"
            )
        first = int(np.random.default_rng([self.random_state, item]).integers(left + 1))
        return stems[:, first : first + self.n_samples]


def stem_folder(
    folder: str | Path, sources: Sequence[str] | None = None, **settings: int
) -> StemCrops:
    """Crops from a folder with a folder per track and in it an audio file per source.

        stems/First track/{drums,bass,other,vocals}.wav
        stems/Second track/{drums,bass,other,vocals}.wav

    Files named ``mixture`` or ``mix`` are no sources. The ``train`` and ``test`` of musdb18's WAV
    edition are such folders.

    Args:
        folder: holds the tracks' folders.
        sources: stems of the S files per track; by default those that every track has.
        **settings: `n_samples`, `crops_per_track`, `sr`, `random_state` of `StemCrops`.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: no stems there, or a track lacks a source.

    Example:
        >>> import tempfile
        >>> import soundfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     (Path(folder) / "song").mkdir()
        ...     for name in ("drums", "bass", "mixture"):
        ...         soundfile.write(f"{folder}/song/{name}.wav", np.sin(np.arange(8000) / 9), 8000)
        ...     crops = stem_folder(folder, n_samples=1000, crops_per_track=5, sr=8000)
        ...     crops.sources, len(crops), crops[0].shape
        (('bass', 'drums'), 5, (2, 1000))
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"no such folder of stems: {folder}")
    tracks = {}
    for track in sorted(path for path in folder.iterdir() if path.is_dir()):
        files = {
            path.stem: path
            for path in sorted(track.iterdir())
            if path.suffix.lower() in AUDIO_SUFFIXES and path.stem.lower() not in NOT_STEMS
        }
        if files:
            tracks[track] = files
    if not tracks:
        raise ValueError(
            f"no stems found in {folder}: expected a folder per track with an audio file per source"
        )
    if sources is None:
        common = set.intersection(*(set(files) for files in tracks.values()))
        if not common:
            raise ValueError(f"the tracks in {folder} have no source in common")
        sources = MUSDB_SOURCES if common == set(MUSDB_SOURCES) else sorted(common)
    for track, files in tracks.items():
        missing = [source for source in sources if source not in files]
        if missing:
            raise ValueError(f"{track} has no audio file for the source {missing[0]!r}")

    def read(files: dict[str, Path]) -> dict[str, tuple[np.ndarray, float]]:
        return {source: audio.read_file(files[source], channel=0) for source in sources}

    return StemCrops(
        [functools.partial(read, files) for files in tracks.values()], sources, **settings
    )


def musdb18(root: str | Path, subset: str = "train", **settings: int) -> StemCrops:
    """Crops of musdb18 in either edition.

    The WAV edition (musdb18-HQ), ``root/{train,test}/<track>/<source>.wav``, is read as by
    `stem_folder`; the native one, ``root/{train,test}/*.stem.mp4``, by its own package.

    Args:
        root: the folder of the data set.
        subset: "train" or "test".
        **settings: `n_samples`, `crops_per_track`, `sr`, `random_state` of `StemCrops`.

    Raises:
        ImportError: the native edition, and the package musdb is not installed.
        ValueError: no tracks there; a track of the WAV edition lacks a source.

    Example:
        >>> import tempfile
        >>> import soundfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     song = Path(root) / "test" / "song"
        ...     song.mkdir(parents=True)
        ...     for name in (*MUSDB_SOURCES, "mixture"):
        ...         soundfile.write(song / f"{name}.wav", np.sin(np.arange(44100) / 9), 44100)
        ...     crops = musdb18(root, subset="test", n_samples=3000)
        ...     crops.sources, crops[0].shape
        (('drums', 'bass', 'other', 'vocals'), (4, 3000))
    """
    folder = Path(root) / subset
    if any(folder.glob("*/*.wav")):
        return stem_folder(folder, MUSDB_SOURCES, **settings)
    try:
        import musdb
    except ImportError as error:
        raise ImportError(
            "the .stem.mp4 files of musdb18 are read by its package: pip install musdb (it needs "
            f"FFmpeg); its WAV edition needs neither, but {folder} holds no <track>/<source>.wav"
        ) from error
    tracks = list(musdb.DB(root=str(root), subsets=[subset]))
    if not tracks:
        raise ValueError(f"no tracks of musdb18 in {folder}")

    def read(track: musdb.MultiTrack) -> dict[str, tuple[np.ndarray, float]]:
        return {source: (track.targets[source].audio, track.rate) for source in MUSDB_SOURCES}

    return StemCrops(
        [functools.partial(read, track) for track in tracks], MUSDB_SOURCES, **settings
    )
