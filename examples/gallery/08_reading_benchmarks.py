"""
Reading the benchmarks
======================

What the documents claim is kept as JSON beside the code: a line per row, and the command, commit,
machine and versions that it was measured with. This draws two of the tables.
"""

import json
from collections import defaultdict
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

RESULTS = Path("../../benchmarks/results")  # from examples/gallery


def read(name: str) -> dict:
    return json.loads((RESULTS / name).read_text())


# %%
# Where a file's numbers come from:

hands = read("hands.json")
for name, value in hands["runs"][0].items():
    print(f"{name}: {value}")

# %%
# Hands of a piano, with a score: SDR of each of two hands in twelve pieces, by method.

sdr = defaultdict(list)
for row in hands["rows"]:
    sdr[row["method"]] += row["scores"]["sdr"]
order = sorted(sdr, key=lambda method: np.median(sdr[method]))
fig, ax = plt.subplots(figsize=(8, 4), layout="constrained")
ax.boxplot([sdr[method] for method in order], orientation="horizontal", tick_labels=order)
ax.set_xlabel("SDR in dB")
plt.show()

# %%
# Notes of pianos that nobody heard: F1 of frames of each recording, by who found them.

quality = read("quality.json")
sets = list(dict.fromkeys(row["set"] for row in quality["rows"]))
found = defaultdict(dict)
for row in quality["rows"]:
    found[row["kind"]][row["set"]] = row["scores"]["frame_f1"]
fig, ax = plt.subplots(figsize=(8, 4), layout="constrained")
width = 0.8 / len(found)
for n, (kind, scores) in enumerate(found.items()):
    ax.bar(np.arange(len(sets)) + n * width, [scores[name] for name in sets], width, label=kind)
ax.set_xticks(np.arange(len(sets)) + 0.4 - width / 2, sets, rotation=20)
ax.set(ylabel="frame F1", ylim=(0, 1))
ax.legend()
plt.show()
