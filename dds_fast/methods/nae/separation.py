"""Supervised separation: a mixture explained by models of its sources, cut into stems."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from dds_fast import arrays, audio, nmf
from dds_fast.audio import masks
from dds_fast.audio.recordings import Source, read
from dds_fast.audio.stems import Stems
from dds_fast.audio.windows import Window
from dds_fast.methods.nae.inference import activations
from dds_fast.methods.nae.model import NAE
from dds_fast.separation import Separation

if TYPE_CHECKING:
    from dds_fast.dictionary import Dictionary

RECONSTRUCTIONS = ("mask", "model")


class ModelledSeparation(Separation):
    """Stems of a mixture, and how models of its sources explain it.

    Attributes:
        activations: H ``(K, T)`` of each source.
        parts: ``(S, F, T)`` spectrograms of the sources' models.
        history: cost, the initial one first.
        config: the spectrogram's config.

    Example:
        >>> config = audio.SpectrogramConfig(n_fft=256, hop=64, gamma=0)
        >>> model = NAE((torch.rand(2, 128), torch.rand(128, 2)), "softplus", 1.0, config)
        >>> result = separate(np.sin(np.arange(4000) / 5), {"flute": model}, sr=16000, n_steps=5)
        >>> result.stems.shape, result.names, result.activations[0].shape, result.parts.shape
        ((1, 4000), ('flute',), (2, 63), (1, 128, 63))
    """

    def __init__(
        self,
        names: Sequence[int | str],
        stems: Any,
        sr: float,
        *,
        activations: tuple[np.ndarray, ...],
        parts: np.ndarray,
        history: np.ndarray,
        config: audio.SpectrogramConfig,
    ) -> None:
        super().__init__(names, stems, sr)
        self.activations, self.parts = activations, parts
        self.history, self.config = history, config


@arrays.isolated()
def separate(
    mixture: Source,
    models: Mapping[str, NAE] | Dictionary,
    *,
    sr: float | None = None,
    penalty: float = 0.0,
    penalty_kind: str = "l1",
    reconstruction: str = "mask",
    n_steps: int = 300,
    tolerance: float = 1e-4,
    progress: bool = False,
) -> ModelledSeparation:
    """Separate a mixture into the sources that models were trained on.

    Args:
        mixture: path of an audio file, or float waveform ``(n,)`` or ``(channels, n)`` with `sr`,
            about as loud as what the models were trained on.
        models: an `NAE` per source, or for comparison an "nmf" `Dictionary`, whose activations
            are found by multiplicative Kullback-Leibler updates. All of one spectrogram config.
        sr: sampling rate of a waveform, in Hz.
        penalty, penalty_kind: regulariser of the activations, see `activations`; autoencoders
            only.
        reconstruction: "mask" for shares of the mixture's linear magnitudes, so that the stems
            sum to the mixture (Eq. 10), or "model" for the magnitudes that the models give
            themselves. Both with the mixture's phase.
        n_steps: most steps of the search for the activations.
        tolerance: see `activations` and `dds_fast.nmf.activations`.
        progress: show a progress bar; autoencoders only.

    Returns:
        A `ModelledSeparation`; the stems in the mixture's floating dtype: those of masks at its
        own rate, with its channels, those of models at the models' rate.

    Raises:
        FileNotFoundError: no such recording.
        ValueError: bad audio, no models, models without a spectrogram config or of different
            ones, a penalty with NMF, an unknown `reconstruction`.

    Source: Smaragdis and Venkataramani (arXiv 1609.03296), section 3. The printed Eq. 10 was not
    seen; both `reconstruction` are readings of its text.

    Example:
        >>> import numpy as np
        >>> from dds_fast import SpectrogramConfig, audio
        >>> from dds_fast.methods import nae
        >>> config = SpectrogramConfig(n_fft=256, hop=64, gamma=0, window="sqrt_hann")
        >>> tones = {f: np.sin(np.arange(8000) * f / 2500) for f in (500, 1500)}
        >>> models = {
        ...     str(f): nae.fit(audio.spectrogram(tone, config).values, 2, spectrogram=config)
        ...     for f, tone in tones.items()
        ... }
        >>> result = nae.separate(sum(tones.values()), models, sr=16000)
        >>> error = np.abs(result.stems[0] - tones[500])
        >>> result.stems.shape, bool(error[500:-500].max() < 0.01)
        ((2, 8000), True)
    """
    if reconstruction not in RECONSTRUCTIONS:
        raise ValueError(
            f"nae.separate: reconstruction must be one of {RECONSTRUCTIONS}, not {reconstruction!r}"
        )
    config = _config(models)
    given = read(mixture, sr, config)
    if given.stft is None:
        raise ValueError("nae.separate needs the mixture's phase: a path or a waveform")
    stft, X = given.stft, given.X.cpu()
    if not isinstance(models, Mapping):
        if penalty:
            raise ValueError("nae.separate: a penalty is for autoencoders, not for NMF")
        sources = models.sources
        H, parts, history = _explain_by_nmf(X, models, n_steps, tolerance)
    else:
        sources = tuple(models)
        found, history = activations(
            X,
            list(models.values()),
            penalty=penalty,
            penalty_kind=penalty_kind,
            n_steps=n_steps,
            tolerance=tolerance,
            progress=progress,
        )
        parts = [model.decode(h).numpy() for model, h in zip(models.values(), found, strict=True)]
        H = [h.numpy() for h in found]

    def magnitudes(first: int, end: int) -> Iterator[np.ndarray]:
        for part in parts:
            yield audio.expand(part[:, first:end], config)

    n_frames = X.shape[1]
    stems: Stems | np.ndarray
    rate: float
    if reconstruction == "mask":
        assert given.samples is not None  # it has a phase
        stems = Stems(magnitudes, len(parts), given.samples, config, n_frames)
        rate = given.samples.sr
    else:
        phase = np.exp(1j * np.angle(stft))
        modelled = [np.concatenate([m[:1], m]) * phase for m in magnitudes(0, n_frames)]
        stems = np.stack([audio.istft(m, config, given.n_samples) for m in modelled])
        rate = config.sr
    return ModelledSeparation(
        sources,
        stems,
        rate,
        activations=tuple(H),
        parts=np.stack(parts),
        history=history,
        config=config,
    )


def _config(models: Mapping[str, NAE] | Dictionary) -> audio.SpectrogramConfig:
    if not isinstance(models, Mapping):
        if models.kind != "nmf":
            raise ValueError(
                f"nae.separate: a {models.kind!r} dictionary is searched by dds_fast.decompose"
            )
        return models.spectrogram
    configs = {model.spectrogram for model in models.values()}
    config = configs.pop() if len(configs) == 1 else None
    if config is None:
        raise ValueError(
            "nae.separate: every model needs the same spectrogram config (pass spectrogram= to "
            f"nae.fit), not {[model.spectrogram for model in models.values()]}"
        )
    return config


def _explain_by_nmf(
    X: torch.Tensor, dictionary: Dictionary, n_steps: int, tolerance: float
) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
    """Activations and parts of each source, and the history of the divergence."""
    assert dictionary.W is not None and dictionary.labels is not None
    W, labels = dictionary.W.to(X), dictionary.labels.numpy()
    found, history = nmf.activations(X, W, loss="kl", n_steps=n_steps, tolerance=tolerance)
    H = found.numpy()
    window = Window(W.numpy(), H, labels)
    silence = np.zeros_like(X.numpy())
    parts = [
        masks.source_part([window], source, 0, H.shape[1])
        for source in range(len(dictionary.sources))
    ]
    rows = [H[labels == source] for source in range(len(dictionary.sources))]
    return rows, [silence if part is None else part for part in parts], np.array(history)
