"""
The hands of a piano, with a score
==================================

Where a score is at hand, it says which notes may sound when, and a stem is whatever the score can
name: a hand, a track, a voice, a note.
"""

import matplotlib.pyplot as plt
import numpy as np

import dds_fast
from dds_fast import plots
from dds_fast.datasets import Labels, synthetic
from dds_fast.page import Sound

SR = 22050
BEAT = 0.4

# %%
# A score is a MIDI file, MusicXML or a list of notes. Here it is written out: onset and end in
# beats, and MIDI numbers.

left = [(0, 2, 48), (2, 4, 43), (4, 6, 45), (6, 8, 40), (8, 12, 48)]
right = [(0, 1, 64), (1, 2, 67), (2, 3, 71), (3, 4, 67), (4, 5, 72), (5, 6, 69), (6, 8, 67)]
right += [(8, 12, 64), (8, 12, 67)]
score = Labels(
    intervals=BEAT * np.array([row[:2] for row in left + right], dtype=float),
    pitches=np.array([row[2] for row in left + right]),
    velocities=np.full(len(left + right), 80.0),
    tracks=np.array(["left"] * len(left) + ["right"] * len(right)),
)

# %%
# A made piano plays it, each hand for itself, so that the truth is known.

(piano,) = synthetic.instruments(1, random_state=4)


def play(hand: list[tuple[int, int, int]]) -> np.ndarray:
    wave = np.zeros(round(BEAT * 13 * SR))
    for start, end, key in hand:
        tone = piano.tone(key, 80, BEAT * (end - start), SR, random_state=start)
        first = round(BEAT * start * SR)
        wave[first : first + len(tone)] += tone
    return wave


hands = np.stack([play(left), play(right)])
hands *= 0.8 / np.abs(hands.sum(0)).max()
recording = hands.sum(0)
Sound(recording, SR, "both hands")

# %%
# Listen to the stems: solo a hand, or drag through the notes of the score.

stems = dds_fast.separate(recording, score, by="track", sr=SR)
stems

# %%
# Beside the truth, in dB: the recording taken for either hand, and the stems.

for name, estimate in (("recording", np.stack([recording] * 2)), ("stems", stems.stems)):
    print(name, dds_fast.metrics.bss_eval(hands, estimate)["sdr"].round(1))

# %%
# What happens inside: each pitch of the score has a template that starts as harmonics and is
# learned from the recording; activations may sound only where the score has a note. A mask gives a
# hand its share of each bin.

result = dds_fast.methods.score_informed.decompose(recording, score, sr=SR)
masks = result.masks({hand: score.select(score.tracks == hand) for hand in ("left", "right")})
fig, axes = plt.subplots(2, 1, figsize=(8, 6), layout="constrained", sharex=True)
for ax, (hand, mask) in zip(axes, masks.items(), strict=True):
    plots.mask(mask, result.times, result.frequencies, max_frequency=2000, title=hand, ax=ax)
