"""The one-call API: sources, results, options, stops and bad input."""

from __future__ import annotations

import logging
import pickle
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from tiny import CONFIG, KINDS, SOURCES, dictionary, tone

import dds_fast
from dds_fast import Decomposition, Spectrogram, SpectrogramConfig, audio, decompose
from dds_fast.flows import RealNVPBank
from dds_fast.notes.found import Detection
from dds_fast.search import Controller, Schedule
from dds_fast.search.engines import choose
from dds_fast.search.settings import DEFAULT, FAST_STEPS

WITH_COMPONENTS = ("dds2", "dds3")
STAGED = ("nmf", "dds2", "dds3")
"""Kinds that have a staged search, their default."""

FIXED_STEPS = -(-DEFAULT["dds3"].fixed_updates // 10)
"""Steps of the default's fixed stage: ten updates of the activations in each."""

SEARCHES = [
    ("dds1", None),
    *((kind, preset) for kind in STAGED for preset in (None, "fast", "paper")),
]
every_search = pytest.mark.parametrize(("kind", "preset"), SEARCHES)


def search(kind: str = "dds3", source: Any = None, **options: Any) -> Any:
    """A short search of a tone, two components per source at most."""
    if kind in WITH_COMPONENTS:
        options.setdefault("n_components", 2)
    options.setdefault("max_steps", 3)
    source = tone() if source is None else source
    return decompose(source, dictionary(kind), sr=16000, **options)


def choose_engine(kind: str) -> Any:
    """The engine that `search` takes for a kind."""
    module = sys.modules["dds_fast.batch"]
    chosen: list[Any] = []

    def noted(*arguments: Any) -> Any:
        chosen.append(choose(*arguments))
        return chosen[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "choose", noted)
        search(kind, max_steps=0)
    return chosen[0]


def spectrogram_of_tone(dtype: type = np.float32) -> Spectrogram:
    waveform = tone(dtype=dtype)
    magnitude = np.abs(audio.stft(waveform, CONFIG)[1:]) * audio.normalising_gain(waveform)
    return Spectrogram(audio.compress(magnitude, CONFIG), CONFIG)


def assert_same(a: Decomposition, b: Decomposition) -> None:
    """Bitwise equal results."""
    for name in ("components", "activations", "source_activations"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
    if a.log_likelihoods is not None:
        np.testing.assert_array_equal(a.log_likelihoods, b.log_likelihoods)
    np.testing.assert_array_equal(a.history, b.history)


class TestResults:
    T = 51

    @pytest.mark.parametrize(
        ("kind", "components", "n_rows", "likelihoods"),
        [
            ("nmf", (64, 12), 12, None),
            ("dds1", (3, 64, 51), 3, (3, 51)),
            ("dds2", (64, 6), 6, (6,)),
            ("dds3", (64, 6), 6, (6,)),
        ],
    )
    def test_shapes_of_the_papers_search(
        self, kind: str, components: tuple[int, ...], n_rows: int, likelihoods: tuple | None
    ) -> None:
        result = search(kind, preset="paper")
        assert result.components.shape == components
        assert result.activations.shape == (n_rows, self.T)
        assert result.source_activations.shape == (3, self.T)
        if likelihoods is None:
            assert result.log_likelihoods is None
        else:
            assert result.log_likelihoods.shape == likelihoods
        assert result.reconstruction().shape == (64, self.T)
        assert result.times.shape == (self.T,)
        assert result.frequencies.shape == (64,)
        assert result.labels.shape == (n_rows,)
        assert result.sources == SOURCES
        assert result.kind == kind
        assert result.config == CONFIG

    @pytest.mark.parametrize("preset", [None, "fast"])
    @pytest.mark.parametrize("kind", STAGED)
    def test_a_staged_search_returns_the_entries_that_survive(
        self, kind: str, preset: str | None
    ) -> None:
        result = search(kind, preset=preset, max_steps=FIXED_STEPS + 3)
        J = len(result.labels)
        assert 0 < J <= len(search(kind, preset=preset, max_steps=0).labels)
        assert result.components.shape == (64, J)
        assert result.activations.shape == (J, self.T)
        assert result.source_activations.shape == (3, self.T)
        assert result.reconstruction().shape == (64, self.T)
        assert (np.diff(result.labels) >= 0).all()
        assert set(result.labels) <= set(range(3))
        if kind == "nmf":
            assert result.log_likelihoods is None
        else:
            assert result.log_likelihoods.shape == (J,)

    @pytest.mark.parametrize("kind", STAGED)
    def test_a_staged_search_begins_with_every_entry(self, kind: str) -> None:
        made = dictionary(kind)
        n_entries = made.W.shape[1] if kind == "nmf" else made.start_codes().shape[:2].numel()
        result = search(kind, max_steps=0)
        assert result.activations.shape == (n_entries, self.T)
        X = spectrogram_of_tone().values
        level = X.mean() / (result.components.mean() * n_entries)
        np.testing.assert_allclose(result.activations, level, rtol=1e-5)

    @every_search
    def test_history_begins_with_the_initial_cost(self, kind: str, preset: str | None) -> None:
        result = search(kind, preset=preset, max_steps=4)
        assert result.n_steps == 4
        assert result.history.shape == (5,)
        assert result.history.dtype == np.float64
        assert result.stop_reason == "max_steps"

    @pytest.mark.parametrize("max_steps", [3, FIXED_STEPS + 3])
    @every_search
    def test_last_cost_belongs_to_the_returned_state(
        self, kind: str, preset: str | None, max_steps: int
    ) -> None:
        options = {"preset": preset, "max_steps": max_steps, "precision": "float64"}
        result = search(kind, tone(dtype=np.float64), penalty=0.0, **options)
        X = spectrogram_of_tone(np.float64).values
        assert np.linalg.norm(X - result.reconstruction()) == pytest.approx(
            result.history[-1], rel=1e-9
        )

    @every_search
    def test_components_and_activations_are_not_negative(
        self, kind: str, preset: str | None
    ) -> None:
        result = search(kind, preset=preset, max_steps=20, step_size=0.1)
        assert result.components.min() >= 0
        assert result.activations.min() >= 0

    @pytest.mark.parametrize("kind", ["dds1", "dds2", "dds3"])
    def test_initial_log_likelihood_is_that_of_the_zero_code(self, kind: str) -> None:
        likelihoods = search(kind, max_steps=0, preset="paper").log_likelihoods
        np.testing.assert_allclose(likelihoods, -0.5 * np.log(2 * np.pi), rtol=1e-6)

    @pytest.mark.parametrize("kind", ["dds1", "dds2", "dds3"])
    def test_initial_activations_follow_the_mean_energy(self, kind: str) -> None:
        result = search(kind, max_steps=0, preset="paper")
        X = spectrogram_of_tone().values
        bound = np.sqrt(X.mean() / len(result.activations))
        assert 0 < result.activations.min()
        assert 0.95 * bound < result.activations.max() < bound

    def test_nmf_starts_at_one_over_the_number_of_entries(self) -> None:
        result = search("nmf", max_steps=0, preset="paper")
        np.testing.assert_allclose(result.activations, 1 / 12, rtol=1e-6)

    @every_search
    def test_the_search_lowers_the_cost(self, kind: str, preset: str | None) -> None:
        history = search(kind, preset=preset, max_steps=60, step_size=1e-2).history
        assert history[-1] < 0.95 * history[0]

    def test_unpacks_as_components_and_activations(self) -> None:
        result = search()
        components, activations = result
        assert components is result.components
        assert activations is result.activations

    def test_rows_are_ordered_by_source(self) -> None:
        assert search("dds2", preset="paper").labels.tolist() == [0, 0, 1, 1, 2, 2]
        assert search("nmf", preset="paper").labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4

    @every_search
    def test_source_activations_are_rescaled_and_summed(
        self, kind: str, preset: str | None
    ) -> None:
        result = search(kind, preset=preset)
        norms = np.linalg.norm(result.components, axis=-2)
        norms = np.where(norms == 0, 1, norms)
        rescaled = result.activations * (norms if kind == "dds1" else norms[:, None])
        expected = [rescaled[result.labels == s].sum(0) for s in range(3)]
        np.testing.assert_allclose(result.source_activations, expected, rtol=1e-5, atol=1e-7)

    @pytest.mark.parametrize("kind", KINDS)
    def test_components_can_be_dropped(self, kind: str) -> None:
        kept, dropped = search(kind), search(kind, keep_components=False)
        assert dropped.components is None
        np.testing.assert_array_equal(dropped.activations, kept.activations)
        with pytest.raises(ValueError, match="keep_components"):
            dropped.reconstruction()

    def test_times_are_frame_centres(self) -> None:
        assert search().times[:3].tolist() == [0.0, 0.004, 0.008]

    def test_detection_comes_from_the_dictionary(self) -> None:
        by_kind = {"dds3": {"upper": 0.25, "lower": 0.1, "min_duration": 0.05}, "dds2": {}}
        calibrated = dictionary("dds3", detection=by_kind)
        result = decompose(tone(), calibrated, sr=16000, n_components=1, max_steps=0)
        assert result.detection == Detection(0.25, 0.1, min_duration=0.05)
        assert search().detection is None

    def test_one_threshold_of_an_old_dictionary_is_both(self) -> None:
        calibrated = dictionary("dds3", threshold={"dds3": 0.25, "dds2": 7.0})
        assert calibrated.detection == Detection(0.25, 0.25)


class TestSources:
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_array_dtype_is_the_results_dtype(self, dtype: type) -> None:
        result = search(source=tone(dtype=dtype))
        for array in (*result, result.source_activations, result.log_likelihoods):
            assert isinstance(array, np.ndarray)
            assert array.dtype == dtype

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_tensor_in_tensor_out(self, dtype: torch.dtype) -> None:
        waveform = torch.from_numpy(tone()).to(dtype)
        result = search(source=waveform)
        for tensor in (*result, result.source_activations, result.log_likelihoods):
            assert isinstance(tensor, torch.Tensor)
            assert tensor.dtype == dtype
            assert not tensor.requires_grad
        assert isinstance(result.reconstruction(), torch.Tensor)
        array = search(source=waveform.numpy())
        np.testing.assert_array_equal(result.activations.numpy(), array.activations)

    def test_tensor_that_requires_grad(self) -> None:
        waveform = torch.from_numpy(tone()).requires_grad_()
        assert_same(search(source=waveform), search(source=waveform.detach()))

    def test_float16_waveforms_are_decomposed(self) -> None:
        result = search(source=tone(dtype=np.float16))
        assert np.isfinite(result.activations).all()

    @pytest.mark.parametrize("as_type", [str, Path], ids=["str", "Path"])
    def test_path(self, tmp_path: Path, as_type: type) -> None:
        path = tmp_path / "tone.wav"
        soundfile.write(path, tone(), 16000, subtype="FLOAT")
        result = decompose(as_type(path), dictionary("dds3"), n_components=2, max_steps=3)
        assert result.activations.dtype == np.float32
        assert_same(result, search())

    def test_spectrogram_equals_its_waveform(self) -> None:
        assert_same(search(source=spectrogram_of_tone()), search())

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_spectrogram_dtype(self, dtype: type) -> None:
        assert search(source=spectrogram_of_tone(dtype)).activations.dtype == dtype

    def test_tensor_spectrogram(self) -> None:
        given = spectrogram_of_tone()
        result = search(source=Spectrogram(torch.from_numpy(given.values), CONFIG))
        assert isinstance(result.activations, torch.Tensor)
        np.testing.assert_array_equal(result.activations.numpy(), search(source=given).activations)

    @pytest.mark.parametrize("view", ["reversed", "read-only", "strided"])
    def test_unusual_views_of_a_spectrogram(self, view: str, recwarn: Any) -> None:
        values = np.asfortranarray(spectrogram_of_tone().values)
        if view == "reversed":
            values = values[:, ::-1]
        elif view == "strided":
            values = values[:, ::2]
        else:
            values.flags.writeable = False
        result = search(source=Spectrogram(values, CONFIG))
        plain = search(source=Spectrogram(np.ascontiguousarray(values), CONFIG))
        np.testing.assert_allclose(result.activations, plain.activations, rtol=1e-4, atol=1e-6)
        assert [str(w.message) for w in recwarn] == []

    def test_the_source_is_not_changed(self) -> None:
        waveform, given = tone(), spectrogram_of_tone()
        values = given.values.copy()
        search(source=waveform)
        search(source=given)
        np.testing.assert_array_equal(waveform, tone())
        np.testing.assert_array_equal(given.values, values)

    def test_channels_are_averaged_and_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        stereo = np.stack([1.5 * tone(), 0.5 * tone()])
        with caplog.at_level(logging.INFO, logger="dds_fast"):
            result = search(source=stereo)
        assert "averaging 2 channels" in caplog.text
        np.testing.assert_allclose(result.activations, search().activations, rtol=1e-4, atol=1e-6)

    def test_other_rates_are_resampled(self) -> None:
        waveform = tone(2 * 3200, sr=32000)
        result = decompose(waveform, dictionary("dds3"), sr=32000, n_components=2, max_steps=0)
        X, mine = spectrogram_of_tone().values, result.gain * result.stft
        assert result.n_samples == 3200
        inner = slice(3, -3)
        np.testing.assert_allclose(
            audio.compress(np.abs(mine[1:]), CONFIG)[5:40, inner], X[5:40, inner], atol=0.02
        )

    @pytest.mark.parametrize("container", [list, tuple])
    def test_a_list_gives_a_list_of_the_single_results(self, container: type) -> None:
        sources = [tone(), tone(2000, 700.0, dtype=np.float64), spectrogram_of_tone()]
        results = search(source=container(sources))
        assert isinstance(results, list)
        assert [r.activations.shape[1] for r in results] == [51, 32, 51]
        for source, result in zip(sources, results, strict=True):
            assert_same(result, search(source=source))

    def test_recordings_searched_together_give_the_single_results(
        self, triton_device: torch.device
    ) -> None:
        """The kinds: tests/search/test_gradient_triton.py."""
        flow = RealNVPBank(2, CONFIG.n_features, n_steps=1, width=4, depth=1)
        small = dds_fast.Dictionary.from_flow(flow, sources=[60, 64], spectrogram=CONFIG)
        options = {"sr": 16000, "n_components": 1, "max_steps": 1, "preset": "paper"}
        on_device = {**options, "device": triton_device, "backend": "triton"}
        recordings = [tone(300), 0 * tone(300), tone(200, 700.0)]
        with pytest.warns(UserWarning, match="silent"):
            together = decompose(recordings, small, **on_device)
        assert [r.stop_reason for r in together] == ["max_steps", "silent", "max_steps"]
        for result, recording in zip(together[::2], recordings[::2], strict=True):
            alone = decompose(recording, small, **options)
            np.testing.assert_allclose(result.history, alone.history, rtol=1e-6)
            np.testing.assert_allclose(result.activations, alone.activations, atol=1e-6)

    def test_a_list_of_one_gives_a_list_of_one(self) -> None:
        assert len(search(source=[tone()])) == 1

    def test_dictionary_by_path(self, tmp_path: Path) -> None:
        path = tmp_path / "dictionary.safetensors"
        dictionary("dds3").save(path)
        for given in (path, str(path)):
            result = decompose(tone(), given, sr=16000, n_components=2, max_steps=3)
            assert_same(result, search())


class TestSettings:
    OWN = {"max_steps": 2, "step_size": 0.02, "penalty": 0.003, "n_components": 4}

    def with_settings(self, **options: Any) -> dict[str, Any]:
        made = dictionary("dds2", search={"dds2": self.OWN, "dds1": {"max_steps": 5}})
        settings = decompose(tone(), made, sr=16000, **options).settings
        return {name: settings[name] for name in self.OWN}

    def test_none_means_the_dictionarys_own(self) -> None:
        assert self.with_settings() == self.OWN

    def test_explicit_arguments_win(self) -> None:
        given = {"max_steps": 1, "step_size": 0.5, "penalty": 0.0, "n_components": 1}
        assert self.with_settings(**given) == given
        assert self.with_settings(n_components=3) == {**self.OWN, "n_components": 3}

    @pytest.mark.parametrize("preset", ["fast", "paper"])
    def test_explicit_arguments_win_over_a_preset(self, preset: str) -> None:
        given = {"max_steps": 1, "step_size": 0.5, "penalty": 0.25, "n_components": 1}
        assert self.with_settings(preset=preset, **given) == given

    def test_preset_paper(self) -> None:
        assert self.with_settings(preset="paper", max_steps=1) == {
            "max_steps": 1,
            "step_size": 1e-3,
            "penalty": 1e-4,
            "n_components": 20,
        }

    @pytest.mark.parametrize(
        ("kind", "expected"),
        [
            ("nmf", (1000, 1e-2, 0.0, None)),
            ("dds1", (1000, 1e-3, 1e-4, None)),
            ("dds2", (1000, 1e-3, 1e-4, 20)),
            ("dds3", (1000, 1e-3, 1e-4, 20)),
        ],
    )
    def test_the_papers_settings_by_kind(self, kind: str, expected: tuple) -> None:
        silence = Spectrogram(np.zeros((64, 1), np.float32), CONFIG)
        with pytest.warns(UserWarning, match="silent"):
            settings = decompose(silence, dictionary(kind), preset="paper").settings
        names = ("max_steps", "step_size", "penalty", "n_components")
        assert tuple(settings[name] for name in names) == expected

    @pytest.mark.parametrize("kind", STAGED)
    def test_preset_fast_leaves_entries_as_they_are(self, kind: str) -> None:
        made = dictionary(kind)
        start, result = (
            decompose(tone(), made, sr=16000, preset="fast", max_steps=n) for n in (0, None)
        )
        assert (result.settings["algorithm"], result.settings["adapt"]) == ("staged", False)
        assert result.n_steps == result.settings["max_steps"] == FAST_STEPS
        entries = {entry.tobytes() for entry in start.components.T}
        assert {entry.tobytes() for entry in result.components.T} <= entries

    def test_preset_fast_keeps_what_else_a_dictionary_says(self) -> None:
        assert self.with_settings(preset="fast") == {**self.OWN, "max_steps": FAST_STEPS}

    def test_preset_fast_needs_a_staged_search(self) -> None:
        with pytest.raises(ValueError, match="fast.*dds1"):
            search("dds1", preset="fast")

    @pytest.mark.parametrize("kind", KINDS)
    def test_the_default_is_staged_where_there_is_a_staged_search(self, kind: str) -> None:
        algorithm = search(kind, max_steps=0).settings["algorithm"]
        assert algorithm == ("staged" if kind in STAGED else "gradient")

    def test_settings_belong_to_a_kind(self) -> None:
        made = dictionary("dds2", search={"dds2": self.OWN, "dds1": {"max_steps": 5}})
        assert made.as_kind("dds1").search.max_steps == 5
        assert made.as_kind("dds1").search.step_size == 1e-3

    def test_n_components_sets_the_number_of_rows(self) -> None:
        assert search("dds2", n_components=1, preset="paper").activations.shape[0] == 3
        assert search("dds3", n_components=5, preset="paper").activations.shape[0] == 15

    @pytest.mark.parametrize("kind", WITH_COMPONENTS)
    def test_n_components_are_the_most_entries_that_a_source_adapts(self, kind: str) -> None:
        result = search(kind, n_components=3, max_steps=FIXED_STEPS + 1)
        counts = np.bincount(result.labels, minlength=3)
        assert 1 <= counts.max() <= 3

    @pytest.mark.parametrize("kind", ["nmf", "dds1"])
    def test_n_components_without_meaning_is_an_error(self, kind: str) -> None:
        with pytest.raises(ValueError, match=f"n_components.*{kind}"):
            search(kind, n_components=2)

    def test_penalty_without_meaning_is_an_error(self) -> None:
        with pytest.raises(ValueError, match="penalty.*nmf"):
            search("nmf", penalty=0.1)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("n_components", 0),
            ("n_components", 1.5),
            ("max_steps", -1),
            ("max_steps", 2.5),
            ("step_size", 0.0),
            ("step_size", -1e-3),
            ("step_size", float("nan")),
            ("step_size", float("inf")),
            ("penalty", -1.0),
            ("penalty", float("nan")),
            ("penalty", float("inf")),
            ("precision", "half"),
            ("likelihood", "prior"),
            ("preset", "quick"),
        ],
    )
    def test_bad_values_are_named(self, name: str, value: object) -> None:
        with pytest.raises(ValueError, match=name):
            search(**{name: value})

    @pytest.mark.parametrize(
        ("name", "value", "choices"),
        [
            ("precision", "half", ("float64", "float32", "tf32", "bf16x3", "bfloat16")),
            ("likelihood", "prior", ("latent", "data")),
            ("preset", "quick", ("fast", "paper")),
            ("backend", "abacus", ("reference",)),
        ],
    )
    def test_choices_are_listed(self, name: str, value: str, choices: tuple[str, ...]) -> None:
        with pytest.raises(ValueError, match=value) as raised:
            search(**{name: value})
        for choice in choices:
            assert choice in str(raised.value)

    def test_unknown_keyword(self) -> None:
        with pytest.raises(TypeError, match="n_component"):
            search("dds1", n_component=3)

    def test_options_are_keyword_only(self) -> None:
        with pytest.raises(TypeError, match="positional"):
            decompose(tone(), dictionary("dds1"), 16000)

    def test_data_likelihood_uses_the_log_determinant(self) -> None:
        latent = search("dds2", max_steps=0, preset="paper")
        data = search("dds2", max_steps=0, preset="paper", likelihood="data")
        frozen = dictionary("dds2").frozen(torch.float32, torch.device("cpu"))
        log_det = dds_fast.ops.flow_decode(frozen, torch.zeros(3, 2, 64))[1].flatten().numpy()
        np.testing.assert_allclose(
            data.log_likelihoods, latent.log_likelihoods - log_det / 64, rtol=1e-5
        )
        assert np.abs(log_det).max() > 1e-3

    def test_settings_survive_as_plain_numbers(self, tmp_path: Path) -> None:
        result = search(
            n_components=np.int64(2),
            max_steps=np.int32(2),
            step_size=np.float32(0.5),
            random_state=np.int64(3),
        )
        result.save(tmp_path / "result.npz")
        assert Decomposition.load(tmp_path / "result.npz").settings["max_steps"] == 2


