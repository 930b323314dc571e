"""
NMF as an estimator
===================

Without notes to learn from, non-negative matrix factorisation finds spectra and activations in the
recording itself. Here it learns what a bell's keys are from one melody and finds them in another.
"""

import matplotlib.pyplot as plt
import numpy as np

from dds_fast import SpectrogramConfig, audio, nmf, plots
from dds_fast.datasets import synthetic
from dds_fast.page import Sound

SR = 16000
CONFIG = SpectrogramConfig(n_fft=1024, hop=256, gamma=0)  # linear magnitudes
(bell,) = synthetic.instruments(1, random_state=1)


def play(keys: list[int]) -> np.ndarray:
    return np.concatenate([bell.tone(key, 90, 0.4, SR) for key in keys])


melody = play([60, 64, 67, 71, 67, 64, 60, 71, 64, 67])
chords = play([60, 64, 60, 67]) + play([67, 71, 64, 71])
Sound(melody, SR, "the melody that it learns from")

# %%
# ``fit`` learns the spectra of five components: of four keys, and of what all their attacks share.

X = audio.spectrogram(melody, CONFIG).values.T  # rows are frames
model = nmf.NMF(5, loss="kl", n_steps=400).fit(X)
W = model.components_.T

# %%
# Components come in no order. That of the attacks has the flattest spectrum; the strongest bin of
# the others tells their key.

attack = int(np.argmax(W.sum(0) / W.max(0)))
peaks = CONFIG.frequencies[W.argmax(0)]
keys: list[int | str] = [round(69 + 12 * np.log2(peak / 440)) for peak in peaks]
order = sorted(set(range(5)) - {attack}, key=lambda j: keys[j]) + [attack]
keys[attack] = "attack"
names = [keys[j] for j in order]

# %%
# ``transform`` finds the same components in other music.

H = model.transform(audio.spectrogram(chords, CONFIG).values.T).T
fig, axes = plt.subplots(2, 1, figsize=(7, 7), layout="constrained")
plots.templates(W[:, order], CONFIG.frequencies, names, title="spectra learned", ax=axes[0])
times = CONFIG.times(H.shape[1])
plots.activations(H[order], times, names, title="found in two-note chords", ax=axes[1])
plt.show()

# %%
# The chords, of keys that it has heard one by one:

Sound(chords, SR, "the chords")

# %%
# It has the interface of scikit-learn's estimators: parameters are the constructor's arguments, and
# ``sklearn.base.clone`` and pipelines take it.

print(model.get_params())
print(f"loss {model.history_[0]:.1f} at first, {model.history_[-1]:.2f} at the end")
