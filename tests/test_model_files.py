"""Model files that something happened to: what loads is right, and all else is refused in words.

``DDS_FAST_FUZZ=10000 pytest tests/test_model_files.py`` tries so many files in place of 250.
"""

from __future__ import annotations

import json
import os
import re
import struct
from copy import deepcopy
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save
from tiny import CONFIG, KINDS, dictionary, tone
from torch import Tensor

import dds_fast
from dds_fast import Dictionary
from dds_fast.methods import nae
from dds_fast.temporal.network import NoteNetwork

N_FILES = int(os.environ.get("DDS_FAST_FUZZ", 250))
ALL_KINDS = (*KINDS, "nae")
REFUSED = re.compile(
    r"m\.safetensors (is damaged or inconsistent: \S"
    r"|is not a readable dictionary file: \S"
    r"|is a safetensors file, but not a dds_fast dictionary"
    r"|has format version \d+"
    r"|holds a)"
)
ODD = (
    *(None, True, -1, 0, 1, 1.5, 129, 10**7, 10**30, 10**400, float("nan"), float("inf")),
    *("", "x", "\ud800", "dds2", "leaky_relu", [], [1], [[1]], [None], {}, {"a": 1}, 1e-40, 1e30),
)
DTYPES = (
    *(torch.float8_e4m3fn, torch.float8_e5m2, torch.complex64, torch.bool, torch.int8, torch.uint8),
    *(torch.int16, torch.int32, torch.int64, torch.float16, torch.bfloat16, torch.float64),
)