class TestBackendsAndPrecision:
    @pytest.mark.parametrize("kind", KINDS)
    def test_backends_agree(self, kind: str) -> None:
        auto = search(kind)
        reference = search(kind, backend="reference")
        truth = search(kind, backend="reference", precision="float64")
        for result in (auto, reference):
            np.testing.assert_allclose(result.history, truth.history, rtol=1e-5)
            np.testing.assert_allclose(
                result.source_activations, truth.source_activations, rtol=2e-3, atol=2e-4
            )

    def test_float64_result_has_the_inputs_dtype(self) -> None:
        assert search(precision="float64").activations.dtype == np.float32

    def test_a_precision_that_the_backend_cannot_run_is_refused_with_the_reason(self) -> None:
        with pytest.raises(RuntimeError, match="bf16x3"):
            search(precision="bf16x3", backend="reference")

    def test_a_precision_that_no_backend_runs_lists_every_reason(self) -> None:
        with pytest.raises(RuntimeError, match="tf32") as raised:
            search(precision="tf32", device="cpu")
        assert "reference: " in str(raised.value)
        assert "cpu: " in str(raised.value)

    @pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
    def test_a_device_that_is_not_there(self) -> None:
        with pytest.raises(RuntimeError, match="CUDA"):
            search(device="cuda")

    def test_backend_by_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DDS_FAST_BACKEND", "reference")
        assert_same(search("dds2"), search("dds2", backend="reference"))
        monkeypatch.setenv("DDS_FAST_BACKEND", "abacus")
        with pytest.raises(ValueError, match="abacus"):
            search("dds2")


