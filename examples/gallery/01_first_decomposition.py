"""
A first decomposition
=====================

Which keys sound in a piano chord, and when? The chord ships with dds_fast, and so does the
dictionary, which has heard single notes of other pianos only.
"""

import dds_fast
from dds_fast.audio import load
from dds_fast.command.demo import DEMO_CLIP
from dds_fast.datasets import load_labels
from dds_fast.page import Sound

SR = 16000
chord = load(DEMO_CLIP, SR)
Sound(chord, SR, "the recording")

# %%
# One call explains the recording as a sum of dictionary entries, each with its activation over
# time. Blue is how strong each key is, red are the notes found in it.

result = dds_fast.decompose(chord, sr=SR)
ax = result.plot(title="A chord, decomposed")

# %%
# The notes are objects with a start and an end in seconds, a MIDI number (60 is C4) and a velocity.
# Three keys were played:

print("played:", load_labels(DEMO_CLIP.with_suffix(".txt")).pitches)
for note in result.notes():
    print(note)

# %%
# The two soft high ones are partials taken for notes. A lower sensitivity asks for more evidence:

notes = result.notes(sensitivity=-2)
print("found:", [note.source for note in notes])

# %%
# Notes make a MIDI file. Played by plain sine waves, it sounds like this:

Sound(result.to_midi(sensitivity=-2).synthesize(SR), SR, "the notes found")

# %%
# ``components`` and ``activations`` are the factors W and H; their product is close to the
# spectrogram.

W, H = result
print(f"W {W.shape}, H {H.shape}, {result.n_steps} steps, cost {result.history[-1]:.2f}")

# %%
# Each key can be heard alone: a mask gives it its share of every bin of the recording. The stems
# sum to the recording. Here the lowest note found is one stem, all others are the other.

low = min(note.source for note in notes)
result.separate({"lowest": [low], "others": [s for s in result.sources if s != low]})
