"""Notes and stems to learn sources from, and labels to score decompositions against."""

from dds_fast.datasets.chords import random_chords
from dds_fast.datasets.labels import Labels, load_labels
from dds_fast.datasets.notes import NoteFrames, Recording, find_notes, load_notes
from dds_fast.datasets.stems import StemCrops, musdb18, stem_folder
from dds_fast.datasets.toy import ToyWaves

__all__ = [
    "Labels",
    "NoteFrames",
    "Recording",
    "StemCrops",
    "ToyWaves",
    "find_notes",
    "load_labels",
    "load_notes",
    "musdb18",
    "random_chords",
    "stem_folder",
]
