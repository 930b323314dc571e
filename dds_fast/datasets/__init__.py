"""Notes to learn dictionaries from, and labels to score decompositions against."""

from dds_fast.datasets.chords import random_chords
from dds_fast.datasets.labels import Labels, load_labels
from dds_fast.datasets.note_files import Note, Recording, find_notes, write_notes
from dds_fast.datasets.notes import NoteFrames, load_notes

__all__ = [
    "Labels",
    "Note",
    "NoteFrames",
    "Recording",
    "find_notes",
    "load_labels",
    "load_notes",
    "random_chords",
    "write_notes",
]
