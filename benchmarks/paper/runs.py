"""Searches of the paper's comparison, each a row of a JSON file; finished rows are kept.

`table2` and `trends` say which searches they need. Writing into the same folder, they share them.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import store
from paper import piano_data
from paper.complexity import METHODS
from paper.piano_data import PianoData, TestSet
from paper.trained import Dictionaries
from scores import Recording, measure
from tqdm import tqdm

from dds_fast import Spectrogram, SpectrogramConfig
from dds_fast.datasets import Labels
from dds_fast.notes.found import Detection

Row = dict[str, Any]
WITH_COMPONENTS = ("DDS-2", "DDS-3")
AT_THRESHOLD = (
    "upper_threshold",
    "lower_threshold",
    "frame_precision",
    "frame_recall",
    "frame_f1",
)
"""Scores that mean nothing where no threshold was chosen."""


@dataclass(frozen=True)
class Budget:
    """How much of everything; the same for all methods.

    Attributes:
        preset: of `PRESETS`.
        training: preset of `dds_fast.fit`.
        max_epochs: of the training by kind, where it is not the preset's.
        batch_size: of the training; the preset's by default.
        train_each_seed: whether each seed searches with flows of its own, or all with the first's.
        sr: sampling rate in Hz; the hop is 32 ms.
        n_features: F of table II, then the F that it is compared with.
        n_components: K of table II.
        components: K over which DDS-2 and DDS-3 are compared.
        max_steps: update steps of a search.
        step_size: of a search by kind, where it is not the paper's; all else is the paper's.
        n_files: of a test set, others for each seed where there are enough; None for all.
        seconds: taken of each file, from its first note on; None for all. Music has later parts.
        table_polyphonies: of the chords in table II.
        polyphonies: of the trend over polyphony.
        precision: of the flows in a search; NMF has float32.
        n_seeds: seeds 0, 1, ... of the initial activations, and of the files.
        searches: of `SEARCHES`, of which the claims are told by the first.
    """

    preset: str
    training: str = "small"
    max_epochs: Mapping[str, int] = field(default_factory=dict)
    batch_size: int | None = None
    train_each_seed: bool = False
    sr: int = 16000
    n_features: tuple[int, ...] = (512, 256)
    n_components: int = 20
    components: tuple[int, ...] = (1, 5, 20)
    max_steps: int = 1000
    step_size: Mapping[str, float] = field(default_factory=dict)
    n_files: int | None = None
    seconds: float | None = None
    table_polyphonies: tuple[int, ...] = (2,)
    polyphonies: tuple[int, ...] = tuple(piano_data.POLYPHONIES)
    precision: str = "float32"
    n_seeds: int = 3
    searches: tuple[str, ...] = ("paper",)

    def config(self, n_features: int) -> SpectrogramConfig:
        """The spectrogram of an F."""
        return SpectrogramConfig(sr=self.sr, hop=self.sr * 32 // 1000, n_fft=2 * n_features)


PRESETS = {
    "full": Budget(
        "full",
        "paper-512",
        n_features=(512, 1024),
        components=(1, 5, 20, 40),
        table_polyphonies=tuple(piano_data.POLYPHONIES),
    ),
    "quick": Budget(
        "quick",
        max_epochs={"dds2": 150, "dds3": 30},
        batch_size=128,
        n_components=6,
        components=(1, 2, 6),
        max_steps=200,
        step_size={"dds1": 1e-2},  # at the paper's 1e-3 its search soon stalls
        n_files=2,
        polyphonies=(2, 3, 5, 7),
        precision="bfloat16",
    ),
    "pianos": Budget(
        "pianos",
        max_epochs={"dds2": 120, "dds3": 25},
        batch_size=64,
        sr=8000,
        n_features=(256, 128),
        n_components=5,
        components=(1, 5, 10),
        max_steps=200,
        step_size={"dds1": 1e-2},
        n_files=2,
        seconds=1.0,
        polyphonies=(2, 4, 7),
        precision="bfloat16",
        n_seeds=20,
        searches=("paper", "staged"),
    ),
    "check": Budget(
        "check",
        max_epochs={"dds2": 2, "dds3": 2},
        n_features=(64, 32),
        n_components=2,
        components=(1, 2),
        max_steps=5,
        n_files=1,
        polyphonies=(2, 3),
    ),
}
"""full: the paper's training and search, which want a GPU; quick: minutes on two cores; pianos: an
hour for recorded notes, many short snippets; check: does it work?"""

SEARCHES = {
    "paper": "the paper's settings, for as many steps as the budget has",
    "whole": "all of the paper's settings, its 1000 steps among them",
    "staged": "the dictionary's own: activations of a few entries, then the entries",
}


@dataclass(frozen=True)
class Run:
    """One search: what tells it from others.

    Attributes:
        method: of `METHODS`.
        n_features: F.
        n_components: K; None for NMF and DDS-1.
        set: name of the test set.
        seed: of the initial activations, of the files where not all are taken, and of the training
            where each seed has its own.
        search: of `SEARCHES`.
    """

    method: str
    n_features: int
    n_components: int | None
    set: str
    seed: int
    search: str = "paper"

    @property
    def kind(self) -> str:
        return self.method.replace("-", "").lower()

    @property
    def order(self) -> tuple[int, ...]:
        """Seed by seed, so that what is finished is as far for every method; of a seed, the
        searches with the same dictionary one after the other."""
        return self.seed, -self.n_features, METHODS.index(self.method), self.n_components or 0


class Runs:
    """The searches of a folder.

    Args:
        folder: for ``runs.json``, and the trained dictionaries in ``models``.
        data: notes and test sets.
        budget: how much of everything.
        models: files of trained dictionaries by kind, instead of training.
        device: where to train and search.
        trial: see `store.permit`; the preset check is one.

    Raises:
        ValueError: the folder holds rows of other data, models or budget; or `store.Refused`.
    """

    def __init__(
        self,
        folder: Path,
        data: PianoData,
        budget: Budget,
        models: Mapping[str, Path] | None = None,
        device: str = "cpu",
        trial: bool = False,
    ) -> None:
        store.permit(folder, trial or budget.preset == "check")
        self.data, self.device = data, device
        self.dictionaries = Dictionaries(
            data,
            folder / "models",
            budget.training,
            {"max_epochs": budget.max_epochs, "batch_size": budget.batch_size},
            budget.config,
            models or {},
            device,
        )
        if (given := self.dictionaries.given_features) is not None:
            budget = replace(budget, n_features=(given,))
        self.budget = budget
        about = {
            "data": data.name,
            "description": data.description,
            "budget": asdict(budget),
            "models": self.dictionaries.given_sizes,
        }
        self.path = folder / "runs.json"
        self.record: Row = {"runs": [], "about": store.rounded(about), "thresholds": {}, "rows": []}
        if self.path.exists():
            kept = store.read(self.path)
            about = self.record["about"]
            about["budget"]["n_seeds"] = kept["about"]["budget"].get("n_seeds")
            if other := [k for k, v in about.items() if kept["about"][k] != v]:
                raise ValueError(f"{self.path} is of another {other[0]}; take another --out")
            kept["about"]["budget"]["n_seeds"] = budget.n_seeds
            self.record = kept
        self.run: int | None = None

    def of(
        self,
        method: str,
        test: TestSet,
        n_features: int | None = None,
        K: int | None = None,
        search: str = "paper",
    ) -> list[Run]:
        """A run per seed, at the F and K of table II where nothing else is said."""
        sizes = n_features or self.sizes(method)[0], K or self.sizes(method)[1]
        seeds = range(self.budget.n_seeds)
        return [Run(method, *sizes, test.name, seed, search) for seed in seeds]

    def beside(self) -> list[Run]:
        """The other searches of the budget, on the first set of table II; DDS-1 has no staged."""
        tests = self.table_sets()[:1]
        pairs = itertools.product(tests, METHODS, self.budget.searches[1:])
        wanted = [(m, t, s) for t, m, s in pairs if (m, s) != ("DDS-1", "staged")]
        return [run for m, test, search in wanted for run in self.of(m, test, search=search)]

    def table_sets(self) -> list[TestSet]:
        """The sets of table II: all folders, or the chords of the polyphonies that it has."""
        wanted = self.budget.table_polyphonies
        return [one for one in self.data.sets if not one.intensity or one.polyphony in wanted]

    def sizes(self, method: str) -> tuple[int, int | None]:
        """F and K of table II."""
        return sizes(self.record["about"], method)

    def make(self, wanted: Iterable[Run]) -> None:
        """Make the rows that are missing; each is kept at once."""
        done = finished(self.record)
        missing = sorted((r for r in dict.fromkeys(wanted) if r not in done), key=lambda r: r.order)
        bar = tqdm(missing, unit="search", disable=None)
        for run in bar:
            bar.set_postfix_str(f"{run.method}, F {run.n_features}, {run.set}, seed {run.seed}")
            test = next(one for one in self.data.sets if one.name == run.set)
            row = self._repeated(run, test) or self._row(run, test, self._threshold(run))
            if self.run is None:
                self.run = store.add_run(self.record, store.provenance(self.device, seed=None))
            self.record["rows"].append(row | asdict(run) | ({"run": self.run} if self.run else {}))
            self.save()

    def save(self) -> None:
        self.record = store.rounded(self.record)
        store.write(self.path, self.record)

    def _repeated(self, run: Run, test: TestSet) -> Row | None:
        """NMF has nothing random: the row of another seed that searched the same files."""
        files, times = self._named(run, test)
        for other, row in finished(self.record).items():
            same = replace(other, seed=run.seed) == run
            same = same and (row["files"], row.get("window", 0)) == (files, times)
            if run.method == "NMF" and same:
                return row
        return None

    def _files(self, run: Run, test: TestSet) -> tuple[tuple[Path, ...], int]:
        """Files, and which part of them; of chords always the first."""
        files, times = test.chosen(self.budget.n_files, run.seed)
        return files, times if self.budget.seconds and test.polyphony is None else 0

    def _named(self, run: Run, test: TestSet) -> tuple[list[str], int]:
        files, times = self._files(run, test)
        return [path.name for path in files], times

    def _threshold(self, run: Run) -> float | None:
        """Best on chords of the pianos learned from; None off the F, K and search of table II."""
        if (run.n_features, run.n_components, run.search) != (*self.sizes(run.method), "paper"):
            return None
        thresholds = self.record["thresholds"]
        if run.method not in thresholds:
            row = self._row(replace(run, seed=0), self.data.calibration, None)
            thresholds[run.method] = row["scores"]["best_threshold"]
            self.save()
        return thresholds[run.method]

    def snippet(self, run: Run, test: TestSet) -> tuple[Spectrogram, Labels]:
        """What a run searches, and its labels."""
        config = self.budget.config(run.n_features)
        files, times = self._files(run, test)
        return test.snippet(config, files, self.budget.seconds, times)

    def _row(self, run: Run, test: TestSet, threshold: float | None) -> Row:
        budget = self.budget
        X, labels = self.snippet(run, test)
        training_seed = run.seed if budget.train_each_seed else 0
        dictionary = self.dictionaries.get(run.kind, run.n_features, training_seed)
        if threshold is not None:
            # Frames, not notes, are scored: a note may be as short as one.
            frames = Detection(upper=threshold, lower=threshold, min_duration=0, max_gap=0)
            dictionary.metadata["detection"] = {run.kind: asdict(frames)}
        options = {
            "random_state": run.seed,
            "precision": "float32" if run.method == "NMF" else budget.precision,
            "device": self.device,
        }
        if run.search != "staged":
            options |= {"preset": "paper", "n_components": run.n_components}
        if run.search == "paper":
            options |= {
                "max_steps": budget.max_steps,
                "step_size": budget.step_size.get(run.kind),
            }
        row = measure(run.set, dictionary, Recording(X, labels, 0.0), options, progress=False)
        if threshold is None:
            row["scores"] = {k: v for k, v in row["scores"].items() if k not in AT_THRESHOLD}
        del row["settings"]  # the budget says them
        files, times = self._named(run, test)
        return row | {
            "model": self.dictionaries.fingerprint(run.kind, run.n_features, training_seed),
            "label_delay": test.delay,
            "polyphony": test.polyphony,
            "intensity": test.intensity,
            "files": files,
            "window": times,
        }


def finished(record: Row) -> dict[Run, Row]:
    """The rows of a ``runs.json``."""
    names = [one.name for one in fields(Run)]
    rows = record["rows"]
    return {Run(**{name: row[name] for name in names if name in row}): row for row in rows}


def sizes(about: Row, method: str) -> tuple[int, int | None]:
    """F and K of table II, from the head of a ``runs.json``."""
    budget = about["budget"]
    K = budget["n_components"] if method in WITH_COMPONENTS else None
    return budget["n_features"][0], K


CHANGES = {
    "--seeds": ("n_seeds", int, ""),
    "--files": ("n_files", int, "of a test set, per seed"),
    "--seconds": ("seconds", float, "taken of each file"),
    "--steps": ("max_steps", int, "of a search"),
    "--precision": ("precision", str, ""),
}
"""Options that stand for a field of `Budget`: its name, type and help."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the two commands have in common."""
    parser.add_argument(
        "-o", "--out", type=Path, default=Path("dds-fast-bench"), help="finished searches are kept"
    )
    parser.add_argument("--preset", choices=PRESETS, default="quick")
    piano_data.add_options(parser)
    parser.add_argument(
        "--model", nargs="+", default=[], metavar="KIND=FILE", help="dds2, dds3: no training"
    )
    group = parser.add_argument_group("instead of the preset's")
    for option, (name, kind, text) in CHANGES.items():
        group.add_argument(option, type=kind, dest=name, help=text)
    group.add_argument("--step-size", nargs="+", metavar="KIND=SIZE", help="nmf, dds1, dds2, dds3")
    group.add_argument(
        "--components", type=int, nargs="+", metavar="K", help="compared; the last is table II's"
    )
    group.add_argument("--train-each-seed", action="store_true", default=None)
    parser.add_argument("--device", default="cpu")
    store.add_trial(parser)


