"""Non-negative autoencoders: NMF's relatives whose activations come out of an encoder.

`fit` trains one on a spectrogram, `activations` explains another spectrogram with its decoder or
with several, `separate` cuts a mixture into stems. `constrained` holds the variants with a score.

Source: Smaragdis and Venkataramani, A Neural Network Alternative to Non-Negative Audio Models
(arXiv 1609.03296); for the variants Müller's tutorial at Eurographics 2023.
"""

from dds_fast.methods.nae.constrained import ConstrainedNAE, constrained
from dds_fast.methods.nae.inference import activations
from dds_fast.methods.nae.model import NAE, load
from dds_fast.methods.nae.separation import ModelledSeparation, separate
from dds_fast.methods.nae.training import fit

__all__ = [
    "NAE",
    "ConstrainedNAE",
    "ModelledSeparation",
    "activations",
    "constrained",
    "fit",
    "load",
    "separate",
]
