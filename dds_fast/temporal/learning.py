"""Learning the network from mixtures whose notes are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor

from dds_fast import arrays, scalars
from dds_fast.temporal.network import NoteNetwork

STEPS, FEWEST_EPOCHS, MOST_EPOCHS = 2400, 25, 80
"""How long a network learns: steps of one example each, within bounds on how often it sees each."""

LEARNING_RATE = 4e-3
WEIGHT_DECAY = 1e-3

STRUCK_WEIGHT, STRUCK_ODDS = 2.0, 8.0
"""Weight of the attacks' loss beside that of sounding, and of frames with an attack in it: attacks
are rare, and decide whether a repeated note is found."""

RELEASE, RELEASE_WEIGHT = 0.12, 0.3
"""So many seconds after its end a note may still be heard: what is said there counts less."""


@dataclass(frozen=True, eq=False)
class Example:
    """The features of a mixture's sources, and what they should say.

    Attributes:
        features: ``(L, N_FEATURES, T)``.
        sounding: ``(L, T)`` 0 or 1.
        struck: ``(L, T)`` 0 or 1.
        weight: ``(L, T)`` how much `sounding` counts.
    """

    features: Tensor
    sounding: Tensor
    struck: Tensor
    weight: Tensor


def example(
    rows: np.ndarray,
    features: np.ndarray,
    intervals: np.ndarray,
    sources: np.ndarray,
    frame_rate: float,
) -> Example:
    """Of the features of sources `rows` and the notes of a mixture.

    Args:
        rows: ``(L,)`` indices of sources.
        features: ``(L, N_FEATURES, T)``.
        intervals: ``(n, 2)`` onset and offset in seconds.
        sources: ``(n,)`` index of each note's source.
        frame_rate: frames per second.
    """
    T = features.shape[2]
    S = int(max(rows.max(initial=-1), sources.max(initial=-1))) + 1
    times = np.arange(T) / frame_rate
    sounding, struck = np.zeros((2, S, T), dtype=np.float32)
    weight = np.ones((S, T), dtype=np.float32)
    for (_, end), source in zip(intervals, sources, strict=True):
        weight[source, (times >= end) & (times < end + RELEASE)] = RELEASE_WEIGHT
    for (onset, end), source in zip(intervals, sources, strict=True):
        inside = (times >= onset) & (times < end)
        sounding[source, inside] = weight[source, inside] = 1
        frame = round(onset * frame_rate)
        if frame < T:
            struck[source, frame] = 1
    own = (torch.from_numpy(one[rows]) for one in (sounding, struck, weight))
    return Example(torch.from_numpy(features), *own)


def epochs(n_examples: int) -> int:
    """How often `learn` goes through so many examples.

    Example:
        >>> epochs(4), epochs(40), epochs(400)
        (80, 60, 25)
    """
    return min(MOST_EPOCHS, max(FEWEST_EPOCHS, round(STEPS / n_examples)))


@arrays.isolated()
def learn(
    examples: Sequence[Example],
    random_state: int = 0,
    report: Callable[[int, float], None] | None = None,
) -> NoteNetwork:
    """A network learned from examples, of which one at least has a source.

    Args:
        examples: see `example`.
        random_state: seed of weights and order.
        report: called after each epoch with its number, from 1, and the mean loss.
    """
    n_epochs = epochs(len(examples))
    examples = [one for one in examples if len(one.features)]
    network = NoteNetwork(random_state)
    values = torch.cat([one.features.transpose(0, 1).flatten(1) for one in examples], dim=1)
    network.mean.copy_(values.mean(1, keepdim=True))
    network.scale.copy_(values.std(1, keepdim=True).clamp_min(1e-3))
    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LEARNING_RATE, total_steps=n_epochs * len(examples)
    )
    rng = np.random.default_rng(scalars.integer("random_state", random_state, least=0))
    for epoch in range(1, n_epochs + 1):
        losses = []
        for index in rng.permutation(len(examples)):
            loss = _loss(network, examples[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(float(loss.detach()))
        if report is not None:
            report(epoch, float(np.mean(losses)))
    return network.eval().requires_grad_(False)


def _loss(network: NoteNetwork, one: Example) -> Tensor:
    cross_entropy = functional.binary_cross_entropy_with_logits
    # Each member learns by itself.
    sounding, struck = network.members(one.features).unbind(2)
    true, weight, begun = (
        wanted[:, None].expand_as(struck) for wanted in (one.sounding, one.weight, one.struck)
    )
    loss = cross_entropy(sounding, true, weight=weight)
    odds = struck.new_tensor(STRUCK_ODDS)
    return loss + STRUCK_WEIGHT * cross_entropy(struck, begun, pos_weight=odds)
