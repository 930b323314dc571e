"""The results of one recording, in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dds_fast import scalars
from dds_fast.decomposition import Decomposition
from dds_fast.dictionary import Dictionary
from dds_fast.notes import general_midi
from dds_fast.notes.found import Note
from dds_fast.notes.general_midi import Numbers, numbers
from dds_fast.separate import groups_of

ACTIVATIONS = "activations.npz"
PICTURE = "activations.png"
PAGE = "page.html"
ALWAYS_WRITTEN = (ACTIVATIONS, "notes.csv", "notes.mid")
FILES = (*ALWAYS_WRITTEN, PICTURE)


@dataclass(frozen=True)
class Wanted:
    """What is written of each recording besides `FILES`, and how its notes are.

    Attributes:
        formats: of `Decomposition.save_notes`, by suffix.
        page: whether to write a page to listen to.
        midi: see `Decomposition.to_midi`.
        tempo: likewise, in beats per minute.
        program: likewise.
        sensitivity: see `Decomposition.notes`.
    """

    formats: tuple[str, ...] = ()
    page: bool = False
    midi: Numbers | None = None
    tempo: float = 120.0
    program: int | str = 0
    sensitivity: float = 0.0

    @property
    def more(self) -> tuple[str, ...]:
        """Names of the files besides `FILES`."""
        return (*(f"notes.{kind}" for kind in self.formats), *[PAGE] * self.page)

    def checked(self, dictionary: Dictionary) -> Wanted:
        """The same for the sources of a dictionary.

        Raises:
            ValueError: `midi` names no source, or a number is not legal; a sensitivity where the
                dictionary is not calibrated.
        """
        scalars.positive("tempo", self.tempo)
        general_midi.number("program", self.program, drum=False)
        if scalars.real("sensitivity", self.sensitivity) and dictionary.temporal is None:
            raise ValueError(
                "--sensitivity is for calibrated dictionaries: this one has thresholds"
            )
        return replace(self, midi=numbers(dictionary.sources, self.midi))


NOTHING_MORE = Wanted()


def is_finished(folder: Path, more: Sequence[str] = ()) -> bool:
    """Whether a folder holds all results, but perhaps the picture, of a search that ended well."""
    if not all((folder / name).is_file() for name in (*ALWAYS_WRITTEN, *more)):
        return False
    try:
        result = Decomposition.load(folder / ACTIVATIONS)
    except ValueError:
        return False
    return result.stop_reason not in ("interrupted", "non-finite")


def check_finite(result: Decomposition, path: Path) -> None:
    """Tell results from what a search leaves that went out of bounds.

    Raises:
        ArithmeticError: it did.
    """
    if result.stop_reason == "non-finite":
        raise ArithmeticError(
            f"{path}: the search was no longer finite after {result.n_steps} steps; a smaller step "
            "size, or a higher precision, may help"
        )


def write(
    result: Decomposition, folder: Path, wanted: Wanted, *, title: str, overwrite: bool = False
) -> list[Note]:
    """Write activations.npz, notes.csv, notes.mid, activations.png and what else is wanted.

    Recordings whose picture cannot be drawn get none; then none of earlier results stays.

    Args:
        result: of one recording.
        folder: for its files.
        wanted: the other files, and how the notes are.
        title: of the picture and the page.
        overwrite: replace existing files.

    Returns:
        The notes.
    """
    from dds_fast.plots.figure import beside_results, save_figure

    # What an interruption left behind is not a result to protect.
    overwrite = overwrite or not is_finished(folder, wanted.more)
    result.save(folder / ACTIVATIONS, overwrite=overwrite)
    chosen = {"sensitivity": wanted.sensitivity}
    with beside_results(folder / PICTURE) as path:
        drawn = result.plot(title=title, notes=result.notes(**chosen))
        save_figure(drawn, path, overwrite=overwrite)
    for kind in ("csv", "mid", *wanted.formats):
        result.save_notes(
            folder / f"notes.{kind}",
            midi=wanted.midi,
            tempo=wanted.tempo,
            program=wanted.program,
            overwrite=overwrite,
            **chosen,
        )
    if wanted.page:
        keys = {isinstance(source, int) for source in result.sources}
        by = "source" if len(keys) > 1 else "hand" if keys == {True} else "track"
        groups = groups_of(result, None, by)
        result.to_html(folder / PAGE, groups, title=title, overwrite=overwrite)
    return result.notes(**chosen)
