"""Codes that a dictionary gets from its own notes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from tiny import SOURCES, dictionary

import dds_fast
from dds_fast.codes import ATTACK_FRAMES, LOUD, add_codes, choose
from dds_fast.datasets import NoteFrames
from dds_fast.dictionary import CODE_SHRINKAGE
from dds_fast.ops.flow import flow_encode

N_FRAMES = 20
"""Per recording."""


def notes(n_recordings: int = 2, n_frames: int = N_FRAMES) -> NoteFrames:
    """Recordings of the tiny dictionary's sources; each frame differs from all others."""
    n = len(SOURCES) * n_recordings * n_frames
    frames = 1 + np.random.default_rng(2).random((n, 64), dtype=np.float32)
    origins = np.repeat(np.arange(len(SOURCES) * n_recordings), n_frames)
    return NoteFrames(frames, SOURCES, origins // n_recordings, origins)


def code_of(made: dds_fast.Dictionary, given: NoteFrames, row: int) -> torch.Tensor:
    """What a frame is to be stored as."""
    flow = made.frozen(torch.float32, torch.device("cpu"))
    x, label = torch.from_numpy(given.frames[row]), given.labels[row]
    if made.kind == "dds3":
        z = flow_encode(flow, x[None])[0][0, len(SOURCES) :]
    else:
        z = flow_encode(flow, x.expand(len(SOURCES), 1, -1).contiguous())[0][label, 0]
    return CODE_SHRINKAGE * z


def chosen_rows(made: dds_fast.Dictionary, given: NoteFrames, n_codes: int) -> list[list[int]]:
    """Frames that the codes of each source come from, in order."""
    of_rows = torch.stack([code_of(made, given, row) for row in range(len(given.frames))])
    nearest = torch.cdist(choose(made, given, n_codes).flatten(0, 1), of_rows)
    assert float(nearest.min(1).values.max()) < 0.1
    return nearest.argmin(1).view(len(SOURCES), n_codes).tolist()


@pytest.fixture(params=["dds2", "dds3"])
def made(request: pytest.FixtureRequest) -> dds_fast.Dictionary:
    return dictionary(request.param)


def test_codes_are_frames_of_their_source_encoded_and_shrunk(made: dds_fast.Dictionary) -> None:
    given = notes()
    codes = choose(made, given, 7)
    assert codes.shape == (3, 7, 64 if made.kind == "dds2" else 61)
    assert codes.dtype == torch.float32
    assert torch.equal(codes, codes.bfloat16().float())
    for label, rows in enumerate(chosen_rows(made, given, 7)):
        assert len(set(rows)) == 7
        for code, row in zip(codes[label], rows, strict=True):
            assert given.labels[row] == label
            torch.testing.assert_close(code, code_of(made, given, row), rtol=2**-8, atol=1e-4)


def test_the_seed_decides(made: dds_fast.Dictionary) -> None:
    first, again, other = (choose(made, notes(), 8, random_state) for random_state in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("n_codes", [4, 8, 12])
def test_recordings_attacks_and_decays_have_equal_shares(n_codes: int) -> None:
    given = notes(n_recordings=2)
    for rows in chosen_rows(dictionary("dds3"), given, n_codes):
        strata = [(given.origins[row], row % N_FRAMES < ATTACK_FRAMES) for row in rows]
        _, counts = np.unique(strata, axis=0, return_counts=True)
        assert counts.tolist() == [n_codes // 4] * 4


def test_the_decay_goes_on_where_an_attack_has_no_more_frames() -> None:
    for rows in chosen_rows(dictionary("dds3"), notes(n_recordings=1), 16):
        n_attack = sum(row % N_FRAMES < ATTACK_FRAMES for row in rows)
        assert (n_attack, len(set(rows))) == (ATTACK_FRAMES, 16)


def test_too_few_frames_are_taken_again_in_the_same_order() -> None:
    for rows in chosen_rows(dictionary("dds3"), notes(n_recordings=1, n_frames=3), 8):
        assert len(set(rows)) == 3
        assert rows == (3 * rows[:3])[:8]


def test_faint_frames_are_left_out() -> None:
    given = notes(n_recordings=1)
    given.frames[::2] *= 0.4 * LOUD
    for rows in chosen_rows(dictionary("dds3"), given, 10):
        assert sorted(rows) == list(range(rows[0] // N_FRAMES * N_FRAMES + 1, max(rows) + 1, 2))


def test_sources_may_stand_in_another_order(made: dds_fast.Dictionary) -> None:
    given = notes(n_recordings=1, n_frames=1)
    turned = NoteFrames(given.frames, SOURCES[::-1], 2 - given.labels, given.origins)
    assert torch.equal(choose(made, turned, 2), choose(made, given, 2))


def test_the_record(made: dds_fast.Dictionary, tmp_path: Path) -> None:
    add_codes(made, notes(), 6, random_state=3)
    assert torch.equal(made.codes, choose(made, notes(), 6, random_state=3))
    assert torch.equal(made.start_codes(), made.codes)
    assert made.metadata["codes"] == {
        "per_source": 6,
        "shrinkage": 0.6,
        "attack_frames": 5,
        "chosen": "by recording, attack and decay",
    }


@pytest.mark.parametrize("dtype", [None, torch.bfloat16, torch.float16, torch.float64], ids=str)
def test_a_file_holds_them_in_bfloat16(
    made: dds_fast.Dictionary, tmp_path: Path, dtype: torch.dtype | None
) -> None:
    add_codes(made, notes(), 6)
    path = tmp_path / "d.safetensors"
    made.save(path, dtype=dtype)
    with safe_open(path, framework="pt") as file:
        assert file.get_tensor("codes").dtype == torch.bfloat16
    loaded = dds_fast.load(path)
    assert loaded.codes.dtype == torch.float32
    assert torch.equal(loaded.codes, made.codes)
    assert loaded.metadata["codes"] == made.metadata["codes"]


def test_what_codes_cannot_be_made_of() -> None:
    with pytest.raises(ValueError, match="nmf"):
        choose(dictionary("nmf"), notes())
    with pytest.raises(ValueError, match="n_codes.*0"):
        choose(dictionary("dds3"), notes(), 0)
    with pytest.raises(ValueError, match="67.*no notes"):
        choose(dictionary("dds3"), notes().select(notes().labels < 2))
    bins = NoteFrames.from_mapping({source: np.ones((2, 8), np.float32) for source in SOURCES})
    with pytest.raises(ValueError, match="8 bins.*64"):
        choose(dictionary("dds3"), bins)
