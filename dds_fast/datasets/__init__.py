"""Notes to learn dictionaries from, and labels to score decompositions against.

Note folders, MAPS, chords, stems and made sounds become waveforms, spectra and labels; no flow, no
dictionary and no search is known here.
"""

from dds_fast.datasets.chords import random_chords, random_sequence
from dds_fast.datasets.maps import Maps
from dds_fast.datasets.multitrack import StemCrops, musdb18, stem_folder
from dds_fast.datasets.note_files import Note, Recording, find_notes, write_notes
from dds_fast.datasets.notes import NoteFrames, load_notes
from dds_fast.datasets.snippets import concatenate
from dds_fast.datasets.toy import ToyWaves
from dds_fast.notes.score import Labels, load_labels

__all__ = [
    "Labels",
    "Maps",
    "Note",
    "NoteFrames",
    "Recording",
    "StemCrops",
    "ToyWaves",
    "concatenate",
    "find_notes",
    "load_labels",
    "load_notes",
    "musdb18",
    "random_chords",
    "random_sequence",
    "stem_folder",
    "write_notes",
]
