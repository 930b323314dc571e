"""Learning a dictionary from isolated notes, in one call."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dds_fast import arrays, memory, scalars
from dds_fast.audio import SpectrogramConfig
from dds_fast.calibration import FEWEST_MIXTURES, N_MIXTURES, calibrate, instruments
from dds_fast.choices import FIT_PRESETS, KINDS_LEARNED
from dds_fast.codes import N_CODES, add_codes
from dds_fast.datasets.note_files import Recording, search
from dds_fast.datasets.notes import NoteFrames, load_notes
from dds_fast.datasets.percussion import are_drums
from dds_fast.dictionary import Dictionary
from dds_fast.flows import ConditionalGlow, RealNVPBank
from dds_fast.flows.training.bank import BankTraining
from dds_fast.flows.training.glow import GlowTraining
from dds_fast.flows.training.loop import TrainingConfig, ranks, train
from dds_fast.inspection import inspect
from dds_fast.notes import names
from dds_fast.notes.found import Detection

logger = logging.getLogger("dds_fast.fit")


@dataclass(frozen=True)
class Preset:
    """How dictionaries are learned, by kind.

    Attributes:
        n_fft: window of the spectrogram, 2 F.
        drums: window of the spectrogram of drums.
        training: settings of the training by kind.
        sizes: steps, width and depth of the flow by kind, from F.
        fewest_steps: training steps by kind, where frames are too few for as many in the epochs.
    """

    n_fft: int
    drums: int
    training: Mapping[str, TrainingConfig]
    sizes: Mapping[str, Callable[[int], tuple[int, int, int]]]
    fewest_steps: Mapping[str, int] = field(default_factory=dict)


_PAPER_TRAINING = {
    "dds2": TrainingConfig(
        max_epochs=2500, learning_rate=1e-3, one_cycle=False, validation=0.2, patience=50
    ),
    "dds3": TrainingConfig(
        max_epochs=2500,
        learning_rate=1e-5,
        one_cycle=False,
        validation=0.2,
        max_norm=1e6,
        nuisance_weight=0.05,
        patience=1000,
    ),
}
_PAPER_SIZES = {"dds2": lambda F: (16, F // 4, 4), "dds3": lambda F: (32, 2 * F, 3)}

_SMALL = Preset(
    1024,
    2048,
    {
        "dds2": TrainingConfig(
            max_epochs=150, learning_rate=1e-3, one_cycle=True, equalizer_db=5.0
        ),
        "dds3": TrainingConfig(
            max_epochs=40, learning_rate=2e-4, one_cycle=True, max_norm=50.0, equalizer_db=5.0
        ),
    },
    {"dds2": lambda F: (8, F // 8, 4), "dds3": lambda F: (8, F // 2, 3)},
    {"dds2": 150, "dds3": 300},
)
_PAPER_512, _PAPER_1024 = (
    Preset(n_fft, n_fft, _PAPER_TRAINING, _PAPER_SIZES) for n_fft in (1024, 2048)
)
PRESETS = dict(zip(FIT_PRESETS, (_SMALL, _PAPER_512, _PAPER_1024), strict=True))
"""Minutes on two cores for a few ten thousand frames; or the DDS paper's training (section IV-B)
at F = 512 and F = 1024, which wants a GPU."""

FEWEST_FRAMES = 5
"""Of a source, to learn a flow from and validate it on."""

SOFTER = (-10.0,)
"""Decibels: hits of drums, and sources of a single take, are learned at this level too."""

SPREAD = 1.3
"""Frames of a hit: ever fewer of its decay, of which most look alike."""

DRUMS: dict[str, Any] = {"sr": 44100, "hop": 441}
"""Cymbals sound above 8 kHz, and sixteenths are 0.1 s apart."""

DRUM_SEARCH = {"floor": 0.2, "smoothing": 29}
DRUM_FLOW_SEARCH = {"n_components": 24, "step_size": 1e-3}
"""Drums sound together, soft ones beside loud ones, which a weaker penalty leaves there; a hit has
many spectra, which entries that stay near their codes keep."""

DRUM_BATCH = 128
"""Frames per step: there are hundreds, not ten thousands."""

HIT = 0.13
"""By which share of a hit's own strength an activation rises in one."""