class TestDeterminism:
    @every_search
    def test_same_seed_same_bits(self, kind: str, preset: str | None) -> None:
        options = {"preset": preset, "max_steps": FIXED_STEPS + 2, "random_state": 5}
        assert_same(search(kind, **options), search(kind, **options))

    @pytest.mark.parametrize(("kind", "preset"), [s for s in SEARCHES if s[0] != "nmf"])
    def test_other_seed_other_result(self, kind: str, preset: str | None) -> None:
        first, second = (search(kind, preset=preset, random_state=n) for n in (5, 6))
        assert not np.array_equal(first.activations, second.activations)

    @pytest.mark.parametrize("kind", WITH_COMPONENTS)
    def test_no_seed_where_a_dictionary_has_codes(self, kind: str) -> None:
        made = dictionary(kind)
        made.codes = made.start_codes()
        options = {"sr": 16000, "max_steps": 2}
        first, second = (decompose(tone(), made, random_state=n, **options) for n in (5, 6))
        assert_same(first, second)

    def test_the_global_random_state_is_left_alone(self) -> None:
        torch.manual_seed(3)
        before = torch.get_rng_state()
        search()
        assert torch.equal(torch.get_rng_state(), before)

    def test_seeds_work_across_dtypes(self) -> None:
        for preset in (None, "paper"):
            single = search("dds2", max_steps=0, preset=preset)
            double = search("dds2", tone(dtype=np.float64), max_steps=0, preset=preset)
            np.testing.assert_allclose(single.activations, double.activations, rtol=1e-5)


