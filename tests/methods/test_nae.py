"""Non-negative autoencoders: costs, training, files, inference, separation, constraints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.special
import torch
from studies import five_notes
from torch import Tensor
from torch.nn import functional

import dds_fast
from dds_fast import SpectrogramConfig, audio, metrics
from dds_fast.methods import nae
from dds_fast.methods.nae import inference, training
from dds_fast.methods.nae.constrained import UPDATES
from dds_fast.methods.nae.layers import ACTIVATIONS, EPSILON, divergence
from dds_fast.methods.nae.rprop import minimise
from dds_fast.ops import multiplicative_update

CONFIG = SpectrogramConfig(n_fft=256, hop=64, gamma=0, window="sqrt_hann")
DATA = Path(__file__).parents[3] / "shared" / "data"
G = {"softplus": functional.softplus, "relu": torch.relu, "abs": torch.abs}


def random(*shape: int, random_state: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(random_state)
    return torch.rand(shape, generator=generator, dtype=torch.float64)


def low_rank(F: int = 30, K: int = 4, T: int = 50) -> Tensor:
    return random(F, K) ** 3 @ random(K, T, random_state=1) ** 3


def decoded(model: nae.NAE, H: Tensor) -> Tensor:
    """The decoder, written out."""
    for W in model.decoder:
        H = G[model.activation](W @ H)
    return model.scale * H


def rising(parameter: Tensor) -> Tensor:
    """Zero, with the gradient one."""
    return (parameter - parameter.detach()).sum()


@pytest.fixture(scope="module")
def tones() -> dict[str, np.ndarray]:
    return {str(f): np.sin(np.arange(8000) * f / 2500) for f in (500, 1500)}


@pytest.fixture(scope="module")
def models(tones: dict[str, np.ndarray]) -> dict[str, nae.NAE]:
    return {
        name: nae.fit(audio.spectrogram(tone, CONFIG).values, 2, n_steps=200, spectrogram=CONFIG)
        for name, tone in tones.items()
    }


@pytest.fixture(scope="module")
def melody() -> np.ndarray:
    if not (DATA / "isol" / "real_steinway").is_dir():
        pytest.skip("needs the development recordings")
    return audio.spectrogram(five_notes.melody(DATA), five_notes.CONFIG).values


class TestCosts:
    def test_divergence_is_scipys(self) -> None:
        X, X_hat = low_rank(), random(30, 50, random_state=2)
        X[3, 4] = 0
        expected = scipy.special.kl_div(X.numpy(), X_hat.numpy() + EPSILON).sum()
        assert float(divergence(X, X_hat)) == pytest.approx(expected, rel=1e-12)

    @pytest.mark.parametrize("depth", [1, 2, 3])
    @pytest.mark.parametrize("activation", ACTIVATIONS)
    def test_training(self, activation: str, depth: int) -> None:
        X, sizes = low_rank(), [30, *[4] * (2 * depth - 1), 30]
        weights = [
            random(b, a, random_state=i) - 0.4
            for i, (a, b) in enumerate(zip(sizes, sizes[1:], strict=False))
        ]
        Y, H = X, X
        for i, W in enumerate(weights):
            Y = G[activation](W @ Y)
            H = Y if i == depth - 1 else H
        expected = (torch.xlogy(X, X / (Y + EPSILON)) - X + Y + EPSILON).sum() + 0.3 * H.sum()
        value = training.cost(X, weights, activation, penalty=0.3)
        assert float(value) == pytest.approx(expected.item(), rel=1e-12)

    @pytest.mark.parametrize("kind", inference.PENALTIES)
    def test_inference(self, kind: str) -> None:
        X = low_rank()
        joint = [
            nae.NAE((random(4, 30), random(30, 4) - 0.3), "softplus", scale=0.5),
            nae.NAE((random(3, 30), random(3, 3), random(3, 3), random(30, 3) - 0.3), "abs", 2.0),
            nae.NAE((random(2, 30), random(30, 2) - 0.3), "softplus", scale=1.0),
        ]
        free = [(random(m.n_components, 50, random_state=i) - 0.5) for i, m in enumerate(joint)]
        H = [functional.softplus(A) for A in free]
        X_hat = sum(decoded(m, h) for m, h in zip(joint, H, strict=True)) / 1.5
        expected = (torch.xlogy(X, X / (X_hat + EPSILON)) - X + X_hat + EPSILON).sum()
        if kind == "l1":
            expected = expected + 0.3 * sum(h.sum() for h in H)
        else:
            a, b, c = (h.sum(0) for h in H)
            expected = expected + 0.3 * (a * b + a * c + b * c).sum()
        value = inference.cost(X, joint, free, 1.5, 0.3, kind)
        assert float(value) == pytest.approx(expected.item(), rel=1e-12)

    def test_gradient_where_the_spectrogram_is_zero(self) -> None:
        X_hat = random(3, 4).requires_grad_()
        divergence(torch.zeros(3, 4).double(), X_hat).backward()
        torch.testing.assert_close(X_hat.grad, torch.ones(3, 4).double(), rtol=0, atol=0)


class TestFit:
    @pytest.mark.parametrize("depth", [1, 2])
    @pytest.mark.parametrize("activation", ACTIVATIONS)
    def test_learns(self, activation: str, depth: int) -> None:
        X = low_rank()
        model = nae.fit(X, 4, depth=depth, activation=activation, n_steps=300)
        assert (model.n_features, model.n_components, model.depth) == (30, 4, depth)
        assert model.divergence(X) < 0.1 * float(divergence(X, X.mean()))
        H = model.encode(X)
        assert H.min() >= 0 and model.decode(H).min() >= 0
        torch.testing.assert_close(model.decode(H), decoded(model, H))

    def test_keeps_the_least_cost(self) -> None:
        X = low_rank()
        model = nae.fit(X, 4, penalty=0.1, n_steps=60, tolerance=0.0)
        assert len(model.history) == 61 and model.stop_reason == "max_steps"
        expected = model.divergence(X) / model.scale + 0.1 * float(model.encode(X).sum())
        assert model.history.min() == pytest.approx(expected, rel=1e-9)

    def test_loudness_does_not_matter_and_level_is_the_mean(self) -> None:
        X = low_rank()
        soft, loud = nae.fit(X, 4, n_steps=40), nae.fit(1024 * X, 4, n_steps=40)
        torch.testing.assert_close(soft.weights, loud.weights, rtol=0, atol=0)
        assert loud.divergence(1024 * X) == pytest.approx(1024 * soft.divergence(X), rel=1e-12)
        assert nae.fit(X, 4, level=8.0, n_steps=0).scale == pytest.approx(float(X.mean()) / 8)

    def test_penalty_makes_activations_smaller(self) -> None:
        X = low_rank()
        free, sparse = (nae.fit(X, 4, penalty=p, n_steps=200) for p in (0.0, 10.0))
        assert sparse.encode(X).sum() < 0.1 * free.encode(X).sum()
        assert sparse.divergence(X) > free.divergence(X)

    def test_seed(self) -> None:
        X = low_rank()
        a, b, c = (nae.fit(X, 4, n_steps=20, random_state=n).weights[0] for n in (0, 0, 1))
        assert torch.equal(a, b) and not torch.equal(a, c)

    def test_kind_and_dtype_come_back(self) -> None:
        X = low_rank().numpy().astype(np.float32)
        model = nae.fit(X, 2, n_steps=5)
        assert model.weights[0].dtype == torch.float32
        assert isinstance(model.encode(X), np.ndarray) and model.encode(X).dtype == np.float32
        assert isinstance(model.encode(torch.tensor(X)), Tensor)
        assert model.decode(np.ones((2, 3))).dtype == np.float64

    def test_stops(self) -> None:
        assert nae.fit(low_rank(), 4, n_steps=500, tolerance=0.5).stop_reason == "converged"

    def test_non_finite_cost_stops_at_the_best(self) -> None:
        parameter = torch.zeros(1)
        costs = iter([3.0, 2.0] + [float("nan")] * 100)
        history, reason = minimise(
            [parameter],
            lambda: next(costs) + rising(parameter),
            n_steps=50,
            tolerance=0.0,
            progress=False,
        )
        assert reason == "non-finite" and float(parameter) == pytest.approx(-1e-3)

    def test_ctrl_c_keeps_the_best(self) -> None:
        parameter, costs = torch.zeros(1), iter([3.0, 2.0])

        def evaluate() -> Tensor:
            try:
                return next(costs) + rising(parameter)
            except StopIteration:
                raise KeyboardInterrupt from None

        history, reason = minimise([parameter], evaluate, n_steps=9, tolerance=0.0, progress=False)
        assert reason == "interrupted" and list(history) == [3, 2]

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"X": -low_rank()}, "X holds 1500 negative"),
            ({"X": low_rank()[0]}, "X must be a matrix of floats"),
            ({"X": torch.zeros(4, 5)}, "silent"),
            ({"X": torch.full((4, 5), torch.nan)}, "NaN"),
            ({"activation": "tanh"}, "activation must be one of"),
            ({"n_components": 0}, "n_components must be at least 1"),
            ({"depth": 0}, "depth must be at least 1"),
            ({"penalty": -1.0}, "penalty must be at least 0"),
            ({"level": 0.0}, "level must be"),
        ],
    )
    def test_bad_arguments(self, change: dict, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            nae.fit(**{"X": low_rank(), "n_components": 3} | change)

    @pytest.mark.gpu
    def test_gpu(self) -> None:
        X = low_rank()
        there, here = (nae.fit(X, 4, n_steps=30, device=d) for d in ("cuda", "cpu"))
        assert there.weights[0].is_cuda
        assert there.divergence(X) == pytest.approx(here.divergence(X), rel=1e-6)
        H, _ = nae.activations(X, there, n_steps=30)
        assert not H.is_cuda


class TestFiles:
    def test_round_trip(self, tmp_path: Path) -> None:
        X = random(128, 20).float()
        model = nae.fit(X, 3, depth=2, n_steps=10, spectrogram=CONFIG)
        model.save(tmp_path / "model.safetensors")
        loaded = nae.load(tmp_path / "model.safetensors")
        for name in ("activation", "scale", "spectrogram", "stop_reason", "settings"):
            assert getattr(loaded, name) == getattr(model, name)
        assert np.array_equal(loaded.history, model.history)
        assert torch.equal(loaded.encode(X), model.encode(X))
        with pytest.raises(FileExistsError):
            model.save(tmp_path / "model.safetensors")

    def test_other_files_are_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "model.safetensors"
        with pytest.raises(FileNotFoundError):
            nae.load(path)
        nae.fit(random(8, 5), 2, n_steps=1).save(path)
        with pytest.raises(ValueError, match="nae.load reads it"):
            dds_fast.load(path)
        frames = {60: np.ones((3, 8), np.float32)}
        dds_fast.fit(frames, "nmf").save(path, overwrite=True)
        with pytest.raises(ValueError, match="kind 'nmf'"):
            nae.load(path)
        path.write_bytes(path.read_bytes()[:40])
        with pytest.raises(ValueError, match="not a readable"):
            nae.load(path)

    def test_parts_must_fit(self) -> None:
        with pytest.raises(ValueError, match="even number of weights"):
            nae.NAE((random(3, 8), random(8, 4)), "relu", 1.0)
        with pytest.raises(ValueError, match="8 bins"):
            nae.NAE((random(3, 8), random(8, 3)), "relu", 1.0, CONFIG)


class TestActivations:
    @pytest.mark.parametrize("depth", [1, 2])
    def test_below_the_encoder(self, depth: int) -> None:
        X = low_rank()
        model = nae.fit(X[:, :30], 4, depth=depth, n_steps=200)
        H, costs = nae.activations(X[:, 30:], model, n_steps=100)
        assert H.shape == (4, 20) and H.min() >= 0
        assert model.divergence(X[:, 30:], H) < model.divergence(X[:, 30:])
        assert model.divergence(X[:, 30:], H) == pytest.approx(costs.min() * model.scale, rel=1e-6)

    def test_finds_what_was_mixed(self) -> None:
        """With linear decoders of disjoint bins, each source gets its own."""
        X = [random(10, 2) @ random(2, 40, random_state=i) for i in (1, 2)]
        stacked = torch.cat(X)
        joint = []
        for i, part in enumerate(X):
            alone = torch.zeros_like(stacked)
            alone[10 * i : 10 * i + 10] = part
            joint.append(nae.fit(alone, 2, activation="relu", n_steps=400, tolerance=0.0))
        H, _ = nae.activations(stacked, joint, n_steps=300)
        first, second = (m.decode(h) for m, h in zip(joint, H, strict=True))
        assert (first[:10] - X[0]).norm() < 0.1 * X[0].norm()
        assert (second[10:] - X[1]).norm() < 0.1 * X[1].norm()
        assert first[10:].norm() < 0.1 * X[1].norm()

    def test_penalties(self) -> None:
        X = low_rank()
        joint = [nae.fit(X, 4, n_steps=100, random_state=n) for n in (0, 1)]

        def sums(**options: float | str) -> tuple[float, float]:
            a, b = nae.activations(X, joint, n_steps=150, **options)[0]
            return float(a.sum() + b.sum()), float((a.sum(0) * b.sum(0)).sum())

        free, l1 = sums(), sums(penalty=1.0)
        cross = sums(penalty=1.0, penalty_kind="cross")
        assert l1[0] < 0.8 * free[0]
        assert cross[1] < 0.2 * free[1]

    def test_bad_arguments(self) -> None:
        model = nae.fit(low_rank(), 3, n_steps=1)
        with pytest.raises(ValueError, match="no models"):
            nae.activations(low_rank(), [])
        with pytest.raises(ValueError, match=r"X is \(29, 50\)"):
            nae.activations(low_rank()[1:], model)
        with pytest.raises(ValueError, match="penalty_kind must be one of"):
            nae.activations(low_rank(), model, penalty_kind="l2")
        with pytest.raises(ValueError, match="takes"):
            model.encode(low_rank()[1:])


class TestSeparate:
    def dictionary(self, tones: dict[str, np.ndarray]) -> dds_fast.Dictionary:
        W = [audio.spectrogram(tone, CONFIG).values[:, [40, 60]] for tone in tones.values()]
        labels = torch.tensor([0, 0, 1, 1])
        W = torch.tensor(np.concatenate(W, axis=1))
        return dds_fast.Dictionary("nmf", list(tones), CONFIG, W=W, labels=labels)

    @pytest.mark.parametrize("method", ["nae", "nmf"])
    @pytest.mark.parametrize("reconstruction", ["mask", "model"])
    def test_tones(
        self,
        tones: dict[str, np.ndarray],
        models: dict[str, nae.NAE],
        method: str,
        reconstruction: str,
    ) -> None:
        mixture = sum(tones.values())
        how = models if method == "nae" else self.dictionary(tones)
        result = nae.separate(mixture, how, sr=16000, reconstruction=reconstruction, n_steps=150)
        assert result.names == tuple(tones)
        assert result.stems.shape == (2, 8000) and result.parts.shape == (2, 128, 126)
        assert [H.shape for H in result.activations] == [(2, 126)] * 2
        assert result.history.min() < 0.9 * result.history[0]
        scores = metrics.bss_eval(np.stack(list(tones.values())), result.stems)
        assert scores["sdr"].min() > 20
        if reconstruction == "mask":
            np.testing.assert_allclose(result.stems.sum(0), mixture, atol=1e-6)

    def test_bad_arguments(
        self, tones: dict[str, np.ndarray], models: dict[str, nae.NAE], tmp_path: Path
    ) -> None:
        mixture = sum(tones.values())
        with pytest.raises(ValueError, match="sr="):
            nae.separate(mixture, models)
        with pytest.raises(ValueError, match="reconstruction must be one of"):
            nae.separate(mixture, models, sr=16000, reconstruction="wiener")
        with pytest.raises(ValueError, match="a penalty is for autoencoders"):
            nae.separate(mixture, self.dictionary(tones), sr=16000, penalty=1.0)
        with pytest.raises(ValueError, match="same spectrogram config"):
            nae.separate(mixture, {**models, "x": nae.fit(random(8, 5), 2, n_steps=1)}, sr=16000)
        with pytest.raises(ValueError, match="same spectrogram config"):
            nae.separate(mixture, {}, sr=16000)
        with pytest.raises(ValueError, match="phase"):
            nae.separate(audio.spectrogram(mixture, CONFIG), models)


class TestConstrained:
    def test_multiplicative_rules_never_increase_the_loss(self) -> None:
        """100 random problems with random masks and zeros, in float64."""
        rng = np.random.default_rng(0)
        for _ in range(100):
            F, J, T = rng.integers(1, 25, 3)
            X = rng.random((F, T)) ** rng.integers(1, 6) * 10 ** rng.uniform(-3, 3)
            encoder, decoder = rng.random((J, F)), rng.random((F, J))
            encoder[rng.random((J, F)) < 0.2] = 0
            decoder[rng.random((F, J)) < 0.2] = 0
            mask = rng.random((J, T)) < rng.uniform(0.1, 1)
            result = nae.constrained(X, decoder, encoder=encoder, mask=mask, n_steps=60)
            # Rounding alone may show: the losses are sums of squares of X's size.
            rounding = 1e-13 * (X**2).sum()
            assert (np.diff(result.history) <= rounding).all()
            assert result.history[-1] < result.history[0]
            assert not result.encoder[encoder == 0].any()
            assert not result.decoder[decoder == 0].any()
            assert not result.activations[~mask].any()

    def test_the_decoder_rule_is_lee_and_seungs(self) -> None:
        X, W_E, W_D = low_rank(), random(4, 30), random(30, 4)
        result = nae.constrained(X, W_D, encoder=W_E, n_steps=1)
        H = result.encoder @ X
        torch.testing.assert_close(result.activations, H)
        expected = multiplicative_update(X, W_D, H, factor="W", backend="reference")
        torch.testing.assert_close(result.decoder, expected, rtol=1e-5, atol=1e-9)

    def test_projected_steps_never_increase_the_loss(self) -> None:
        for random_state in range(10):
            X, W_D = low_rank(), random(30, 4, random_state=random_state)
            mask = random(4, 50, random_state=random_state + 1) < 0.6
            result = nae.constrained(X, W_D, mask=mask, updates="projected", n_steps=50)
            assert (np.diff(result.history) <= 1e-13 * float(X.square().sum())).all()

    @pytest.mark.parametrize("updates", UPDATES)
    def test_templates_and_mask_hold(self, updates: str) -> None:
        X, allowed = low_rank(), random(30, 4, random_state=3) < 0.5
        mask = random(4, 50, random_state=4) < 0.5
        result = nae.constrained(X, allowed.double(), mask=mask, updates=updates, n_steps=30)
        assert not result.decoder[~allowed].any() and not result.activations[~mask].any()
        assert result.encoder.min() >= 0 and result.decoder.min() >= 0
        expected = (result.encoder @ X) * mask
        torch.testing.assert_close(result.activations, expected)
        loss = (X - result.reconstruction()).square().sum()
        assert result.history[-1] == pytest.approx(float(loss), rel=1e-12)

    def test_projection_without_templates_fills_zeros(self) -> None:
        W_D = random(30, 4) * (random(30, 4, random_state=3) < 0.5)
        free = nae.constrained(low_rank(), W_D, updates="projected", keep_zeros=False, n_steps=30)
        assert free.decoder[W_D == 0].any()

    def test_not_below_nmf(self) -> None:
        """H is bound to what an encoder makes of X, so the loss stays above that of NMF."""
        X, W_D = low_rank() + 0.1 * random(30, 50, random_state=7), random(30, 3)
        bound = nae.constrained(X, W_D, n_steps=500).history[-1]
        singular = torch.linalg.svdvals(X)
        assert bound >= float(singular[3:].square().sum())

    def test_tolerance_stops(self) -> None:
        assert len(nae.constrained(low_rank(), random(30, 4), tolerance=0.5).history) < 301

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"encoder": np.ones((3, 30))}, "the encoder must be"),
            ({"encoder": -np.ones((4, 30))}, "the encoder holds 120 negative"),
            ({"decoder": np.ones((29, 4))}, "shapes do not fit"),
            ({"mask": np.ones((4, 49))}, "the mask must be"),
            ({"mask": np.full((4, 50), 0.5)}, "zeros and ones"),
            ({"updates": "adam"}, "updates must be one of"),
            ({"step_size": 2.0}, "step_size must lie in"),
            ({"n_steps": -1}, "n_steps must be at least 0"),
            ({"X": -low_rank()}, "negative"),
        ],
    )
    def test_bad_arguments(self, change: dict, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            nae.constrained(**{"X": low_rank(), "decoder": random(30, 4)} | change)


class TestFiveNotes:
    """D, E flat, G, F sharp, G of a Steinway at rank 4 (benchmarks/studies/five_notes.py)."""

    def test_four_templates_and_five_events(self, melody: np.ndarray) -> None:
        found = five_notes.by_autoencoder(melody, five_notes.PENALTY)
        assert found.cosines.min() > 0.98
        notes = found.notes()
        assert [note.source for note in notes] == list(five_notes.PITCHES)
        expected = five_notes.START + five_notes.LENGTH * np.arange(5)
        # A frame is 32 ms, its window 128 ms.
        np.testing.assert_allclose([note.start for note in notes], expected, atol=0.05)

    def test_without_penalty_templates_cancel(self, melody: np.ndarray) -> None:
        free = five_notes.by_autoencoder(melody, 0.0)
        sparse = five_notes.by_autoencoder(melody, five_notes.PENALTY)
        negative = [float((found.W.clip(max=0) ** 2).sum() / 4) for found in (free, sparse)]
        assert negative[0] > 0.4 and negative[1] < 0.2
        assert free.record()["overlap"] > 3 * sparse.record()["overlap"]
