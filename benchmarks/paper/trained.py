"""Dictionaries of the paper's comparison: trained once, kept as files."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import store
from paper.piano_data import PianoData

import dds_fast
from dds_fast import Dictionary, SpectrogramConfig


class Dictionaries:
    """By method, F and seed.

    Args:
        data: the notes to learn from.
        folder: where trained dictionaries, logs and checkpoints are.
        training: preset of `dds_fast.fit`.
        lengths: "max_epochs" by kind, where it is not the preset's, and "batch_size".
        config: the spectrogram of an F.
        given: files of trained dictionaries by kind, "dds2" (which serves DDS-1 too) and "dds3".
        device: where to train.

    Raises:
        FileNotFoundError: a file of `given` is not there.
        ValueError: it is of another kind, or the files differ in their spectrogram.
    """

    def __init__(
        self,
        data: PianoData,
        folder: Path,
        training: str,
        lengths: Mapping[str, Any],
        config: Callable[[int], SpectrogramConfig],
        given: Mapping[str, Path],
        device: str = "cpu",
    ) -> None:
        self.folder, self.training, self.device = folder, training, device
        self.lengths, self.config = lengths, config
        self.files = dict(given)
        self.given = {kind: dds_fast.load(path) for kind, path in given.items()}
        for kind, dictionary in self.given.items():
            if dictionary.kind != kind:
                raise ValueError(f"{given[kind]} is a {dictionary.kind!r} dictionary, not {kind!r}")
        if len({dictionary.spectrogram for dictionary in self.given.values()}) > 1:
            raise ValueError("the given models differ in their spectrogram")
        self.notes = lru_cache(maxsize=2)(lambda F: data.notes(config(F)))
        self._searched = lru_cache(maxsize=8)(self._made)

    @property
    def given_features(self) -> int | None:
        """F of the given models."""
        return next((d.spectrogram.n_features for d in self.given.values()), None)

    @property
    def given_sizes(self) -> dict[str, dict[str, int]]:
        """Of the given models' flows, by kind."""
        return {kind: dict(d.flow.hyperparameters) for kind, d in self.given.items() if d.flow}

    def get(self, kind: str, n_features: int, seed: int) -> Dictionary:
        """For a search of `kind`, "nmf" or "dds1" to "dds3"; trained now unless it was before."""
        return self._searched(kind, n_features, seed)[0]

    def fingerprint(self, kind: str, n_features: int, seed: int) -> str:
        """Of the same dictionary's file, or of NMF's frames."""
        return self._searched(kind, n_features, seed)[1]

    def _made(self, kind: str, n_features: int, seed: int) -> tuple[Dictionary, str]:
        if kind == "nmf":
            frames = self.notes(n_features)
            made = Dictionary.from_frames(frames, self.config(n_features))
            return made, store.fingerprint(frames.frames)
        flow = "dds3" if kind == "dds3" else "dds2"
        path = self.files.get(flow) or self._trained(flow, n_features, seed)
        found = self.given.get(flow) or dds_fast.load(path)
        return found.as_kind(kind), store.fingerprint(path)

    def _trained(self, kind: str, n_features: int, seed: int) -> Path:
        name = f"{kind}-F{n_features}-{seed}"
        path = self.folder / f"{name}.safetensors"
        if not path.exists():
            dictionary = dds_fast.fit(
                self.notes(n_features),
                kind,
                preset=self.training,
                spectrogram=self.config(n_features),
                max_epochs=self.lengths["max_epochs"].get(kind),
                batch_size=self.lengths["batch_size"],
                random_state=seed,
                device=self.device,
                folder=self.folder / name,
                progress=sys.stderr.isatty(),
            )
            dictionary.save(path)
        return path