def opened(options: argparse.Namespace, work: Path) -> Runs:
    """The runs that the options ask for; `work` is for sound that must be made.

    Raises:
        FileNotFoundError: data or models are not there.
        ValueError: options that do not fit together, or another comparison's folder.
    """
    names = [*(name for name, _, _ in CHANGES.values()), "train_each_seed"]
    given = {n: v for n in names if (v := getattr(options, n)) is not None}
    if options.components is not None:
        given |= {"components": tuple(options.components), "n_components": options.components[-1]}
    if options.step_size is not None:
        pairs = (text.partition("=")[::2] for text in options.step_size)
        given["step_size"] = {kind: float(size) for kind, size in pairs}
    models = dict(text.partition("=")[::2] for text in options.model)
    if unknown := sorted(set(models) - {"dds2", "dds3"}):
        raise ValueError(f"--model: unknown kind {unknown[0]!r}; there are dds2, dds3")
    budget = replace(PRESETS[options.preset], **given)
    data = piano_data.chosen(options, work, tiny=budget.preset == "check")
    files = {kind: Path(path) for kind, path in models.items()}
    return Runs(options.out.resolve(), data, budget, files, options.device, options.trial)


def command(
    parser: argparse.ArgumentParser,
    select: Callable[[str | None], Any],
    measure: Callable[[Runs, str | None], None],
    report: Callable[[Path, Row, str | None], Path],
) -> int:
    """A command of the comparison, and its exit status.

    Args:
        parser: with ``--only``.
        select: raises a ValueError for what ``--only`` may not name.
        measure: makes the rows.
        report: writes the report into a folder, and says where.
    """
    add_options(parser)
    options = parser.parse_args()
    try:
        select(options.only)
        with tempfile.TemporaryDirectory() as work:
            made = opened(options, Path(work))
            measure(made, options.only)
    except (ValueError, OSError, RuntimeError) as error:
        print(f"dds-fast: {error}", file=sys.stderr)
        return 1
    print(report(made.path.parent, made.record, options.only))
    return 0