@arrays.isolated()
def fit(
    notes: str | Path | Iterable[str | Path] | NoteFrames | Mapping[int | str, np.ndarray],
    kind: str = "dds2",
    *,
    sources: str | None = None,
    preset: str = "small",
    spectrogram: SpectrogramConfig | None = None,
    max_epochs: int | None = None,
    learning_rate: float | None = None,
    batch_size: int | None = None,
    precision: str | None = None,
    n_codes: int | None = None,
    n_mixtures: int | None = None,
    device: str | torch.device | None = None,
    random_state: int = 0,
    folder: str | Path | None = None,
    progress: bool = False,
    **sizes: int,
) -> Dictionary:
    """Learn a dictionary from isolated notes.

    Sources without a pitch that sound like drums (see `datasets.percussion`) are described by a
    spectrogram that shows them, and their notes are found as hits. Where a source has a single
    take, the middle of that is held out in place of a recording. Under ``torchrun`` every process
    takes a share of each batch.

    Args:
        notes: a folder (or several) of recordings, one file per take; a
            `dds_fast.datasets.NoteFrames`; or ``{source: (frames, F) array}`` with spectra of the
            given config.
        sources: what tells the source of a file: "key" (a note name or MIDI number in its name),
            "name" (``kick_01.wav`` and ``kick_02.wav`` are "kick"), "folder", or "folder/key" (a
            source "guitar/60" for each key of each folder). By default "key" where most names hold
            a note, else "name".
        kind: "dds2" (a flow per source; serves dds1 too), "dds3" (one conditional flow) or "nmf"
            (the frames themselves).
        preset: "small" (minutes on a CPU), "paper-512" or "paper-1024" (F and flows of the paper).
        spectrogram: by default the preset's F at 16 kHz, at 44.1 kHz for drums; for arrays, F
            decides.
        max_epochs, learning_rate, batch_size, precision: override the preset's; precision is
            that of the couplings' products, "float32", "tf32" or "bfloat16".
        n_codes: codes per source that are chosen among the training frames once the flow is
            learned, 40 by default; searches begin there (see `dds_fast.codes.choose`).
        n_mixtures: mixtures of the recordings, those held out where a source has some, on which
            the dictionary is calibrated once the flow is learned (see `dds_fast.calibrate`): 40 by
            default, none for frames, drums and "nmf"; 0 for none.
        device: where to train; by default a GPU if there is one.
        random_state: seed of weights, split, shuffles and codes.
        folder: where to write ``log.csv``, ``losses.png`` and a checkpoint, with which the same
            call goes on after a crash (after the last epoch it returns at once); and the
            report of `dds_fast.inspection.inspect` on the held-out recordings.
        progress: show a progress bar with the losses in bits per dimension.
        **sizes: `n_steps`, `width`, `depth` of the flow; the preset's by default.

    Returns:
        A `Dictionary` whose metadata holds the training record and its quality. The parameters
        are those of the best epoch on held-out recordings, for each source of a bank.

    Raises:
        ValueError: no notes, an unknown kind, preset or option, bad arrays, `n_codes` for "nmf";
            `sources` or `n_mixtures` for frames; names that differ by case alone; fewer than 5
            frames of a source for a flow; `folder` holds the checkpoint of another training.
        FloatingPointError: the training diverged; names the step and the source.
        RuntimeError: the device or precision is not to be had.
        MemoryError: the training does not fit, with its size; before any work where it could not
            fit this machine.

    Source: DDS paper (arXiv 2211.15524), section IV-B.

    Example:
        >>> import numpy as np
        >>> frames = np.random.default_rng(0).random((2, 40, 16), dtype=np.float32)
        >>> dictionary = fit({60: frames[0], 64: frames[1]}, max_epochs=2, n_steps=2, width=4)
        >>> dictionary.kind, dictionary.sources
        ('dds2', (60, 64))
    """
    if kind not in KINDS_LEARNED:
        raise ValueError(
            f"kind must be one of {KINDS_LEARNED}, not {kind!r} (dds1 is searched with dds2)"
        )
    if preset not in PRESETS:
        raise ValueError(f"preset must be one of {tuple(PRESETS)}, not {preset!r}")
    unknown = sizes.keys() - {"n_steps", "width", "depth"}
    if unknown:
        raise ValueError(f"unknown options of fit: {', '.join(sorted(unknown))}")
    n_codes = _n_codes(n_codes, kind)
    random_state = scalars.integer("random_state", random_state, least=0)
    sizes = {name: scalars.integer(name, size, least=0) for name, size in sizes.items()}
    recipe = PRESETS[preset]
    frames, spectrogram, provenance, recordings = _frames(notes, sources, spectrogram, recipe)
    n_mixtures = _n_mixtures(n_mixtures, kind, recordings, provenance)
    names.check_case(frames.sources)
    logger.info("%d frames of %d sources", len(frames.frames), len(frames.sources))
    metadata: dict[str, Any] = {"training": provenance}
    drums = provenance.get("drums", False)
    if drums:
        metadata["detection"] = {kind: asdict(_hits(frames))}
        flow_search = {} if kind == "nmf" else DRUM_FLOW_SEARCH
        metadata["search"] = {kind: DRUM_SEARCH | flow_search}
    if kind == "nmf":
        frames = frames.at_levels(SOFTER, spectrogram) if drums else frames
        made = Dictionary.from_frames(frames, spectrogram, metadata)
        if n_mixtures:
            takes = instruments(recordings, spectrogram.sr)
            calibrate(
                made, takes, n_mixtures=n_mixtures, random_state=random_state, progress=progress
            )
        return made
    overrides: dict[str, Any] = {
        "max_epochs": max_epochs,
        "learning_rate": learning_rate,
        "batch_size": DRUM_BATCH if drums and batch_size is None else batch_size,
        "precision": precision,
    }
    config = replace(
        recipe.training[kind],
        random_state=random_state,
        **{name: value for name, value in overrides.items() if value is not None},
    )
    _check_enough(frames)
    S, F = len(frames.sources), spectrogram.n_features
    n_steps, width, depth = recipe.sizes[kind](F)
    sizes = {"n_steps": n_steps, "width": max(1, width), "depth": depth, **sizes}
    device = ranks.rank_device(device)
    split = _split(frames, config, spectrogram, drums, provenance)
    task: BankTraining | GlowTraining
    size = 16 * _n_parameters(kind, S, F, sizes) + 3 * frames.frames.nbytes
    lower = "n_steps, width, depth or fewer frames"
    with (
        memory.explained(size, f"the training of this {kind} flow", lower, device.type),
        ranks.process_group(device),
    ):
        if kind == "dds2":
            bank = RealNVPBank(S, F, **sizes, random_state=random_state)
            task = BankTraining(bank, *split, config, device, spectrogram.gamma)
        else:
            glow = ConditionalGlow(S, F, **sizes, random_state=random_state)
            task = GlowTraining(glow, *split, config, device, spectrogram.gamma)
        if max_epochs is None:
            enough = math.ceil(recipe.fewest_steps.get(kind, 0) / task.n_batches)
            config = replace(config, max_epochs=max(config.max_epochs, enough))
        record = train(
            task,
            config,
            identity={"kind": kind, **sizes, "notes": _fingerprint(frames)},
            folder=None if folder is None else Path(folder),
            progress=progress,
        )
    metadata["training"] = {**provenance, **record}
    made = Dictionary.from_flow(task.flow.cpu(), frames.sources, spectrogram, metadata)
    add_codes(made, split[0], n_codes, random_state)
    if len(split[1].frames):
        inspection = inspect(made, split[1])
        made.metadata["held_out"] = inspection.summary()
        if folder is not None and ranks.is_first():
            inspection.save(folder, overwrite=True)
    if n_mixtures and ranks.is_first():
        held_out = {frames.names[origin] for origin in np.unique(split[1].origins)}
        takes = instruments(recordings, spectrogram.sr, held_out)
        calibrate(made, takes, n_mixtures=n_mixtures, random_state=random_state, progress=progress)
    return made


