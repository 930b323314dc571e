"""Learning a dictionary from isolated notes, in one call."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dds_fast.audio import SpectrogramConfig
from dds_fast.datasets.notes import NoteFrames, find_notes, load_notes
from dds_fast.dictionary import Dictionary
from dds_fast.flows import ConditionalGlow, RealNVPBank
from dds_fast.flows.training import TrainingConfig, train_bank, train_glow

logger = logging.getLogger("dds_fast")

KINDS = ("nmf", "dds2", "dds3")

SMALL = {
    "dds2": TrainingConfig(max_epochs=150, learning_rate=1e-3, one_cycle=True),
    "dds3": TrainingConfig(max_epochs=50, learning_rate=2e-4, one_cycle=True, max_norm=50.0),
}
"""Minutes on two cores, for a few ten thousand frames."""

PAPER = {
    "dds2": TrainingConfig(max_epochs=2500, learning_rate=1e-3, one_cycle=False, validation=0.2),
    "dds3": TrainingConfig(
        max_epochs=2500,
        learning_rate=1e-5,
        one_cycle=False,
        validation=0.2,
        max_norm=1e6,
        nuisance_weight=0.05,
    ),
}
"""The DDS paper's training (section IV-B); days without a GPU."""

PRESETS = {"small": SMALL, "paper": PAPER}


def fit(
    notes: str | Path | Iterable[str | Path] | NoteFrames | Mapping[int | str, np.ndarray],
    kind: str = "dds2",
    *,
    preset: str = "small",
    spectrogram: SpectrogramConfig | None = None,
    max_epochs: int | None = None,
    learning_rate: float | None = None,
    batch_size: int | None = None,
    random_state: int = 0,
    progress: bool = False,
    **sizes: int,
) -> Dictionary:
    """Learn a dictionary from isolated notes.

    Args:
        notes: a folder (or several) of recordings whose file names begin with a MIDI number or a
            note name; a `dds_fast.datasets.NoteFrames`; or ``{source: (frames, F) array}`` with
            spectra of the given config.
        kind: "dds2" (a flow per source; serves dds1 too), "dds3" (one conditional flow) or "nmf"
            (the frames themselves).
        preset: "small" (minutes on a CPU) or "paper".
        spectrogram: by default F = 512 (``n_fft=1024``) at 16 kHz; for arrays, F decides.
        max_epochs, learning_rate, batch_size: override the preset's.
        random_state: seed of weights, split and shuffles.
        progress: show a progress bar with the losses in bits per dimension.
        **sizes: `n_steps`, `width`, `depth` of the flow; the preset's by default.

    Returns:
        A `Dictionary` whose metadata holds the training record. The parameters are those of the
        best epoch on held-out recordings.

    Raises:
        ValueError: no notes, an unknown kind, preset or option, bad arrays.
        FloatingPointError: the training diverged.

    Source: DDS paper (arXiv 2211.15524), section IV-B.

    Example:
        >>> import numpy as np
        >>> frames = np.random.default_rng(0).random((2, 40, 16), dtype=np.float32)
        >>> dictionary = fit({60: frames[0], 64: frames[1]}, max_epochs=2, n_steps=2, width=4)
        >>> dictionary.kind, dictionary.sources
        ('dds2', (60, 64))
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {KINDS}, not {kind!r} (dds1 is searched with dds2)")
    if preset not in PRESETS:
        raise ValueError(f"preset must be one of {tuple(PRESETS)}, not {preset!r}")
    unknown = sizes.keys() - {"n_steps", "width", "depth"}
    if unknown:
        raise ValueError(f"unknown options of fit: {', '.join(sorted(unknown))}")
    frames, spectrogram = _frames(notes, spectrogram)
    logger.info("%d frames of %d sources", len(frames.frames), len(frames.sources))
    if kind == "nmf":
        return Dictionary.from_frames(frames, spectrogram, {"training": _provenance(frames)})
    overrides: dict[str, Any] = {
        "max_epochs": max_epochs,
        "learning_rate": learning_rate,
        "batch_size": batch_size,
    }
    config = replace(
        PRESETS[preset][kind],
        seed=random_state,
        **{name: value for name, value in overrides.items() if value is not None},
    )
    S, F = len(frames.sources), spectrogram.n_features
    sizes = {**_sizes(kind, preset, F), **sizes}
    if kind == "dds2":
        flow: RealNVPBank | ConditionalGlow = RealNVPBank(S, F, **sizes, seed=random_state)
        record = train_bank(flow, frames, config, progress)
    else:
        flow = ConditionalGlow(S, F, **sizes, seed=random_state)
        record = train_glow(flow, frames, config, progress)
    metadata = {"training": {**_provenance(frames), **record}}
    return Dictionary.from_flow(flow, frames.sources, spectrogram, metadata)


def _sizes(kind: str, preset: str, F: int) -> dict[str, int]:
    """Steps, width and depth of the flow by kind and preset."""
    if preset == "paper":
        steps, width = {"dds2": (16, F // 4), "dds3": (32, 2 * F)}[kind]
    else:
        steps, width = {"dds2": (8, F // 8), "dds3": (8, F // 2)}[kind]
    return {"n_steps": steps, "width": max(1, width), "depth": {"dds2": 4, "dds3": 3}[kind]}


def _frames(
    notes: Any, spectrogram: SpectrogramConfig | None
) -> tuple[NoteFrames, SpectrogramConfig]:
    if isinstance(notes, NoteFrames | Mapping):
        frames = notes if isinstance(notes, NoteFrames) else NoteFrames.from_mapping(notes)
        F = frames.frames.shape[1]
        if spectrogram is None:
            spectrogram = SpectrogramConfig.for_features(F)
        if F != spectrogram.n_features:
            raise ValueError(f"the frames have {F} bins, the config {spectrogram.n_features}")
        return frames, spectrogram
    if spectrogram is None:
        spectrogram = SpectrogramConfig(n_fft=1024)
    return load_notes(find_notes(notes), spectrogram), spectrogram


def _provenance(frames: NoteFrames) -> dict[str, Any]:
    return {"n_frames": len(frames.frames), "n_recordings": int(len(np.unique(frames.origins)))}
