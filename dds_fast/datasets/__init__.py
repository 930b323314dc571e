"""Notes to learn dictionaries from, and labels to score decompositions against."""

from dds_fast.datasets.chords import random_chords
from dds_fast.datasets.labels import Labels, load_labels
from dds_fast.datasets.notes import NoteFrames, Recording, find_notes, load_notes
from dds_fast.datasets.toy import ToyWaves

__all__ = [
    "Labels",
    "NoteFrames",
    "Recording",
    "ToyWaves",
    "find_notes",
    "load_labels",
    "load_notes",
    "random_chords",
]
