"""Learning dictionaries from small sets of made-up notes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from tiny import CONFIG, dictionary, tone

import dds_fast
from dds_fast import Dictionary, SpectrogramConfig, fit
from dds_fast.codes import choose
from dds_fast.datasets import NoteFrames
from dds_fast.fit import FEWEST_FRAMES, PRESETS
from dds_fast.flows.training import bank as bank_training
from dds_fast.flows.training import glow as glow_training
from dds_fast.flows.training import loop, losses

SIZES = {"n_steps": 2, "width": 8, "depth": 1}


def toy_notes(n_frames: int = 80, F: int = 16) -> dict[int, np.ndarray]:
    """Two sources: a peak in a bin of their own, of varying height, over a little noise."""
    rng = np.random.default_rng(0)
    notes = {}
    for index, source in enumerate((60, 64)):
        frames = 0.05 * rng.random((n_frames, F), dtype=np.float32)
        frames[:, 3 + 6 * index] += 0.5 + 0.3 * rng.random(n_frames, dtype=np.float32)
        notes[source] = frames
    return notes


def learn(kind: str = "dds2", notes: Any = None, **options: Any) -> Dictionary:
    options = {**SIZES, "max_epochs": 5, "batch_size": 32, **options}
    spectrogram = SpectrogramConfig(n_fft=32, hop=16)
    return fit(toy_notes() if notes is None else notes, kind, spectrogram=spectrogram, **options)


def held_out_bits(made: Dictionary, fraction: float) -> float:
    """Loss on the frames that training held out, in bits per dimension."""
    held = NoteFrames.from_mapping(toy_notes()).split(fraction, 0)[1]
    frames, labels = torch.from_numpy(held.frames), torch.from_numpy(held.labels)
    with torch.no_grad():
        if made.kind == "dds3":
            loss = losses.glow_loss(made.flow, frames, labels)
        else:
            by_source = torch.stack([frames[labels == source] for source in range(2)])
            loss = losses.bank_loss(made.flow, by_source)
    return float(loss.mean()) / (math.log(2) * 16)


class TestInput:
    @pytest.mark.parametrize("kind", ["nmf", "dds2", "dds3"])
    def test_arrays(self, kind: str) -> None:
        made = learn(kind, max_epochs=1)
        assert (made.kind, made.sources) == (kind, (60, 64))
        assert made.spectrogram.n_features == 16
        assert made.metadata["training"]["n_frames"] == 160

    def test_nmf_keeps_every_frame(self) -> None:
        made, notes = learn("nmf"), toy_notes()
        assert torch.equal(made.W, torch.from_numpy(np.concatenate(list(notes.values())).T))
        assert made.labels.tolist() == [0] * 80 + [1] * 80

    def test_note_frames(self) -> None:
        notes = NoteFrames.from_mapping(toy_notes())
        assert torch.equal(learn("nmf", notes).W, learn("nmf").W)

    def test_folder(self, tmp_path: Path) -> None:
        for pitch, frequency in ((60, 261.6), (64, 329.6)):
            for take in "ab":
                soundfile.write(tmp_path / f"{pitch}_{take}.wav", tone(3200, frequency), 16000)
        options = {"spectrogram": CONFIG, "max_epochs": 1, **SIZES}
        made = fit(tmp_path, "dds3", n_mixtures=4, **options)
        assert made.temporal is not None
        assert made.metadata["calibration"]["dds3"]["n_mixtures"] == 4
        assert fit(tmp_path, "dds3", n_mixtures=0, **options).temporal is None
        assert made.sources == (60, 64)
        assert made.spectrogram == CONFIG
        assert made.metadata["training"]["n_recordings"] == 4
        result = dds_fast.decompose(tone(), made, sr=16000, n_components=1, max_steps=2)
        assert result.n_steps == 2

    def test_config_defaults_to_the_arrays_bins(self) -> None:
        made = fit({60: np.ones((20, 512), np.float32)}, "nmf")
        assert made.spectrogram == SpectrogramConfig(n_fft=1024)

    def test_small_arrays_need_no_config(self) -> None:
        made = fit(toy_notes(), "nmf")
        assert made.spectrogram.n_features == 16

    @pytest.mark.parametrize("kind", ["dds2", "dds3"])
    def test_numpy_numbers_as_sources(self, tmp_path: Path, kind: str) -> None:
        notes = {np.int64(source): frames for source, frames in toy_notes().items()}
        learn(kind, notes, max_epochs=1).save(tmp_path / "d")
        assert dds_fast.load(tmp_path / "d").sources == (60, 64)

    @pytest.mark.parametrize("kind", ["dds2", "dds3"])
    def test_few_frames(self, kind: str) -> None:
        notes = {source: frames[:FEWEST_FRAMES] for source, frames in toy_notes().items()}
        made = learn(kind, notes, max_epochs=1)
        assert all(torch.isfinite(p).all() for p in made.flow.parameters())
        notes[64] = notes[64][:1]
        with pytest.raises(ValueError, match="source 64 has 1 frame: .* from 5 at least"):
            learn(kind, notes)
        assert learn("nmf", notes).W.shape[1] == FEWEST_FRAMES + 1

    def test_one_source(self) -> None:
        made = learn("dds2", {60: toy_notes()[60]}, max_epochs=2)
        assert made.sources == (60,)


class TestLearning:
    @pytest.mark.parametrize("kind", ["dds2", "dds3"])
    def test_the_loss_falls(self, kind: str) -> None:
        history = learn(kind, max_epochs=30, learning_rate=1e-2).metadata["training"]["history"]
        assert [record["epoch"] for record in history] == list(range(1, 31))
        assert history[-1]["training"] < history[0]["training"] - 0.1
        assert min(r["validation"] for r in history) < history[0]["validation"] - 0.1

    @pytest.mark.parametrize(
        ("kind", "script", "best"),
        [
            ("dds3", [[3.0], [1.0], [2.0]], [1]),
            ("dds3", [[3.0], [2.0], [2.0]], [1]),
            ("dds2", [[3.0, 1.0], [1.0, 2.0], [2.0, 3.0]], [1, 0]),
        ],
        ids=["middle", "first-of-equals", "each-flow-its-own"],
    )
    def test_the_best_epoch_is_kept(
        self,
        monkeypatch: pytest.MonkeyPatch,
        kind: str,
        script: list[list[float]],
        best: list[int],
    ) -> None:
        module, name = {
            "dds2": (bank_training, "bank_loss"),
            "dds3": (glow_training, "glow_loss"),
        }[kind]
        original, seen = getattr(module, name), []

        def scripted(flow: torch.nn.Module, x: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
            loss = original(flow, x, *rest)
            losses = torch.tensor(script[len(seen)])
            seen.append({name: p.detach().clone() for name, p in flow.named_parameters()})
            return losses[:, None].expand_as(loss) if kind == "dds2" else losses.expand_as(loss)

        monkeypatch.setattr(module, name, scripted)
        made = learn(kind, max_epochs=3)
        for name, parameter in made.flow.named_parameters():
            if kind == "dds3":
                assert torch.equal(parameter, seen[best[0]][name]), name
            else:
                for flow, epoch in enumerate(best):
                    assert torch.equal(parameter[flow], seen[epoch][name][flow]), name
        lowest = np.min(script, axis=0).mean() / (math.log(2) * 16)
        assert made.metadata["training"]["validation_bits_per_dim"] == pytest.approx(lowest)

    @pytest.mark.parametrize("kind", ["dds2", "dds3"])
    def test_the_recorded_loss_is_that_of_the_returned_flow(self, kind: str) -> None:
        made = learn(kind, max_epochs=20, learning_rate=1e-2)
        assert held_out_bits(made, 0.1) == pytest.approx(
            made.metadata["training"]["validation_bits_per_dim"], abs=1e-4
        )

    @pytest.mark.parametrize("kind", ["dds2", "dds3"])
    def test_same_seed_same_bits(self, kind: str) -> None:
        first, second, other = learn(kind), learn(kind), learn(kind, random_state=1)
        states = [made.flow.state_dict() for made in (first, second, other)]
        assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
        assert any(not torch.equal(states[0][name], states[2][name]) for name in states[0])

    @pytest.mark.parametrize("kind", ["dds2", "dds3"])
    def test_codes_are_chosen_among_the_training_frames(self, kind: str) -> None:
        made, again = learn(kind, n_codes=8), learn(kind, n_codes=8)
        assert made.codes.shape == (2, 8, 16 if kind == "dds2" else 14)
        assert made.metadata["codes"]["per_source"] == 8
        assert made.metadata["held_out"]["codes"]["per_source"] == 8
        assert torch.equal(made.codes, again.codes)
        fraction = made.metadata["training"]["config"]["validation"]
        trained_on = NoteFrames.from_mapping(toy_notes()).split(fraction, 0)[0]
        assert torch.equal(made.codes, choose(made, trained_on, 8))
        assert learn(kind, max_epochs=1).codes.shape[1] == 40

    @pytest.mark.parametrize("kind", ["dds2", "dds3"])
    def test_a_training_that_is_resumed_has_the_same_codes(
        self, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        original = loop.BestEpochs.offer

        def killed(best: loop.BestEpochs, loss: torch.Tensor, epoch: int, *rest: Any) -> None:
            if epoch == 3:
                raise KeyboardInterrupt
            original(best, loss, epoch, *rest)

        monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
        with monkeypatch.context() as killing, pytest.raises(KeyboardInterrupt):
            killing.setattr(loop.BestEpochs, "offer", killed)
            learn(kind, folder=tmp_path)
        assert torch.equal(learn(kind, folder=tmp_path).codes, learn(kind).codes)

    def test_the_global_random_state_is_left_alone(self) -> None:
        torch.manual_seed(3)
        before = torch.get_rng_state()
        learn("dds3", max_epochs=1)
        assert torch.equal(torch.get_rng_state(), before)

    def test_the_frames_are_not_changed(self) -> None:
        notes = toy_notes()
        learn("dds3", notes, max_epochs=1)
        for source, frames in toy_notes().items():
            np.testing.assert_array_equal(notes[source], frames)

    def test_the_record_survives_a_file(self, tmp_path: Path) -> None:
        made = learn("dds3", max_epochs=2)
        made.save(tmp_path / "d")
        loaded = dds_fast.load(tmp_path / "d")
        assert loaded.metadata["training"] == made.metadata["training"]
        assert loaded.metadata["training"]["config"]["max_epochs"] == 2


class TestDivergence:
    @pytest.mark.parametrize("kind", ["dds2", "dds3"])
    def test_advice(self, kind: str) -> None:
        with pytest.raises(FloatingPointError, match="lower the learning rate"):
            learn(kind, learning_rate=1e6, preset="paper-512", max_epochs=20)

    @pytest.mark.parametrize("kind", ["dds2", "dds3"])
    def test_in_the_very_last_step(self, kind: str) -> None:
        with pytest.raises(FloatingPointError, match="lower the learning rate"):
            learn(kind, learning_rate=1e30, preset="paper-512", max_epochs=1, batch_size=512)

    def test_a_nan_epoch_is_never_the_best(self) -> None:
        flow = dictionary("dds3").flow
        best = loop.BestEpochs(flow, 1)
        wanted = {name: p.detach().clone() for name, p in flow.named_parameters()}
        validated = torch.tensor([True])
        best.offer(torch.tensor([1.0]), 1, validated)
        with torch.no_grad():
            for parameter in flow.parameters():
                parameter.fill_(float("nan"))
        best.offer(torch.tensor([float("nan")]), 2, validated)
        best.restore()
        for name, parameter in flow.named_parameters():
            assert torch.equal(parameter, wanted[name]), name


class TestOptions:
    @pytest.mark.parametrize(
        ("options", "name"),
        [
            ({"kind": "dds1"}, "dds1"),
            ({"kind": "dds9"}, "dds9"),
            ({"preset": "large"}, "large"),
            ({"hight": 3}, "hight"),
            ({"max_epochs": 0}, "max_epochs"),
            ({"max_epochs": -1}, "max_epochs"),
            ({"batch_size": 0}, "batch_size"),
            ({"learning_rate": 0.0}, "learning_rate"),
            ({"learning_rate": -1.0}, "learning_rate"),
            ({"learning_rate": float("nan")}, "learning_rate"),
            ({"n_steps": 0}, "n_steps"),
            ({"width": 0}, "width"),
            ({"n_codes": 0}, "n_codes"),
            ({"kind": "nmf", "n_codes": 8}, "n_codes.*nmf"),
        ],
        ids=str,
    )
    def test_bad_values_are_named(self, options: dict[str, Any], name: str) -> None:
        with pytest.raises(ValueError, match=name):
            learn(**options)

    def test_presets_decide_the_training(self) -> None:
        config = learn(preset="paper-512", max_epochs=1).metadata["training"]["config"]
        assert config["learning_rate"] == 1e-3
        assert config["one_cycle"] is False
        glow = learn("dds3", preset="paper-512", max_epochs=1).metadata["training"]["config"]
        assert glow["learning_rate"] == 1e-5

    @pytest.mark.parametrize(("preset", "F"), [("paper-512", 512), ("paper-1024", 1024)])
    def test_presets_of_the_paper_have_its_flows(self, preset: str, F: int) -> None:
        """Steps, width and depth of the paper: 16, F / 4, 4 and 32, 2 F, 3."""
        recipe = PRESETS[preset]
        assert recipe.n_fft == 2 * F
        assert recipe.sizes["dds2"](F) == (16, {512: 128, 1024: 256}[F], 4)
        assert recipe.sizes["dds3"](F) == (32, {512: 1024, 1024: 2048}[F], 3)
        assert {kind: c.batch_size for kind, c in recipe.training.items()} == {
            **{"dds2": 512, "dds3": 512}
        }
        assert recipe.training["dds2"].max_norm == 5

    @pytest.mark.parametrize(("kind", "sizes"), [("dds2", (16, 4, 4)), ("dds3", (32, 32, 3))])
    def test_flows_have_the_sizes_of_their_preset(self, kind: str, sizes: tuple[int, ...]) -> None:
        config = SpectrogramConfig(n_fft=32, hop=16)
        options: dict[str, Any] = {"preset": "paper-512", "max_epochs": 1, "spectrogram": config}
        flow = fit(toy_notes(), kind, **options).flow
        assert tuple(flow.hyperparameters[n] for n in ("n_steps", "width", "depth")) == sizes

    def test_bins_that_do_not_fit_the_config(self) -> None:
        with pytest.raises(ValueError, match="16 bins.*64"):
            fit(toy_notes(), "nmf", spectrogram=CONFIG)

    def test_a_glow_needs_more_bins_than_sources(self) -> None:
        notes = {source: np.ones((5, 8), np.float32) for source in range(8)}
        with pytest.raises(ValueError, match="F=8.*S=8"):
            fit(notes, "dds3", spectrogram=SpectrogramConfig(n_fft=16, hop=8))

    @pytest.mark.parametrize("notes", [{}, {60: np.ones(16)}], ids=["none", "1-d"])
    def test_bad_arrays(self, notes: dict) -> None:
        with pytest.raises(ValueError, match="notes|frames"):
            learn("nmf", notes)

    def test_missing_folder(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="gone"):
            fit(tmp_path / "gone")

    def test_frames_cannot_be_mixed(self) -> None:
        with pytest.raises(ValueError, match="n_mixtures needs recordings"):
            learn("dds2", n_mixtures=8)
