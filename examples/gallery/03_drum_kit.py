"""
A drum kit from one-shots
=========================

Which drum is hit when? A few hits of each drum are all that the dictionary needs.
"""

import tempfile
from pathlib import Path

import numpy as np
import soundfile

import dds_fast
from dds_fast.page import Sound

SR = 44100

# %%
# Three drums, made of decaying sines and noise. ``kick_1.wav`` and ``kick_2.wav`` are takes of the
# drum "kick".


def hit(drum: str, take: int, seconds: float = 0.4) -> np.ndarray:
    """A hit; no two takes have the same noise or quite the same pitch."""
    t = np.arange(round(seconds * SR)) / SR
    rng = np.random.default_rng([ord(drum[0]), take])
    noise, detuned = rng.standard_normal(len(t)), rng.uniform(0.97, 1.03)
    if drum == "kick":
        body = np.tanh(3 * np.sin(2 * np.pi * detuned * (50 * t - np.exp(-40 * t))))
        return body * np.exp(-9 * t) + 0.3 * noise * np.exp(-150 * t)
    if drum == "snare":
        rattle = np.convolve(noise, np.full(6, 1 / 6), "same")
        return (0.4 * np.sin(2 * np.pi * 330 * detuned * t) + rattle) * np.exp(-20 * t)
    return 0.15 * np.diff(noise, 2, append=[0, 0]) * np.exp(-60 * t)


folder = Path(tempfile.mkdtemp())
for drum in ("kick", "snare", "hat"):
    for take in (1, 2, 3):
        soundfile.write(folder / f"{drum}_{take}.wav", 0.7 * hit(drum, take), SR)
kit = dds_fast.fit(folder, "nmf", sources="name")
print(kit)

# %%
# A loop played with other hits than those, at other strengths.

pattern = {
    "kick": "9.......7.9.....",
    "snare": "....9..3....9..3",
    "hat": "9.6.9.6.9.6.9.69",
}
STEP = 0.125
loop = np.zeros(round((16 * STEP + 0.5) * SR))
for drum, strengths in pattern.items():
    for step, strength in enumerate(strengths):
        if strength != ".":
            first = round((0.1 + step * STEP) * SR)
            wave = int(strength) / 9 * hit(drum, take=10 + step)
            loop[first : first + len(wave)] += wave
loop *= 0.8 / np.abs(loop).max()
Sound(loop, SR, "the loop")

# %%
# Sources without a pitch that decay like drums are found as hits.

result = dds_fast.decompose(loop, kit, sr=SR)
ax = result.plot(title="Hits found")

# %%
# The pattern again, as played and as found:

for drum, played in pattern.items():
    steps = {round((n.start - 0.1) / STEP) for n in result.notes() if n.source == drum}
    print(f"{drum:6}", "".join(".x"[strength != "."] for strength in played))
    print(f"{'':6}", "".join(".x"[step in steps] for step in range(16)))

# %%
# Names that General MIDI knows find their keys: ``result.to_midi()`` is a drum track. And each drum
# is a stem.

result.separate()
