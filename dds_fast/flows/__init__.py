"""Trainable density models of spectral frames and of waveform windows.

A flow takes rows and knows neither where they come from nor the search, which is handed what
`freeze` makes of it; `training` alone knows notes.
"""

from dds_fast.flows.flowavenet import FloWaveNetBank
from dds_fast.flows.glow import ConditionalGlow
from dds_fast.flows.realnvp import RealNVPBank

__all__ = ["ConditionalGlow", "FloWaveNetBank", "RealNVPBank"]
