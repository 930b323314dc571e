"""
Non-negative autoencoders
=========================

A model per source, each trained on a recording of that source alone; then a mixture is explained by
both and cut into stems. The models are NMF's relatives: the decoder's weights are the spectra.
"""

import matplotlib.pyplot as plt
import numpy as np

from dds_fast import SpectrogramConfig, audio, metrics
from dds_fast.datasets import synthetic
from dds_fast.methods import nae
from dds_fast.page import Sound

SR = 16000
CONFIG = SpectrogramConfig(n_fft=512, hop=128, gamma=0, window="sqrt_hann")  # linear magnitudes
bright, dull = synthetic.instruments(2, random_state=3)
rng = np.random.default_rng(0)


def improvise(instrument: synthetic.Instrument, keys: range, n_notes: int = 12) -> np.ndarray:
    return np.concatenate([instrument.tone(int(k), 90, 0.3, SR) for k in rng.choice(keys, n_notes)])


# %%
# What the models learn from:

solos = {"bright": improvise(bright, range(67, 80)), "dull": improvise(dull, range(48, 64))}
models = {
    name: nae.fit(
        audio.spectrogram(solo, CONFIG).values, 16, depth=2, penalty=0.1, spectrogram=CONFIG
    )
    for name, solo in solos.items()
}
Sound(solos["bright"], SR, "bright: to learn from")

# %%

Sound(solos["dull"], SR, "dull: to learn from")

# %%
# Both improvise anew, together:

truth = np.stack([improvise(bright, range(67, 80)), improvise(dull, range(48, 64))])
mixture = truth.sum(0)
stems = nae.separate(mixture, models, sr=SR)
stems

# %%
# SDR in dB of the mixture taken for either, and of the stems:

for name, estimate in (("mixture", np.stack([mixture] * 2)), ("stems", stems.stems)):
    print(name, metrics.bss_eval(truth, estimate)["sdr"].round(1))

# %%
# The cost of the training, and the activations with which the two models explain the mixture.

fig, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for name, model in models.items():
    axes[0].semilogy(model.history, label=name)
axes[0].set(xlabel="step", ylabel="cost")
axes[0].legend()
H = np.concatenate(stems.activations)
axes[1].imshow(np.log1p(H), aspect="auto", origin="lower", cmap="Blues")
axes[1].axhline(len(stems.activations[0]) - 0.5, color="tab:orange")
axes[1].set(xlabel="frame", ylabel="dull above bright", title="activations")
plt.show()
