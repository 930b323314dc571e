"""The public functions and classes, loaded together when one of them is first used.

Where threads import parts of a package at once, Python may hand them modules that are half made;
here one of them imports all, and the others wait for it.
"""

# ruff: noqa: F401
from dds_fast.audio import Spectrogram, SpectrogramConfig
from dds_fast.batch import BatchError
from dds_fast.calibration import calibrate
from dds_fast.decompose import decompose
from dds_fast.decomposition import Decomposition
from dds_fast.dictionary import PIANO, Dictionary, load
from dds_fast.fit import fit
from dds_fast.separate import separate
