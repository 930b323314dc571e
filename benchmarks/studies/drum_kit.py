"""Which drum when: patterns transcribed by dictionaries of one-shots.

    python benchmarks drum_kit FLUID -o benchmarks/results/drum_kit.json

FLUID is FluidR3_GM.sf2 (Debian: fluid-soundfont-gm); the other SoundFont, TimGM6mb, comes with
pretty_midi. A kit is learned from hits at three velocities by ``fit(folder, sources="name")`` with
its defaults, and transcribes patterns played with hits at other velocities: of the same kit, or of
the other font's. The settings were chosen on two other kits (`--choosing`). A kit's hits of several
velocities may be one sample that the font makes softer and duller; another kit's are others.
"""

from __future__ import annotations

import tempfile
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import report
import soundfile
import store
from studies.drum_patterns import LEVEL, patterns

import dds_fast
from dds_fast.datasets import Labels, soundfont

NOTES = {
    **{"kick": 36, "snare": 38, "hat_closed": 42, "hat_open": 46},
    **{"tom_low": 43, "tom_high": 50, "crash": 49, "ride": 51},
}
DRUM_BANK = 128
SR = 44100
SECONDS = 2.0
HEARD, PLAYED = (40, 80, 120), (60, 100)
"""Velocities to learn from, and to play patterns with."""

KITS = {"Fluid Standard": ("fluid", 0), "TimGM Standard": ("timgm", 0)}
CHOSEN_ON = {"Fluid Power": ("fluid", 16), "TimGM Room": ("timgm", 8)}
SEED, SEED_OF_CHOICE = 100, 7
PLAIN = "NMF, plain"
METHODS: dict[str, dict[str, Any]] = {
    "nmf": {},
    "dds2": {},
    "dds3": {},
    PLAIN: {"preset": "paper", "max_steps": 400},
}


def hits(fluid: Path, font: str, program: int, velocity: int) -> dict[str, np.ndarray]:
    """``(n,)`` waveforms of the drums at a velocity."""
    path = fluid if font == "fluid" else soundfont.default_soundfont()
    rendered = soundfont.render(
        path,
        pitches=NOTES.values(),
        velocities=[velocity],
        program=program,
        bank=DRUM_BANK,
        seconds=SECONDS,
        sr=SR,
    )
    of_note = {note.pitch: note.waveform for note in rendered}
    return {drum: of_note[pitch] for drum, pitch in NOTES.items()}


def write_kit(folder: Path, fluid: Path, font: str, program: int) -> None:
    """Files like ``kick_80.wav``."""
    for velocity in HEARD:
        for drum, wave in hits(fluid, font, program, velocity).items():
            soundfile.write(folder / f"{drum}_{velocity}.wav", wave, SR)


def learned(
    fluid: Path, kits: dict[str, tuple[str, int]], kit: str, kind: str
) -> dds_fast.Dictionary:
    with tempfile.TemporaryDirectory() as folder:
        write_kit(Path(folder), fluid, *kits[kit])
        return dds_fast.fit(folder, kind, sources="name")


def measure(
    dictionary: Any, method: str, kit: str, waveform: np.ndarray, labels: Labels
) -> dict[str, Any]:
    """A row."""
    made = dictionary(kit, "nmf" if method == PLAIN else method)
    result = dds_fast.decompose(waveform, made, sr=SR, **METHODS[method])
    found = result.notes()
    counts = {drum: _counts(labels, found, drum) for drum in LEVEL}
    hit, played, told = np.sum(list(counts.values()), axis=0).tolist()
    return {
        "onset_f1": 2 * hit / max(played + told, 1),
        "precision": hit / max(told, 1),
        "recall": hit / max(played, 1),
        "drums": counts,
    }


def _counts(labels: Labels, found: list[Any], drum: str) -> list[int]:
    """Hits that were found within 50 ms, those played, those told of."""
    import mir_eval

    played = np.sort(labels.intervals[labels.tracks == drum, 0])
    told = np.sort([note.start for note in found if note.source == drum])
    matched = mir_eval.util.match_events(played, told, 0.05) if len(played) and len(told) else []
    return [len(matched), len(played), len(told)]


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: onset F1 of all hits by what was heard and played."""
    cells = []
    for heard, played in dict.fromkeys((row["heard"], row["played"]) for row in rows):
        line = [heard, played]
        for method in METHODS:
            counts = [
                list(row["drums"].values())
                for row in rows
                if (row["heard"], row["played"], row["method"]) == (heard, played, method)
            ]
            if not counts:
                line.append("-")
                continue
            hit, there, told = np.sum(counts, axis=(0, 1)).tolist()
            line.append(f"{2 * hit / max(there + told, 1):.3f}")
        cells.append(line)
    return report.markdown(["heard", "played", *METHODS], cells)


def draw(dictionary: Any, fluid: Path, path: Path) -> None:
    """A pattern of the first kit, played with its other hits, as NMF of its frames hears it."""
    kit = next(iter(KITS))
    of_kit = [hits(fluid, *KITS[kit], velocity) for velocity in PLAYED]
    other_hits = {drum: [waves[drum] for waves in of_kit] for drum in NOTES}
    waveform, labels = next(patterns(other_hits, n_patterns=1, sr=SR, random_state=SEED))
    result = dds_fast.decompose(waveform, dictionary(kit, "nmf"), sr=SR)
    ax = result.plot(roll=labels.roll(result.sources, result.times))
    report.save(ax.figure.figure, path)


def main() -> None:
    parser = store.parser(__doc__, "fluid")
    parser.add_argument("--patterns", type=int, default=6, help="per kit")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--heard", nargs="+", choices=KITS, help="default: every kit")
    parser.add_argument("--choosing", action="store_true", help="the kits that settings are for")
    parser.add_argument("--picture", type=Path, help="where to draw a pattern")
    options = parser.parse_args()
    kits, seed = (CHOSEN_ON, SEED_OF_CHOICE) if options.choosing else (KITS, SEED)
    dictionary = cache(partial(learned, options.fluid, kits))
    study = store.Study(
        options.output,
        ("heard", "played", "method", "pattern"),
        trial=options.trial,
        about={"heard": HEARD, "played": PLAYED},
        more=("mir_eval", "tinysoundfont"),
        seed=seed,
    )
    for played, kit in kits.items():
        of_kit = [hits(options.fluid, *kit, velocity) for velocity in PLAYED]
        other_hits = {drum: [waves[drum] for waves in of_kit] for drum in NOTES}
        made = list(patterns(other_hits, n_patterns=options.patterns, sr=SR, random_state=seed))
        for heard in options.heard or kits:
            for method in options.methods:
                for number, (waveform, labels) in enumerate(made):
                    row = partial(measure, dictionary, method, heard, waveform, labels)
                    study.add(heard, played, method, number, measure=row)
    print(table(study.rows))
    if options.picture is not None:
        draw(dictionary, options.fluid, options.picture)
