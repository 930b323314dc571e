"""Trainable density models of spectral frames and of waveform windows."""

from dds_fast.flows.flowavenet import FloWaveNetBank
from dds_fast.flows.glow import ConditionalGlow
from dds_fast.flows.realnvp import RealNVPBank

__all__ = ["ConditionalGlow", "FloWaveNetBank", "RealNVPBank"]