def _n_codes(asked: int | None, kind: str) -> int:
    """Checked before a training, which may take hours."""
    if asked is not None and kind == "nmf":
        raise ValueError("n_codes has no meaning for an 'nmf' dictionary")
    return N_CODES if asked is None else scalars.integer("n_codes", asked, least=1)


def _n_mixtures(
    asked: int | None, kind: str, recordings: list[Recording], provenance: dict[str, Any]
) -> int:
    """Checked before a training."""
    if asked is None:
        return N_MIXTURES if recordings and kind != "nmf" and not provenance["drums"] else 0
    if asked and not recordings:
        raise ValueError("n_mixtures needs recordings of the notes: frames cannot be mixed")
    return scalars.integer("n_mixtures", asked, least=FEWEST_MIXTURES) if asked else 0


def _n_parameters(kind: str, S: int, F: int, sizes: Mapping[str, int]) -> int:
    """Of a flow that is not made yet; training keeps gradients and two moments beside them."""
    with torch.device("meta"):
        step = (RealNVPBank if kind == "dds2" else ConditionalGlow)(S, F, **{**sizes, "n_steps": 1})
    return sizes["n_steps"] * sum(parameter.numel() for parameter in step.parameters())


def _frames(
    notes: Any, sources: str | None, spectrogram: SpectrogramConfig | None, recipe: Preset
) -> tuple[NoteFrames, SpectrogramConfig, dict[str, Any], list[Recording]]:
    """Spectra, their config, where they come from, and their files."""
    if isinstance(notes, NoteFrames | Mapping):
        if sources is not None:
            raise ValueError("sources tells what names the files of a folder: frames have theirs")
        frames = notes if isinstance(notes, NoteFrames) else NoteFrames.from_mapping(notes)
        F = frames.frames.shape[1]
        if spectrogram is None:
            spectrogram = SpectrogramConfig.for_features(F)
        if F != spectrogram.n_features:
            raise ValueError(f"the frames have {F} bins, the config {spectrogram.n_features}")
        return frames, spectrogram, _provenance(frames), []
    recordings, problems, told_by = search(notes, None, sources)
    named = ", ".join(map(str, names.in_order(recording.source for recording in recordings)))
    logger.info("%d files; sources told by %s: %s", len(recordings), told_by, named)
    drums = are_drums(recordings)
    if drums:
        logger.info("they sound like drums: notes are found as hits")
        spectrogram = spectrogram or SpectrogramConfig(n_fft=recipe.drums, **DRUMS)
    spectrogram = spectrogram or SpectrogramConfig(n_fft=recipe.n_fft)
    spread = SPREAD if drums else 1.0
    frames = load_notes(recordings, spectrogram, spread=spread, normalise=drums, problems=problems)
    provenance = {**_provenance(frames), "sources": told_by, "drums": drums}
    return frames, spectrogram, provenance, [r for r in recordings if r.origin in frames.names]


