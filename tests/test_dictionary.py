"""Dictionaries: round trips through files, kinds, and files that must be refused."""

from __future__ import annotations

import json
import logging
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tiny import CONFIG, KINDS, SOURCES, dictionary

import dds_fast
from dds_fast import Dictionary, SpectrogramConfig
from dds_fast.dictionary import CODE_SHRINKAGE, N_DRAWN
from dds_fast.flows import ConditionalGlow, RealNVPBank
from dds_fast.notes.found import Detection
from dds_fast.search.settings import DEFAULT


def tensors_of(made: Dictionary) -> dict[str, torch.Tensor]:
    """Everything of a dictionary that a file has to hold."""
    if made.flow is not None:
        return dict(made.flow.state_dict())
    return {"W": made.W, "labels": made.labels}


def saved(tmp_path: Path, kind: str = "dds3") -> Path:
    path = tmp_path / f"{kind}.safetensors"
    dictionary(kind).save(path)
    return path


def parts(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Header and tensors of a dictionary file."""
    with safe_open(path, framework="pt") as file:
        names = list(file.keys())
        return json.loads(file.metadata()["dds_fast"]), {n: file.get_tensor(n) for n in names}


def write(path: Path, header: object, tensors: dict[str, torch.Tensor]) -> None:
    save_file(tensors, path, metadata={"dds_fast": json.dumps(header)})


class TestRoundTrip:
    @pytest.mark.parametrize("kind", KINDS)
    def test_everything_comes_back_bitwise(self, tmp_path: Path, kind: str) -> None:
        made = dictionary(
            kind,
            search={kind: {"max_steps": 7}},
            detection={kind: {"upper": 0.5, "lower": 0.2}},
            note="ä",
        )
        path = tmp_path / "d.safetensors"
        made.save(path)
        loaded = dds_fast.load(path)
        assert (loaded.kind, loaded.sources) == (kind, SOURCES)
        assert loaded.spectrogram == CONFIG
        assert loaded.metadata == made.metadata
        assert loaded.search.max_steps == 7
        assert loaded.detection == Detection(0.5, 0.2)
        before, after = tensors_of(made), tensors_of(loaded)
        assert before.keys() == after.keys()
        for name, tensor in before.items():
            assert after[name].dtype == tensor.dtype, name
            assert torch.equal(after[name], tensor), name

    @pytest.mark.parametrize("kind", KINDS)
    def test_bfloat16_rounds_the_floats_only(self, tmp_path: Path, kind: str) -> None:
        made, path = dictionary(kind), tmp_path / "d.safetensors"
        made.save(path, dtype=torch.bfloat16)
        loaded = tensors_of(dds_fast.load(path))
        for name, tensor in tensors_of(made).items():
            if tensor.is_floating_point():
                assert torch.equal(loaded[name], tensor.bfloat16().float()), name
            else:
                assert torch.equal(loaded[name], tensor), name

    def test_bfloat16_halves_the_file(self, tmp_path: Path) -> None:
        flow = ConditionalGlow(3, 64, n_steps=4, width=64, depth=2)
        made = Dictionary.from_flow(flow, SOURCES, CONFIG)
        made.save(tmp_path / "full")
        made.save(tmp_path / "half", dtype=torch.bfloat16)
        full, half = ((tmp_path / name).stat().st_size for name in ("full", "half"))
        assert half < 0.6 * full

    def test_saving_does_not_change_the_dictionary(self, tmp_path: Path) -> None:
        made = dictionary("dds3")
        before = {name: t.clone() for name, t in tensors_of(made).items()}
        made.save(tmp_path / "d", dtype=torch.bfloat16)
        for name, tensor in tensors_of(made).items():
            assert tensor.dtype == before[name].dtype
            assert torch.equal(tensor, before[name])

    @pytest.mark.parametrize("kind", KINDS)
    def test_named_sources(self, tmp_path: Path, kind: str) -> None:
        made = dictionary(kind, ("kick", "snare", "hi-hat"))
        made.save(tmp_path / "d")
        assert dds_fast.load(tmp_path / "d").sources == ("kick", "snare", "hi-hat")

    def test_loaded_flows_can_be_trained_further(self, tmp_path: Path) -> None:
        flow = dds_fast.load(saved(tmp_path)).flow
        flow.encode(torch.rand(4, 64))[1].sum().backward()
        assert all(p.grad is not None for p in flow.parameters() if p.requires_grad)
        assert any(p.requires_grad for p in flow.parameters())

    @pytest.mark.parametrize("as_type", [str, Path], ids=["str", "Path"])
    def test_paths(self, tmp_path: Path, as_type: type) -> None:
        path = as_type(tmp_path / "new" / "folder" / "d.safetensors")
        dictionary("nmf").save(path)
        assert dds_fast.load(path).kind == "nmf"

    @pytest.mark.parametrize("make", [range, np.arange], ids=["range", "array"])
    def test_sources_from_a_range(self, tmp_path: Path, make: Any) -> None:
        flow = RealNVPBank(3, 64, n_steps=1, width=4, depth=1)
        Dictionary.from_flow(flow, make(60, 63), CONFIG).save(tmp_path / "d")
        loaded = dds_fast.load(tmp_path / "d")
        assert loaded.sources == (60, 61, 62)
        assert all(type(source) is int for source in loaded.sources)


class TestWithoutCodes:
    @pytest.mark.parametrize(("kind", "D"), [("dds2", 64), ("dds3", 61)])
    def test_codes_are_drawn_and_that_is_said_once(
        self, kind: str, D: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        made = dictionary(kind)
        with caplog.at_level(logging.INFO, logger="dds_fast"):
            first, again, other = (made.start_codes(random_state) for random_state in (0, 0, 1))
        assert first.shape == (3, N_DRAWN, D)
        assert float(first.std()) == pytest.approx(CODE_SHRINKAGE, rel=0.05)
        assert torch.equal(first, again)
        assert not torch.equal(first, other)
        assert [record.message for record in caplog.records] == [
            "the dictionary holds no codes: searches begin at draws of its flow"
        ]

    def test_files_of_version_1_lose_what_belonged_to_another_search(self, tmp_path: Path) -> None:
        made, path = dictionary("dds3", note="kept"), tmp_path / "old"
        made.metadata |= {"search": {"dds3": {"max_steps": 7}}, "threshold": {"dds3": 0.5}}
        made.save(path)
        header, tensors = parts(path)
        write(path, {**header, "format_version": 1}, tensors)
        loaded = dds_fast.load(path)
        assert loaded.metadata == {"note": "kept"}
        assert loaded.codes is None and loaded.detection is None
        assert loaded.search == DEFAULT["dds3"]

    @pytest.mark.parametrize("kind", ["dds2", "dds3"])
    def test_codes_that_do_not_fit(self, kind: str) -> None:
        flow = dictionary(kind).flow
        for codes in (torch.zeros(3, 4, 60), torch.zeros(2, 4, 64), torch.zeros(3, 0, 64)):
            with pytest.raises(ValueError, match=r"codes must be \(3, M, 6[14]\)"):
                Dictionary.from_flow(flow, SOURCES, CONFIG, codes=codes)


class TestWriting:
    def test_refuses_to_overwrite(self, tmp_path: Path) -> None:
        path = saved(tmp_path)
        before = path.read_bytes()
        with pytest.raises(FileExistsError, match="dds3.safetensors"):
            dictionary("dds3").save(path)
        assert path.read_bytes() == before
        dictionary("nmf").save(path, overwrite=True)
        assert dds_fast.load(path).kind == "nmf"

    @pytest.mark.parametrize("existing", [False, True], ids=["new", "over-existing"])
    def test_a_full_disk_leaves_nothing_behind(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, existing: bool
    ) -> None:
        path = tmp_path / "d.safetensors"
        if existing:
            path.write_bytes(b"precious")

        def fail(tensors: object, filename: Path, metadata: object) -> None:
            Path(filename).write_bytes(b"half")
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("safetensors.torch.save_file", fail)
        with pytest.raises(OSError, match="No space"):
            dictionary("dds3").save(path, overwrite=True)
        assert list(tmp_path.iterdir()) == ([path] if existing else [])
        if existing:
            assert path.read_bytes() == b"precious"

    def test_no_temporary_file_after_success(self, tmp_path: Path) -> None:
        path = saved(tmp_path)
        assert list(tmp_path.iterdir()) == [path]


class TestKinds:
    @pytest.mark.parametrize(("kind", "other"), [("dds1", "dds2"), ("dds2", "dds1")])
    def test_as_kind_both_ways(self, kind: str, other: str) -> None:
        made = dictionary(kind)
        turned = made.as_kind(other)
        assert turned.kind == other
        assert turned.flow is made.flow
        assert turned.as_kind(kind).kind == kind
        assert made.kind == kind

    @pytest.mark.parametrize("kind", KINDS)
    def test_as_the_same_kind(self, kind: str) -> None:
        assert dictionary(kind).as_kind(kind).kind == kind

    @pytest.mark.parametrize(
        ("kind", "other"),
        [("dds2", "dds3"), ("dds3", "dds2"), ("nmf", "dds2"), ("dds1", "nmf"), ("dds3", "dds4")],
    )
    def test_other_kinds_are_an_error(self, kind: str, other: str) -> None:
        with pytest.raises(ValueError, match=f"{kind}.*{other}"):
            dictionary(kind).as_kind(other)

    def test_kind_follows_the_flow(self) -> None:
        bank = RealNVPBank(3, 64, n_steps=1, width=4, depth=1)
        glow = ConditionalGlow(3, 64, n_steps=1, width=4, depth=1)
        assert Dictionary.from_flow(bank, SOURCES).kind == "dds2"
        assert Dictionary.from_flow(glow, SOURCES).kind == "dds3"

    def test_spectrogram_defaults_to_the_flows_bins(self) -> None:
        bank = RealNVPBank(3, 64, n_steps=1, width=4, depth=1)
        made = Dictionary.from_flow(bank, SOURCES)
        assert made.spectrogram == SpectrogramConfig(n_fft=128, hop=64)

    def test_repr_names_kind_and_sources(self) -> None:
        assert repr(dictionary("dds3")) == ("Dictionary(kind='dds3', 3 sources 60..67, F=64)")

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"sources": (60, 60, 61)}, "once"),
            ({"sources": (60, 61)}, "3 sources, 2 are named"),
            ({"sources": ()}, "at least one"),
            ({"kind": "dds4"}, "dds4"),
            ({"spectrogram": SpectrogramConfig(n_fft=256, hop=64)}, "64 bins.*128"),
        ],
        ids=["twice", "too-few", "none", "kind", "bins"],
    )
    def test_parts_that_do_not_fit(self, options: dict[str, Any], message: str) -> None:
        flow = RealNVPBank(3, 64, n_steps=1, width=4, depth=1)
        given = {"kind": "dds2", "sources": SOURCES, "spectrogram": CONFIG, **options}
        with pytest.raises(ValueError, match=message):
            Dictionary(**given, flow=flow)


class Bomb:
    """Unpickling this would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


class TestRefusedFiles:
    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="gone"):
            dds_fast.load(tmp_path / "gone")

    @pytest.mark.parametrize("keep", [0, 4, 100, 0.5, 0.999], ids=str)
    def test_truncated(self, tmp_path: Path, keep: float) -> None:
        path = saved(tmp_path)
        content = path.read_bytes()
        path.write_bytes(content[: int(keep * len(content)) if 0 < keep < 1 else int(keep)])
        with pytest.raises(ValueError, match="dds3.safetensors is not a readable dictionary"):
            dds_fast.load(path)

    @pytest.mark.parametrize("how", ["pickle", "torch-save", "torch-save-legacy"])
    def test_pickles_are_refused_and_never_run(self, tmp_path: Path, how: str) -> None:
        path, trace = tmp_path / "d.safetensors", tmp_path / "code-was-run"
        if how == "pickle":
            path.write_bytes(pickle.dumps(Bomb(trace)))
        else:
            torch.save(Bomb(trace), path, _use_new_zipfile_serialization=how == "torch-save")
        with pytest.raises(ValueError, match="not a readable dictionary"):
            dds_fast.load(path)
        assert not trace.exists()

    def test_text(self, tmp_path: Path) -> None:
        path = tmp_path / "readme.txt"
        path.write_text("hello, this is not a dictionary\n" * 20)
        with pytest.raises(ValueError, match="readme.txt"):
            dds_fast.load(path)

    @pytest.mark.parametrize(
        "metadata",
        [
            None,
            {"format": "pt"},
            {"dds_fast": "{broken"},
            {"dds_fast": "[1, 2]"},
            {"dds_fast": "{}"},
            {"dds_fast": '{"format_version": "new"}'},
            {"dds_fast": '{"format_version": null}'},
        ],
        ids=["none", "other", "broken-json", "list", "no-version", "text-version", "null-version"],
    )
    def test_foreign_safetensors(self, tmp_path: Path, metadata: dict[str, str] | None) -> None:
        path = tmp_path / "foreign.safetensors"
        save_file({"weight": torch.zeros(3)}, path, metadata=metadata)
        with pytest.raises(ValueError, match="foreign.safetensors.*not a dds_fast dictionary"):
            dds_fast.load(path)

    @pytest.mark.parametrize("version", [3, 99])
    def test_newer_format(self, tmp_path: Path, version: int) -> None:
        path = saved(tmp_path)
        header, tensors = parts(path)
        write(path, {**header, "format_version": version}, tensors)
        with pytest.raises(ValueError, match=f"version {version}.*up to 2"):
            dds_fast.load(path)

    @pytest.mark.parametrize("kind", KINDS)
    def test_missing_tensor_is_named(self, tmp_path: Path, kind: str) -> None:
        path = saved(tmp_path, kind)
        header, tensors = parts(path)
        name = sorted(tensors)[0]
        del tensors[name]
        write(path, header, tensors)
        with pytest.raises(ValueError, match=name.replace(".", r"\.")):
            dds_fast.load(path)

    @pytest.mark.parametrize("kind", ["dds1", "dds2", "dds3"])
    def test_tensor_of_wrong_shape_is_named(self, tmp_path: Path, kind: str) -> None:
        path = saved(tmp_path, kind)
        header, tensors = parts(path)
        name = next(name for name in sorted(tensors) if "weights" in name)
        tensors[name] = tensors[name][..., :-1].contiguous()
        write(path, header, tensors)
        with pytest.raises(ValueError, match=name.replace(".", r"\.")):
            dds_fast.load(path)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"W": torch.zeros(63, 12)}, "63 bins"),
            ({"W": torch.zeros(64)}, "W"),
            ({"labels": torch.zeros(11, dtype=torch.int64)}, "labels"),
            ({"labels": torch.full((12,), 3)}, "labels"),
            ({"labels": torch.full((12,), -1)}, "labels"),
            ({"labels": torch.zeros(12)}, "labels"),
        ],
        ids=["bins", "1-d", "too-few-labels", "label-too-large", "negative-label", "float-labels"],
    )
    def test_frames_and_labels_that_do_not_fit(
        self, tmp_path: Path, change: dict[str, torch.Tensor], message: str
    ) -> None:
        path = saved(tmp_path, "nmf")
        header, tensors = parts(path)
        write(path, header, {**tensors, **change})
        with pytest.raises(ValueError, match=message):
            dds_fast.load(path)

    @pytest.mark.parametrize(
        "change",
        [
            {"kind": "dds9"},
            {"kind": None},
            {"sources": [60, 64]},
            {"sources": 3},
            {"spectrogram": {"n_fft": 130}},
            {"spectrogram": {"n_fft": -4}},
            {"flow": {"n_sources": 3}},
            {"flow": {"n_sources": 3, "n_features": 64, "colour": 1}},
            {"metadata": [1]},
        ],
        ids=lambda change: json.dumps(change),
    )
    def test_headers_that_do_not_fit(self, tmp_path: Path, change: dict[str, Any]) -> None:
        path = saved(tmp_path)
        header, tensors = parts(path)
        write(path, {**header, **change}, tensors)
        with pytest.raises(ValueError, match="dds3.safetensors is damaged"):
            dds_fast.load(path)

    @pytest.mark.parametrize("key", ["kind", "sources", "spectrogram", "metadata", "flow"])
    def test_missing_header_fields_are_named(self, tmp_path: Path, key: str) -> None:
        path = saved(tmp_path)
        header, tensors = parts(path)
        del header[key]
        write(path, header, tensors)
        with pytest.raises(ValueError, match=key):
            dds_fast.load(path)

    def test_non_finite_weights(self, tmp_path: Path) -> None:
        path = saved(tmp_path)
        header, tensors = parts(path)
        tensors["steps.0.actnorm.bias"][3] = float("nan")
        write(path, header, tensors)
        with pytest.raises(ValueError, match="steps.0.actnorm.bias.*NaN"):
            dds_fast.load(path)
