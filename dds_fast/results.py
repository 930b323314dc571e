"""The results of one recording, in a folder."""

from __future__ import annotations

from pathlib import Path

from dds_fast.decomposition import Decomposition
from dds_fast.notes.found import write_midi, write_notes
from dds_fast.notes.general_midi import Numbers, numbers

ACTIVATIONS = "activations.npz"
PICTURE = "activations.png"
ALWAYS_WRITTEN = (ACTIVATIONS, "notes.csv", "notes.mid")
FILES = (*ALWAYS_WRITTEN, PICTURE)


def is_finished(folder: Path) -> bool:
    """Whether a folder holds all results, but perhaps the picture, of a search that ended well."""
    if not all((folder / name).is_file() for name in ALWAYS_WRITTEN):
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
    result: Decomposition,
    folder: Path,
    midi: Numbers | None = None,
    *,
    title: str,
    overwrite: bool = False,
) -> None:
    """Write activations.npz, notes.csv, notes.mid and activations.png into a folder.

    Recordings whose picture cannot be drawn get none; then none of earlier results stays.

    Args:
        result: of one recording.
        folder: for its files.
        midi: as of `Decomposition.to_midi`.
        title: of the picture.
        overwrite: replace existing files.
    """
    from dds_fast.plots.figure import beside_results, save_figure

    # What an interruption left behind is not a result to protect.
    overwrite = overwrite or not is_finished(folder)
    result.save(folder / ACTIVATIONS, overwrite=overwrite)
    with beside_results(folder / PICTURE) as path:
        save_figure(result.plot(title=title), path, overwrite=overwrite)
    notes = result.notes()
    write_notes(folder / "notes.csv", notes, overwrite=overwrite)
    write_midi(folder / "notes.mid", notes, numbers(result.sources, midi), overwrite=overwrite)
