"""The words that users may pass, for the functions that take them and the command that offers them.

Imports nothing: the command's help must not wait for PyTorch.
"""

KINDS = ("nmf", "dds1", "dds2", "dds3")
"""Of a dictionary; a search has the same."""
KINDS_LEARNED = ("nmf", "dds2", "dds3")
"""Of what `fit` makes; "dds1" is searched with a "dds2"."""

PRECISIONS = ("float64", "float32", "tf32", "bf16x3", "bfloat16")
TRAINING_PRECISIONS = ("float32", "tf32", "bfloat16")

PRESETS = ("fast", "paper")
FIT_PRESETS = ("small", "paper-512", "paper-1024")

SOURCES = ("key", "name", "folder", "folder/key")
"""What of a file of isolated sound tells its source."""

LIKELIHOODS = ("latent", "data")
"""Density of the codes, or of the spectra."""

CONSTRAINTS = ("templates", "activations", "both")
"""What a score forbids."""

FACTORIZATIONS = ("nmf", "nae", "langevin")
LOSSES = ("euclidean", "kl", "is")
INITS = ("random", "nndsvd", "nndsvda", "nndsvdar")

STEMS_BY = ("hand", "track", "pitch", "note", "source")
ALIGNMENTS = ("dtw", "synctoolbox")
"""How a score is brought into time."""

SUBTYPES = ("PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")
"""Samples that stems may have, in libsndfile's words."""

MIDDLE_C = 60

NOTE_FORMATS = {
    "csv": "a table",
    "mid": "MIDI",
    "jams": "JAMS",
    "txt": "labels for Audacity",
    "svl": "a layer for Sonic Visualiser",
    "wav": "sound",
}
"""By suffix of the file."""

AUDIO_SUFFIXES = (
    *(".wav", ".wave", ".bwf", ".rf64", ".w64", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2"),
    *(".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".voc", ".avr", ".iff", ".svx", ".8svx"),
    *(".sph", ".nist", ".sds", ".paf", ".pvf"),
)
"""Of what libsndfile reads."""
