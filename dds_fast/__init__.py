"""dds_fast: decompose audio into its sources with Differentiable Dictionary Search.

Importing loads no native code; the compiled kernels are loaded when first used.
"""

from dds_fast.audio import Spectrogram, SpectrogramConfig
from dds_fast.decompose import decompose
from dds_fast.decomposition import Decomposition
from dds_fast.dictionary import PIANO, Dictionary, load
from dds_fast.fit import fit
from dds_fast.separate import separate

__version__ = "0.1.0"

__all__ = [
    "Decomposition",
    "Dictionary",
    "PIANO",
    "Spectrogram",
    "SpectrogramConfig",
    "decompose",
    "fit",
    "load",
    "separate",
]