def _provenance(frames: NoteFrames) -> dict[str, Any]:
    return {"n_frames": len(frames.frames), "n_recordings": int(len(np.unique(frames.origins)))}


def _hits(frames: NoteFrames) -> Detection:
    """What is a hit, in units of how strong the hits that were learned are."""
    norms = np.linalg.norm(frames.frames, axis=1)
    strengths = [norms[frames.origins == origin].max() for origin in np.unique(frames.origins)]
    upper = HIT * float(np.median(strengths))
    return Detection(upper, upper, min_duration=0.05, max_gap=0.05, hits=True)


def _check_enough(frames: NoteFrames) -> None:
    """Of a single frame a flow learns nothing, and there would be none to validate it on."""
    counts = np.bincount(frames.labels, minlength=len(frames.sources)).tolist()
    for source, n in zip(frames.sources, counts, strict=True):
        if n < FEWEST_FRAMES:
            raise ValueError(
                f"source {source!r} has {n} frame{'s' * (n > 1)}: a flow is learned from "
                f"{FEWEST_FRAMES} at least; take a longer recording, a smaller hop or kind 'nmf'"
            )


def _split(
    frames: NoteFrames,
    config: TrainingConfig,
    spectrogram: SpectrogramConfig,
    drums: bool,
    provenance: dict[str, Any],
) -> tuple[NoteFrames, NoteFrames]:
    """Training and validation frames, and what was held out in the record."""
    single = frames.single_takes
    provenance["held_out"] = "recordings"
    if single:
        what = f"the middle of the only take of {len(single)} of {len(frames.sources)} sources"
        others = "; recordings of the others" * (len(single) < len(frames.sources))
        provenance["held_out"] = what + others
        logger.info("held out for validation: %s%s", what, others)
    training, validation = frames.split(config.validation, config.random_state)
    if drums or single:
        training = training.at_levels(SOFTER, spectrogram)
    return training, validation


def _fingerprint(frames: NoteFrames) -> str:
    """Tells whether two trainings have the same notes."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(repr(frames.sources).encode())
    for array in (frames.frames, frames.labels, frames.origins):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
