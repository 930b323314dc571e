"""
Making a dictionary
===================

A dictionary of flows learns what each source's spectra are like, not only those that it heard, and
so can meet an instrument that is new to it. A small one takes seconds to learn.
"""

import tempfile
from pathlib import Path

import numpy as np

import dds_fast
from dds_fast import plots
from dds_fast.datasets import load_notes, synthetic
from dds_fast.page import Sound

SR = 16000
KEYS = range(60, 73)

# %%
# Three made instruments: the dictionary learns from two and is tried on the third.

folder = Path(tempfile.mkdtemp())
*heard, unheard = synthetic.write_instruments(folder, n_instruments=3, pitches=KEYS, seconds=0.6)
third = synthetic.instruments(3)[2]
print([path.name for path in heard], unheard.name)

# %%
# ``fit`` learns one flow per key, all in one program. ``folder=`` would write curves, a checkpoint
# and a report; a real dictionary takes the preset's 150 epochs.

dictionary = dds_fast.fit(heard, "dds2", max_epochs=40, n_mixtures=0)
print(dictionary)

# %%
# Are notes of the new instrument likeliest under their own key's flow? Then the diagonal is dark.

config = dictionary.spectrogram
inspection = dds_fast.inspection.inspect(dictionary, load_notes(unheard, config, pitches=KEYS))
ax = plots.likelihood_matrix(inspection.bits, inspection.sources)
print(f"likeliest under their own flow: {inspection.summary()['own_source_likeliest']:.0%}")

# %%
# A search begins at codes, chosen among the training frames. The spectra that some of them stand
# for, beside frames of the new instrument:

ax = plots.samples(
    inspection.real,
    inspection.codes.entries,
    [inspection.sources[index] for index in inspection.sampled],
    inspection.frequencies,
    title="of codes",
)

# %%
# Music of the instrument that it has not heard:

music = np.zeros(4 * SR)
for n, key in enumerate([60, 64, 67, 72, 69, 65, 62, 71]):
    tone = third.tone(key, 90, 0.8, SR)
    music[n * SR // 2 : n * SR // 2 + len(tone)] += tone[: len(music) - n * SR // 2]
Sound(music, SR, "an unheard instrument")

# %%

result = dds_fast.decompose(music, dictionary, sr=SR)
ax = result.plot(title="Found by what it learned from others")

# %%
# A file of tensors and JSON keeps it; nothing in it is executed.

dictionary.save(folder / "mine.safetensors")
print(dds_fast.load(folder / "mine.safetensors"))
print(f"{(folder / 'mine.safetensors').stat().st_size / 1e6:.1f} MB")