class TestStops:
    @pytest.mark.parametrize(
        ("kind", "preset", "stages"),
        [
            ("dds1", None, ["search"] * 4),
            ("dds3", "paper", ["search"] * 4),
            ("nmf", None, ["fixed"] * FIXED_STEPS + ["reweighted"] * 3),
            ("dds2", None, ["fixed"] * FIXED_STEPS + ["adapted"] * 3),
            ("dds3", None, ["fixed"] * FIXED_STEPS + ["adapted"] * 3),
            ("dds3", "fast", ["fixed"] * FIXED_STEPS + ["reweighted"] * 3),
        ],
    )
    def test_callback_sees_every_step(
        self, kind: str, preset: str | None, stages: list[str]
    ) -> None:
        reports: list[dict[str, Any]] = []
        options = {"preset": preset, "max_steps": len(stages), "step_size": 0.01}
        result = search(kind, callback=reports.append, **options)
        assert all(set(report) == {"stage", "step", "cost", "step_size"} for report in reports)
        assert [report["stage"] for report in reports] == stages
        assert [report["step"] for report in reports] == list(range(1, len(stages) + 1))
        assert [report["cost"] for report in reports] == result.history[1:].tolist()
        falls = [0.01, 0.007, 0.004]
        expected = [0.01] * (len(stages) - 3) + (falls if "adapted" in stages else [0.01] * 3)
        assert [report["step_size"] for report in reports] == pytest.approx(expected)

    @every_search
    def test_a_callback_does_not_change_the_result(self, kind: str, preset: str | None) -> None:
        options = {"preset": preset, "max_steps": FIXED_STEPS + 2}
        assert_same(search(kind, callback=lambda report: None, **options), search(kind, **options))

    @pytest.mark.parametrize("kind", STAGED)
    def test_max_steps_can_end_in_the_fixed_stage(self, kind: str) -> None:
        reports: list[dict[str, Any]] = []
        result = search(kind, callback=reports.append, max_steps=2)
        assert (result.n_steps, result.stop_reason) == (2, "max_steps")
        assert {report["stage"] for report in reports} == {"fixed"}

    @pytest.mark.parametrize("no", [False, np.False_], ids=["bool", "numpy-bool"])
    def test_callback_stops(self, no: Any) -> None:
        result = search(callback=lambda report: no if report["step"] == 2 else True, max_steps=9)
        assert result.stop_reason == "callback"
        assert result.n_steps == 2
        np.testing.assert_array_equal(result.activations, search(max_steps=2).activations)

    @pytest.mark.parametrize("answer", [None, True, 0, ""], ids=repr)
    def test_only_false_stops(self, answer: object) -> None:
        result = search(callback=lambda report: answer, max_steps=3)
        assert (result.stop_reason, result.n_steps) == ("max_steps", 3)

    @every_search
    def test_interruption_returns_what_was_reached(self, kind: str, preset: str | None) -> None:
        def interrupt(report: dict[str, Any]) -> None:
            if report["step"] == 2:
                raise KeyboardInterrupt

        result = search(kind, preset=preset, callback=interrupt, max_steps=50)
        assert result.stop_reason == "interrupted"
        assert result.n_steps == 2
        assert_same(result, search(kind, preset=preset, max_steps=2))

    def test_interruption_ends_a_list(self) -> None:
        def interrupt(report: dict[str, Any]) -> None:
            raise KeyboardInterrupt

        results = search(source=[tone(), tone(), tone()], callback=interrupt)
        assert [result.stop_reason for result in results] == ["interrupted"]

    def test_errors_of_the_callback_are_not_swallowed(self) -> None:
        def fail(report: dict[str, Any]) -> None:
            raise RuntimeError("the callback's own trouble")

        with pytest.raises(RuntimeError, match="the callback's own trouble"):
            search(callback=fail)

    @every_search
    def test_max_steps_zero(self, kind: str, preset: str | None) -> None:
        result = search(kind, preset=preset, max_steps=0)
        assert result.n_steps == 0
        assert result.history.shape == (1,)
        assert result.stop_reason == "max_steps"
        assert result.activations.any()

    @pytest.mark.parametrize("preset", [None, "paper"])
    def test_more_steps_continue_the_same_path(self, preset: str | None) -> None:
        short, long = (search(preset=preset, max_steps=n) for n in (2, 6))
        np.testing.assert_array_equal(long.history[:3], short.history)

    def test_reported_step_sizes_follow_the_schedule(self) -> None:
        sizes: list[float] = []
        result = search(
            "nmf",
            preset="paper",
            max_steps=60,
            step_size=1.0,
            callback=lambda report: sizes.append(report["step_size"]),
        )
        controller, expected = Controller(Schedule(1.0, 60)), []
        for cost in result.history:
            controller.observe(cost)
            expected.append(controller.step_size)
        assert sizes == expected[1:]
        assert sizes[-1] == 0.5

    def test_non_finite_costs_stop_with_a_warning(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.WARNING, logger="dds_fast"):
            result = search("dds2", step_size=1e38, max_steps=20)
        assert result.stop_reason == "non-finite"
        assert result.n_steps < 20
        assert "non-finite" in caplog.text
        assert result.notes() == []

    @pytest.mark.parametrize("progress", [False, True])
    def test_progress_bar_only_on_request(
        self,
        progress: bool,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("dds_fast.progress.BETWEEN_LINES", 1e-6)
        search(progress=progress)
        captured = capsys.readouterr()
        assert captured.out == ""
        assert ("0.2/0.2 s of sound" in captured.err) is progress


class TestSilence:
    @pytest.mark.parametrize("kind", KINDS)
    def test_silence_has_no_activations(self, kind: str) -> None:
        with pytest.warns(UserWarning, match="silent"):
            result = search(kind, np.zeros(3200, np.float32))
        assert result.stop_reason == "silent"
        assert result.n_steps == 0
        assert not result.activations.any()
        assert not result.source_activations.any()
        assert result.notes() == []

    def test_silent_spectrogram(self) -> None:
        with pytest.warns(UserWarning, match="silent"):
            result = search(source=Spectrogram(np.zeros((64, 5)), CONFIG))
        assert result.activations.dtype == np.float64
        assert not result.activations.any()

    def test_silence_in_a_list_leaves_the_others_alone(self) -> None:
        with pytest.warns(UserWarning, match="silent"):
            silent, loud = search(source=[np.zeros(3200, np.float32), tone()])
        assert silent.stop_reason == "silent"
        assert_same(loud, search())


class TestBadInput:
    @pytest.mark.parametrize(
        ("source", "message"),
        [
            (np.zeros(3200, np.int16), r"int16.*32768"),
            (torch.zeros(3200, dtype=torch.int32), "int32"),
            (np.array([], np.float32), "empty"),
            (np.array(1.0, np.float32), r"\(\)"),
            (np.zeros((3200, 2), np.float32), "ambiguous"),
            (np.zeros((64, 20), np.float32), "ambiguous.*Spectrogram"),
            (np.zeros((9, 3200), np.float32), "at most 8 channels"),
            (np.zeros((2, 3, 3200), np.float32), r"\(2, 3, 3200\)"),
            (np.ones(127, np.float32), "127 samples.*window of 128"),
            (42, "int"),
            (None, "NoneType"),
            ([], "empty"),
            ({"a": 1}, "dict"),
        ],
        ids=[
            "int16",
            "int-tensor",
            "empty",
            "0-d",
            "transposed-stereo",
            "bare-spectrogram",
            "nine-channels",
            "3-d",
            "short",
            "number",
            "none",
            "empty-list",
            "dict",
        ],
    )
    def test_sources(self, source: Any, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            decompose(source, dictionary("dds1"), sr=16000)

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf], ids=str)
    def test_non_finite_samples_are_counted_and_placed(self, bad: float) -> None:
        waveform = tone()
        waveform[[700, 1234, 5]] = bad
        with pytest.raises(ValueError, match="3 NaN or infinite.*sample 5"):
            search(source=waveform)

    def test_first_bad_sample_of_any_channel(self) -> None:
        stereo = np.stack([tone(), tone()])
        stereo[0, 900], stereo[1, 80] = np.nan, np.inf
        with pytest.raises(ValueError, match="2 NaN or infinite.*sample 80"):
            search(source=stereo)

    @pytest.mark.parametrize("sr", [0, -16000, float("nan"), float("inf")], ids=str)
    def test_bad_sampling_rate(self, sr: float) -> None:
        with pytest.raises(ValueError, match="sampling rate"):
            decompose(tone(), dictionary("dds1"), sr=sr)

    @pytest.mark.parametrize("make", [np.asarray, torch.from_numpy], ids=["array", "tensor"])
    def test_waveform_without_sampling_rate(self, make: Any) -> None:
        with pytest.raises(ValueError, match="sr="):
            decompose(make(tone()), dictionary("dds1"))

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            (np.zeros((63, 5)), r"\(64, T\).*\(63, 5\)"),
            (np.zeros((5, 64)), r"\(64, T\).*\(5, 64\)"),
            (np.zeros(64), r"\(64, T\)"),
            (np.zeros((64, 0)), "T > 0"),
            (np.zeros((64, 5), np.int64), "int64"),
            (np.zeros((64, 5), bool), "bool"),
            (np.zeros((64, 5), complex), "complex"),
        ],
        ids=["bins", "transposed", "1-d", "no-frames", "int", "bool", "complex"],
    )
    def test_spectrograms(self, values: np.ndarray, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            decompose(Spectrogram(values, CONFIG), dictionary("dds1"))

    def test_negative_spectrogram(self) -> None:
        values = spectrogram_of_tone().values
        values[3, 7], values[1, 4] = -0.1, -1.0
        with pytest.raises(ValueError, match="2 negative.*frame 4"):
            search(source=Spectrogram(values, CONFIG))

    def test_spectrogram_with_nan(self) -> None:
        values = spectrogram_of_tone().values
        values[3, 7] = values[1, 9] = np.nan
        with pytest.raises(ValueError, match="2 NaN or infinite.*frame 7"):
            search(source=Spectrogram(values, CONFIG))

    @pytest.mark.parametrize(
        "change", [{"hop": 32}, {"sr": 8000}, {"gamma": 1e3}, {"n_fft": 256}], ids=str
    )
    def test_spectrogram_of_another_config(self, change: dict[str, Any]) -> None:
        other = SpectrogramConfig(**{"n_fft": 128, "hop": 64, **change})
        values = np.zeros((other.n_features, 5))
        with pytest.raises(ValueError, match=f"{next(iter(change))}.*dictionary"):
            search(source=Spectrogram(values, other))

    def test_missing_recording(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="gone.wav"):
            search(source=tmp_path / "gone.wav")

    def test_missing_dictionary(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="gone.safetensors"):
            decompose(tone(), tmp_path / "gone.safetensors", sr=16000)

    def test_a_file_that_is_not_audio(self, tmp_path: Path) -> None:
        path = tmp_path / "notes.wav"
        path.write_text("these are not samples")
        with pytest.raises(ValueError, match="notes.wav.*not a readable audio file"):
            search(source=path)


class TestBatches:
    """A bad recording of a list costs the others nothing."""

    BAD = np.full(3200, np.nan, np.float32)

    @every_search
    def test_the_others_come_with_the_error(self, kind: str, preset: str | None) -> None:
        sources = [tone(), self.BAD, tone(frequency=220.0), "gone.wav"]
        with pytest.raises(dds_fast.BatchError) as raised:
            search(kind, sources, preset=preset)
        first, bad, third, gone = raised.value.results
        assert bad is None and gone is None
        assert_same(first, search(kind, preset=preset))
        assert_same(third, search(kind, tone(frequency=220.0), preset=preset))
        nan, missing = raised.value.errors[1], raised.value.errors[3]
        assert isinstance(nan, ValueError) and isinstance(missing, FileNotFoundError)
        message = r"^2 of 4 recordings failed: source 1: .*NaN.*; source 3: .*gone\.wav"
        assert re.match(message, str(raised.value))

    def test_a_batch_error_can_be_sent(self) -> None:
        with pytest.raises(ValueError, match="1 of 1") as raised:
            search(source=[self.BAD])
        sent = pickle.loads(pickle.dumps(raised.value))
        assert sent.results == [None] and str(sent) == str(raised.value)

    def test_a_search_may_fail_too(self) -> None:
        n_calls = 0

        def fail(report: dict[str, Any]) -> None:
            nonlocal n_calls
            n_calls += 1
            if n_calls == 2:
                raise MemoryError

        with pytest.raises(dds_fast.BatchError, match="source 0: .*GiB") as raised:
            search(source=[tone(), tone()], callback=fail)
        assert raised.value.results[0] is None
        assert_same(raised.value.results[1], search())

    def test_those_searched_together_are_tried_apart(self, monkeypatch: pytest.MonkeyPatch) -> None:
        engine = choose_engine("dds3")

        def search_one(problems: Any, *arguments: Any) -> Any:
            if len(problems) > 1:
                raise MemoryError
            return engine_search(problems, *arguments)

        engine_search = engine.search
        monkeypatch.setattr(engine, "TOGETHER", 3)
        monkeypatch.setattr(engine, "search", search_one)
        results = search(source=[tone(), tone(), tone(frequency=220.0), tone()])
        for result in (results[0], results[1], results[3]):
            assert_same(result, search())

    def test_what_is_wrong_with_the_call_is_raised_at_once(self) -> None:
        with pytest.raises(RuntimeError, match="float64"):
            search(source=[tone(), tone()], precision="float64", backend="cpu")

    def test_interruption_gives_what_there_is(self) -> None:
        def interrupt(report: dict[str, Any]) -> None:
            raise KeyboardInterrupt

        with pytest.raises(dds_fast.BatchError) as raised:
            search(source=[self.BAD, tone(), tone()], callback=interrupt)
        assert [r and r.stop_reason for r in raised.value.results] == [None, "interrupted"]


class TestMemory:
    @pytest.mark.parametrize(
        ("kind", "advice"),
        [("nmf", "fewer frames"), ("dds1", "dds2"), ("dds2", "n_components")],
    )
    def test_out_of_memory_says_the_size_and_what_lowers_it(self, kind: str, advice: str) -> None:
        def fail(report: dict[str, Any]) -> None:
            raise MemoryError

        with pytest.raises(MemoryError, match=rf"\d GiB.*{advice}"):
            search(kind, callback=fail)

    def test_a_search_that_cannot_be_allocated(self) -> None:
        with pytest.raises(MemoryError, match=r"GiB.*n_components"):
            search("dds2", n_components=10**12, preset="paper")
