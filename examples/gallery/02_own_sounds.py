"""
Your own sounds
===============

A folder of isolated sounds makes a dictionary; results then speak the names of its sources. Here
two instruments are made by the script, and a duet of theirs is taken apart.
"""

import tempfile
from pathlib import Path

import numpy as np

import dds_fast
from dds_fast.datasets import synthetic
from dds_fast.page import Sound

SR = 16000
KEYS = range(60, 73)
bell, string = synthetic.instruments(2, random_state=2)

# %%
# A file per take and a folder per instrument, named by their notes, is how samplers keep sounds:

folder = Path(tempfile.mkdtemp())
synthetic.write_instruments(folder, pitches=KEYS, seconds=1.0, random_state=2)
print(*sorted(path.relative_to(folder) for path in folder.rglob("6[01]*.flac")), sep="\n")

# %%
# ``sources="folder/key"`` makes a source of each key of each instrument.

dictionary = dds_fast.fit(folder, "nmf", sources="folder/key")
print(dictionary)

# %%
# A duet: one instrument goes up while the other comes down, softer and louder than in the folder.


def play(instrument: synthetic.Instrument, keys: list[int], velocity: int) -> np.ndarray:
    """Half a second a note."""
    return np.concatenate([instrument.tone(key, velocity, 0.5, SR) for key in keys])


up = play(bell, [60, 62, 64, 65, 67, 69, 71, 72], velocity=90)
down = play(string, [72, 71, 69, 67, 65, 64, 62, 60], velocity=70)
Sound(up + down, SR, "the duet")

# %%
# The sources are rows, an instrument above the other.

result = dds_fast.decompose(up + down, dictionary, sr=SR)
ax = result.plot(title="Who plays what")

# %%
# ``by="track"`` makes a stem of each instrument. Listen, and switch them off and on.

stems = dds_fast.separate(up + down, by="track", dictionary=dictionary, sr=SR)
stems

# %%
# As the duet was put together here, the stems can be compared with the truth: SDR in dB, of the
# duet itself and of the stems.

truth = np.stack([up, down])
mixture = np.stack([up + down] * 2)
for name, estimate in (("duet", mixture), ("stems", np.stack(list(stems.values())))):
    print(name, dds_fast.metrics.bss_eval(truth, estimate)["sdr"].round(1))
