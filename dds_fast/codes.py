"""Codes of a dictionary's own notes, chosen among the frames that it was learned from."""

from __future__ import annotations

from itertools import zip_longest

import numpy as np
import torch
from torch import Tensor

from dds_fast import arrays, scalars
from dds_fast.datasets.notes import NoteFrames
from dds_fast.dictionary import CODE_SHRINKAGE, Dictionary
from dds_fast.ops.flow import flow_encode

N_CODES = 40
"""Codes per source where nothing else is asked for."""

ATTACK_FRAMES = 5
"""So many frames of a recording are its attack, the others its decay."""

LOUD = 0.15
"""A frame can be chosen whose sum is at least this share of the greatest in its recording."""


def add_codes(
    dictionary: Dictionary, notes: NoteFrames, n_codes: int = N_CODES, random_state: int = 0
) -> None:
    """Give a dictionary the codes of `choose`, and a record of them in its metadata.

    Args:
        dictionary: of kind "dds1", "dds2" or "dds3"; it is changed.
        notes: as for `choose`.
        n_codes: likewise.
        random_state: likewise.

    Raises:
        ValueError: as of `choose`.

    Example:
        >>> import numpy as np
        >>> import dds_fast
        >>> flow = dds_fast.flows.RealNVPBank(1, 16, n_steps=2, width=4)
        >>> dictionary = dds_fast.Dictionary.from_flow(flow, sources=["kick"])
        >>> frames = np.random.default_rng(0).random((20, 16), dtype=np.float32)
        >>> add_codes(dictionary, NoteFrames.from_mapping({"kick": frames}), n_codes=8)
        >>> dictionary.codes.shape, dictionary.metadata["codes"]["per_source"]
        (torch.Size([1, 8, 16]), 8)
    """
    dictionary.codes = choose(dictionary, notes, n_codes, random_state)
    dictionary.metadata["codes"] = {
        "per_source": dictionary.codes.shape[1],
        "shrinkage": CODE_SHRINKAGE,
        "attack_frames": ATTACK_FRAMES,
        "chosen": "by recording, attack and decay",
    }


@arrays.isolated()
@torch.no_grad()
def choose(
    dictionary: Dictionary, notes: NoteFrames, n_codes: int = N_CODES, random_state: int = 0
) -> Tensor:
    """Codes of each source's own frames, where a staged search begins.

    The frames of a source are spread evenly over its recordings, and in each over the attack (its
    first 5 frames) and the decay (the others): these take turns, and each time give one of their
    frames, at random and none twice. Faint frames are left out. A source with fewer frames than
    `n_codes` gives all of them again, in the same order. Encoded, the frames are shrunk towards
    the most likely code, so that they serve other instruments too.

    Args:
        dictionary: of kind "dds1", "dds2" or "dds3".
        notes: frames that the flow was learned from, of every source; those of one recording stand
            in time order.
        n_codes: M, codes per source.
        random_state: seed of the choice.

    Returns:
        ``(S, M, D)`` float32 codes whose values bfloat16 holds; D is F for a bank and F - S for a
        Glow, whose z_s is left out.

    Raises:
        ValueError: an "nmf" dictionary; `n_codes` below 1; a source of the dictionary without
            notes; frames with another number of bins.

    Example:
        >>> import numpy as np
        >>> import dds_fast
        >>> flow = dds_fast.flows.ConditionalGlow(2, 16, n_steps=2, width=4, depth=1)
        >>> dictionary = dds_fast.Dictionary.from_flow(flow, sources=[60, 64])
        >>> frames = np.random.default_rng(0).random((2, 20, 16), dtype=np.float32)
        >>> notes = NoteFrames.from_mapping({60: frames[0], 64: frames[1]})
        >>> choose(dictionary, notes, n_codes=8).shape
        torch.Size([2, 8, 14])
    """
    n_codes = scalars.integer("n_codes", n_codes, least=1)
    _check(dictionary, notes)
    rng = np.random.default_rng(scalars.integer("random_state", random_state, least=0))
    rows = [_rows(notes, source, n_codes, rng) for source in dictionary.sources]
    x = torch.from_numpy(notes.frames[np.stack(rows)])
    flow = dictionary.frozen(torch.float32, torch.device("cpu"))
    if dictionary.kind == "dds3":
        S = len(dictionary.sources)
        codes = flow_encode(flow, x.flatten(0, 1))[0].unflatten(0, (S, n_codes))[..., S:]
    else:
        codes = flow_encode(flow, x)[0]
    return (CODE_SHRINKAGE * codes).bfloat16().float()


def _check(dictionary: Dictionary, notes: NoteFrames) -> None:
    if dictionary.flow is None:
        raise ValueError("an 'nmf' dictionary has no codes")
    if notes.frames.shape[1] != dictionary.spectrogram.n_features:
        raise ValueError(
            f"the notes have {notes.frames.shape[1]} bins, the dictionary "
            f"{dictionary.spectrogram.n_features}"
        )
    present = {notes.sources[label] for label in np.unique(notes.labels)}
    missing = [source for source in dictionary.sources if source not in present]
    if missing:
        raise ValueError(f"source {missing[0]!r} of the dictionary has no notes")


def _rows(
    notes: NoteFrames, source: int | str, n_codes: int, rng: np.random.Generator
) -> np.ndarray:
    """``(n_codes,)`` indices of a source's frames."""
    strata = [rng.permutation(stratum) for stratum in _strata(notes, source)]
    turns = zip_longest(*(strata[i].tolist() for i in rng.permutation(len(strata))))
    rows = [row for turn in turns for row in turn if row is not None]
    return np.resize(rows, n_codes)


def _strata(notes: NoteFrames, source: int | str) -> list[np.ndarray]:
    """Indices of the loud frames in the attack and in the decay of each recording of a source."""
    own = np.flatnonzero(notes.labels == notes.sources.index(source))
    strata = []
    for origin in np.unique(notes.origins[own]):
        recording = own[notes.origins[own] == origin]
        level = notes.frames[recording].sum(axis=1)
        loud = level >= LOUD * level.max()
        strata += [
            recording[:ATTACK_FRAMES][loud[:ATTACK_FRAMES]],
            recording[ATTACK_FRAMES:][loud[ATTACK_FRAMES:]],
        ]
    return [stratum for stratum in strata if len(stratum)]
