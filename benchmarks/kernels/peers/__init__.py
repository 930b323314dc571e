"""The same flows as other people write them, on the same weights, for comparison.

Each module has ``decoder(flow)``: it makes a function from ``(G, R, F)`` latent codes to rows and
their log-determinant, differentiable by autograd. Weights are frozen and shared with `flow`.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from dds_fast.flows import ConditionalGlow, RealNVPBank

Flow = RealNVPBank | ConditionalGlow
Decode = Callable[[Tensor], tuple[Tensor, Tensor]]