Parts = tuple[dict[str, Any], dict[str, Tensor]]


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A sound file of each kind."""
    folder = tmp_path_factory.mktemp("models")
    for kind in ALL_KINDS:
        if kind == "nae":
            made = nae.fit(np.random.default_rng(0).random((64, 9)), 3, depth=2, n_steps=2)
            made.spectrogram = CONFIG
        else:
            made = dictionary(
                kind,
                search={kind: {"max_steps": 3, "step_size": 0.02}},
                detection={kind: {"upper": 0.5, "lower": 0.2}},
                threshold={kind: 0.3},
                training={"n_frames": 3},
            )
            if kind in ("dds2", "dds3"):
                made = Dictionary.from_flow(
                    made.flow, made.sources, CONFIG, made.metadata, made.start_codes()[:, :3]
                )
                made.temporal = NoteNetwork() if kind == "dds3" else None
        made.save(folder / kind)
    return {kind: (folder / kind).read_bytes() for kind in ALL_KINDS}


def parts_of(content: bytes) -> Parts:
    (size,) = struct.unpack("<Q", content[:8])
    return (
        json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["dds_fast"]),
        dict(torch_load(content)),
    )


def torch_load(content: bytes) -> dict[str, Tensor]:
    from safetensors.torch import load

    return load(content)


def places(node: Any) -> list[tuple[Any, Any]]:
    """Every place in a header: what holds it, and its key or index there."""
    keys = list(node) if isinstance(node, dict) else range(len(node)) if node else []
    found = []
    for key in keys:
        found.append((node, key))
        if isinstance(node[key], dict | list):
            found += places(node[key])
    return found


def change_header(random: Random, header: dict[str, Any], _: dict[str, Tensor]) -> str:
    holder, key = random.choice(places(header))
    how = random.choice(("drop", "retype", "retype", "rename"))
    value = holder.pop(key)
    if how == "retype":
        value = deepcopy(random.choice(ODD))
        if isinstance(holder, dict):
            holder[key] = value
        else:
            holder.insert(key, value)
    elif how == "rename" and isinstance(holder, dict):
        holder[f"{key}s"] = value
    return f"{how} {key!r}: {value!r}"


def change_tensor(random: Random, _: dict[str, Any], tensors: dict[str, Tensor]) -> str:
    name = random.choice(sorted(tensors))
    tensor = tensors.pop(name)
    how = random.choice(tuple(TENSOR_CHANGES))
    try:
        changed = TENSOR_CHANGES[how](random, tensor)
    except (RuntimeError, IndexError, ValueError):  # there is no such change of this one
        changed = tensor
    if changed is not None:
        tensors[name + (" again" if how == "rename" else "")] = changed.contiguous()
    if how == "add":
        tensors[f"{name}.1"] = tensor.clone()
    return f"{how} {name}"


def _with(tensor: Tensor, random: Random, value: float) -> Tensor:
    changed = tensor.clone()
    changed.view(-1)[random.randrange(tensor.numel())] = value
    return changed


def _repeated(random: Random, tensor: Tensor) -> Tensor:
    changed = tensor.clone()
    changed[..., random.randrange(tensor.shape[-1])] = changed[..., 0]
    return changed


TENSOR_CHANGES = {
    "drop": lambda random, t: None,
    "rename": lambda random, t: t,
    "add": lambda random, t: t,
    "cast": lambda random, t: t.to(random.choice(DTYPES)),
    "flat": lambda random, t: t.flatten(),
    "one dim more": lambda random, t: t[None],
    "transpose": lambda random, t: t.transpose(0, -1),
    "shorter": lambda random, t: t[..., 1:],
    "fewer": lambda random, t: t[1:],
    "twice": lambda random, t: torch.cat([t, t]),
    "empty": lambda random, t: t[:0],
    "no dims": lambda random, t: t.reshape(-1)[0].clone(),
    "NaN": lambda random, t: _with(t, random, float("nan")),
    "infinity": lambda random, t: _with(t, random, float("-inf")),
    "large": lambda random, t: _with(t, random, 1e30 if t.is_floating_point() else 1 << 14),
    "negative": lambda random, t: _with(t, random, -1),
    "beyond float32": lambda random, t: _with(t.double(), random, 1e300),
    "zeros": lambda random, t: torch.zeros_like(t),
    "repeated": _repeated,
}


def change_bytes(random: Random, content: bytes) -> tuple[str, bytes]:
    how = random.choice(("truncate", "append", "flip", "flip in header", "length", "metadata"))
    if how == "truncate":
        return how, content[: random.randrange(len(content))]
    if how == "append":
        return how, content + b"\0" * random.randrange(1, 9)
    (size,) = struct.unpack("<Q", content[:8])
    if how == "metadata":
        deep = random.choice(("[" * 10**5, "[1, 2]", "{}", "{", '{"format_version": true}'))
        header = json.loads(content[8 : 8 + size])
        header["__metadata__"]["dds_fast"] = deep
        text = json.dumps(header).encode()
        text += b" " * random.randrange(9)  # numbers behind it lie anywhere
        return how, struct.pack("<Q", len(text)) + text + content[8 + size :]
    changed = bytearray(content)
    if how == "length":
        changed[: random.randrange(1, 9)] = random.randbytes(8)[: random.randrange(1, 9)]
        return how, bytes(changed)
    place = random.randrange(8, 8 + size if how == "flip in header" else len(content))
    changed[place] ^= 1 << random.randrange(8)
    return f"{how} at {place}", bytes(changed)


def mutated(random: Random, content: bytes) -> tuple[str, bytes]:
    if random.random() < 0.25:
        return change_bytes(random, content)
    header, tensors = parts_of(content)
    done = []
    for _ in range(random.choice((1, 1, 1, 2))):
        change = random.choice((change_header, change_tensor))
        done.append(change(random, header, tensors) if header and tensors else "")
    return ", ".join(done), save(tensors, metadata={"dds_fast": json.dumps(header)})


def check_loaded(kind: str, model: Any, content: bytes) -> None:
    """It holds what the file holds, as float32 or int64, and computes what can be computed."""
    _, stored = parts_of(content)
    if kind == "nae":
        held = {f"weights.{i}": W for i, W in enumerate(model.weights)}
        assert model.encode(np.ones((model.n_features, 2))).shape == (model.n_components, 2)
        assert len({W.dtype for W in model.weights}) == 1
        del stored["history"]
    else:
        held = {"W": model.W, "labels": model.labels} if model.flow is None else {}
        held |= {} if model.flow is None else model.flow.state_dict()
        held |= {} if model.codes is None else {"codes": model.codes}
        if model.temporal is not None:
            own = model.temporal.state_dict()
            held |= {f"temporal.{name}": tensor for name, tensor in own.items()}
        assert {t.dtype for t in held.values()} <= {torch.float32, torch.int64}
    assert held.keys() == stored.keys()
    for name, tensor in stored.items():
        assert bool(torch.isfinite(held[name]).all())
        assert torch.equal(held[name], tensor.to(held[name].dtype)), name
    if kind == "nae" or model.spectrogram.hop < 16:
        return
    try:
        result = dds_fast.decompose(tone(1600), model, sr=16000, max_steps=2)
    except ValueError as error:
        assert re.search("shorter than one window|overflows|n_components|not finite", str(error)), (
            error
        )
    except MemoryError as error:
        assert "out of memory: this" in str(error)
    else:
        finite = bool(np.isfinite(result.source_activations).all())
        assert finite or result.stop_reason == "non-finite"


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_mutated(kind: str, originals: dict[str, bytes], tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    read = nae.load if kind == "nae" else dds_fast.load
    n_refused, n_files = 0, -(-N_FILES // len(ALL_KINDS))
    for case in range(n_files):
        done, content = mutated(Random(f"{kind} {case}"), originals[kind])
        path.write_bytes(content)
        try:
            model = read(path)
        except ValueError as error:
            n_refused += 1
            assert REFUSED.search(str(error)), f"{case}: {done}: {error}"
            continue
        except Exception as error:
            raise AssertionError(f"{case}: {done}: {error!r}") from error
        try:
            check_loaded(kind, model, content)
        except Exception as error:
            raise AssertionError(f"{case}: {done}: loaded, but {error!r}") from error
    assert n_refused > n_files // 2


def test_originals_load(originals: dict[str, bytes], tmp_path: Path) -> None:
    for kind, content in originals.items():
        (tmp_path / kind).write_bytes(content)
        check_loaded(kind, (nae.load if kind == "nae" else dds_fast.load)(tmp_path / kind), content)


@pytest.mark.parametrize("name", ["n_steps", "depth", "width", "n_features", "n_sources"])
@pytest.mark.parametrize("size", [10**7, 10**30])
def test_sizes_without_tensors_are_refused_at_once(tmp_path: Path, name: str, size: int) -> None:
    path = tmp_path / "m.safetensors"
    sizes = {"n_sources": 3, "n_features": 64, "n_steps": 1, "width": 8, "depth": 1, name: size}
    header = {
        "format_version": 2,
        "kind": "dds2",
        "sources": [60, 64, 67],
        "spectrogram": {"sr": 16000, "n_fft": 128, "hop": 64, "gamma": 1e4, "window": "hann"},
        "metadata": {},
        "flow": sizes,
    }
    path.write_bytes(save({"orders": torch.zeros(1, 3, 2)}, {"dds_fast": json.dumps(header)}))
    with pytest.raises(
        ValueError, match=f"m.safetensors is damaged or inconsistent: flow: .*{name}"
    ):
        dds_fast.load(path)


@pytest.mark.parametrize("kind", ALL_KINDS)
@pytest.mark.parametrize(
    "dtype",
    [torch.float8_e4m3fn, torch.float8_e5m2, torch.complex64, torch.bool, torch.int32],
    ids=str,
)
def test_dtypes_that_are_none_of_parameters(
    originals: dict[str, bytes], tmp_path: Path, kind: str, dtype: torch.dtype
) -> None:
    path = tmp_path / "m.safetensors"
    header, tensors = parts_of(originals[kind])
    name = next(name for name in sorted(tensors) if "weight" in name or name == "W")
    tensors[name] = tensors[name].to(dtype)
    path.write_bytes(save(tensors, {"dds_fast": json.dumps(header)}))
    with pytest.raises(ValueError, match=rf"m\.safetensors is damaged.*{re.escape(name)}|weights"):
        (nae.load if kind == "nae" else dds_fast.load)(path)


@pytest.mark.parametrize("kind", ["dds1", "dds2", "dds3"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_dtypes_of_parameters_load_alike(
    originals: dict[str, bytes], tmp_path: Path, kind: str, dtype: torch.dtype
) -> None:
    path = tmp_path / "m.safetensors"
    header, tensors = parts_of(originals[kind])
    single = next(
        name for name in sorted(tensors) if "weight" in name
    )  # beside the others' float32
    tensors[single] = tensors[single].to(dtype)
    path.write_bytes(save(tensors, {"dds_fast": json.dumps(header)}))
    flow = dds_fast.load(path).flow
    assert {p.dtype for p in flow.parameters()} == {torch.float32}
    assert torch.equal(flow.state_dict()[single], tensors[single].float())


@pytest.mark.parametrize("kind", ["dds1", "dds2", "dds3"])
@pytest.mark.parametrize("value", [-1, 64, 1], ids=["negative", "too large", "twice"])
def test_orders_that_are_no_permutations(
    originals: dict[str, bytes], tmp_path: Path, kind: str, value: int
) -> None:
    path = tmp_path / "m.safetensors"
    header, tensors = parts_of(originals[kind])
    name = next(name for name in sorted(tensors) if "order" in name)
    tensors[name][..., 3] = tensors[name][..., 2] if value == 1 else value
    path.write_bytes(save(tensors, {"dds_fast": json.dumps(header)}))
    with pytest.raises(ValueError, match=f"{name} must hold permutations of 0..63"):
        dds_fast.load(path)
