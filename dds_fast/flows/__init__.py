"""Trainable density models of spectral frames."""

from dds_fast.flows.glow import ConditionalGlow
from dds_fast.flows.realnvp import RealNVPBank

__all__ = ["ConditionalGlow", "RealNVPBank"]
