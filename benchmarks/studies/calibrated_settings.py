"""Whether a calibration could choose the search's settings from its own mixtures.

    python benchmarks calibrated_settings DATA FLUID -o benchmarks/results/calibrated_settings.json

DATA and FLUID are as for `own_notes`. Each row is a dictionary whose search has other settings from
its calibration on; beside what its own held-out mixtures say of it (``own``) stands what chords of
other takes do. A setting is worth choosing so if the former tells the latter, and both move by more
than the seeds do.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import store
from report import markdown
from studies.own_notes import Case, cases, learned, measure

SETTINGS: dict[str, dict[str, float]] = {
    "as they are": {},
    "mu 0.2": {"sparsity": 0.2},
    "mu 0.7": {"sparsity": 0.7},
    "delta 0.025": {"floor": 0.025},
    "delta 0.1": {"floor": 0.1},
    "smoothing 7": {"smoothing": 7},
    "smoothing 31": {"smoothing": 31},
}
BY = "F = 512"
POLYPHONIES = (2, 3, 5)
SCORES = ("frame_f1", "note_onset_f1")


def tried(
    case: Callable[[], Case], name: str, n_mixtures: int, n_chords: int, seed: int
) -> dict[str, Any]:
    """A row."""
    dictionary = learned(case, BY, n_mixtures, seed, SETTINGS[name])
    own = dictionary.metadata["calibration"]["nmf"]
    chords = [measure(lambda: dictionary, case, k, n_chords) for k in POLYPHONIES]
    return {
        "own_frame_f1": own["frames"]["f1"],
        "own_onset_f1": own["onset_f1"],
        **{score: float(np.mean([row[score] for row in chords])) for score in SCORES},
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: means over seeds, and half their range."""
    lines = []
    for case, settings in dict.fromkeys((row["case"], row["settings"]) for row in rows):
        cells = []
        for score in ("own_frame_f1", "own_onset_f1", *SCORES):
            own = [row[score] for row in rows if (row["case"], row["settings"]) == (case, settings)]
            cells.append(f"{np.mean(own):.3f} ± {np.ptp(own) / 2:.3f}")
        lines.append([case, settings, *cells])
    titles = ["own mixtures: frame F1", "onset F1", "other takes: frame F1", "onset F1"]
    return markdown(["dictionary of", "settings", *titles], lines)


def main() -> None:
    parser = store.parser(__doc__, "data", "fluid")
    parser.add_argument("--chords", type=int, default=10, help="per polyphony")
    parser.add_argument("--mixtures", type=int, default=24, help="to calibrate on")
    parser.add_argument("--seeds", type=int, default=2, help="of the calibration")
    parser.add_argument("--cases", nargs="+", default=["Yamaha C3", "guitar"])
    options = parser.parse_args()
    study = store.Study(
        options.output,
        ("case", "settings", "seed"),
        trial=options.trial,
        about={"chords": options.chords, "mixtures": options.mixtures},
        more=("tinysoundfont",),
        seed=None,
    )
    with tempfile.TemporaryDirectory() as folder:
        every = cases(options.data, options.fluid, Path(folder))
        for name in options.cases:
            case = cache(every[name])
            for seed in range(options.seeds):
                for settings in SETTINGS:
                    row = partial(tried, case, settings, options.mixtures, options.chords, seed)
                    study.add(name, settings, seed, measure=row)
    print(table(study.rows))
