"""Training of flows on isolated notes: all sources at once, best checkpoint kept."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from dds_fast.datasets.notes import NoteFrames
from dds_fast.flows.adversary import NuisanceAdversary
from dds_fast.flows.glow import ConditionalGlow
from dds_fast.flows.realnvp import RealNVPBank

logger = logging.getLogger("dds_fast")

SEMANTIC_VARIANCE = 60 / (2 * 1e4)
"""Variance of z_s around the one-hot code: the paper's weight 1e4 on the mean squared error is
S / (2 variance) for its S = 60 (spec. 5.3)."""

VALIDATION_ROWS = 2048


@dataclass(frozen=True)
class TrainingConfig:
    """How a flow is trained.

    Attributes:
        max_epochs: passes over the frames.
        learning_rate: Adam's step size, its peak if `one_cycle`.
        one_cycle: rise to the peak and decay to zero instead of a constant step size.
        batch_size: frames per step (per source in a bank).
        max_norm: gradient-norm clip (per flow in a bank).
        nuisance_weight: weight of the adversarial term of a conditional Glow; 0 leaves it out.
        validation: share of the recordings held out.
        seed: of the split and the shuffles.
    """

    max_epochs: int
    learning_rate: float
    one_cycle: bool
    batch_size: int = 512
    max_norm: float = 5.0
    nuisance_weight: float = 0.0
    validation: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("max_epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)!r}")
        for name in ("learning_rate", "max_norm"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise ValueError(f"{name} must be finite and positive, not {getattr(self, name)!r}")
        if not (math.isfinite(self.nuisance_weight) and self.nuisance_weight >= 0):
            raise ValueError(f"nuisance_weight must not be negative, not {self.nuisance_weight!r}")
        if not 0 <= self.validation < 1:
            raise ValueError(f"validation must lie in [0, 1), not {self.validation!r}")


def _log_density(z: Tensor) -> Tensor:
    """Standard-normal log-density over the last dim, in nats."""
    return -0.5 * (z.square().sum(-1) + z.shape[-1] * math.log(2 * math.pi))


def glow_loss(flow: ConditionalGlow, x: Tensor, labels: Tensor) -> Tensor:
    """Negative log-likelihood of ``(rows, F)`` spectra given their sources, ``(rows,)`` nats.

    The likelihood of z_n, and the squared error of z_s to the one-hot code, which is the
    likelihood of a narrow class-conditional normal (spec. 5.3, without the adversarial term).
    """
    return _code_loss(flow, *flow.encode(x), labels)


def _code_loss(flow: ConditionalGlow, z: Tensor, log_det: Tensor, labels: Tensor) -> Tensor:
    target = nn.functional.one_hot(labels, flow.n_sources).to(z.dtype)
    semantic, nuisance = z.tensor_split([flow.n_sources], dim=-1)
    error = (semantic - target).square().sum(-1) / (2 * SEMANTIC_VARIANCE)
    return error - _log_density(nuisance) - log_det


def bank_loss(bank: RealNVPBank, x: Tensor) -> Tensor:
    """Negative log-likelihood of ``(S, rows, F)`` spectra under their flows, ``(S, rows)`` nats."""
    z, log_det = bank.encode(x)
    return -_log_density(z) - log_det


def train_glow(
    flow: ConditionalGlow, notes: NoteFrames, config: TrainingConfig, progress: bool = False
) -> dict[str, Any]:
    """Fit a conditional Glow to all sources; the best epoch by validation loss stays in `flow`.

    The validation loss is the likelihood without the adversarial term, whose shuffles are noise.

    Returns:
        Record of the training: settings, best epoch, losses per epoch in bits per dimension.
    """
    training, validation = notes.split(config.validation, config.seed)
    frames, labels = torch.from_numpy(training.frames), torch.from_numpy(training.labels)
    held_frames, held_labels = map(torch.from_numpy, (validation.frames, validation.labels))
    generator = torch.Generator().manual_seed(config.seed)
    flow.initialize(frames[torch.randperm(len(frames), generator=generator)[:8192]])

    adversary = None
    if config.nuisance_weight > 0:
        S, F = flow.n_sources, flow.n_features
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            adversary = NuisanceAdversary(F - S, S, max(1, F // 2), config.learning_rate)

    def losses() -> Iterator[Tensor]:
        for rows in torch.randperm(len(frames), generator=generator).split(config.batch_size):
            y = labels[rows]
            z, log_det = flow.encode(frames[rows])
            loss = _code_loss(flow, z, log_det, y).mean()
            if adversary is not None:
                nuisance = z[:, flow.n_sources :]
                adversary.learn(nuisance, y)
                confusion = adversary.confusion(nuisance, y, generator)
                loss = loss - config.nuisance_weight * confusion
            yield loss[None]

    def validate() -> Tensor:
        chunks = zip(
            held_frames.split(VALIDATION_ROWS), held_labels.split(VALIDATION_ROWS), strict=True
        )
        return torch.cat([glow_loss(flow, x, y) for x, y in chunks]).mean()[None]

    n_batches = math.ceil(len(frames) / config.batch_size)
    validated = torch.tensor([len(held_frames) > 0])
    # The adversary's dropout draws from the global generator.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return _train(flow, config, n_batches, losses, validate, validated, progress)


def train_bank(
    bank: RealNVPBank, notes: NoteFrames, config: TrainingConfig, progress: bool = False
) -> dict[str, Any]:
    """Fit one RealNVP per source, all in one batched program; each keeps its own best epoch.

    Every source draws `batch_size` of its own frames per step, reshuffled when they are used up,
    so all flows take the same number of steps however many frames they have.

    Returns:
        Record of the training: settings, best epochs, losses per epoch in bits per dimension.
    """
    training, validation = notes.split(config.validation, config.seed)
    generator = torch.Generator().manual_seed(config.seed)
    by_source = _per_source(training)
    longest = max(len(frames) for frames in by_source)
    batch_size = min(config.batch_size, longest)
    n_batches = math.ceil(longest / batch_size)
    held = _per_source(validation)
    held_rows = nn.utils.rnn.pad_sequence(held, batch_first=True)
    held_mask = nn.utils.rnn.pad_sequence([torch.ones(len(x)) for x in held], batch_first=True)

    def losses() -> Iterator[Tensor]:
        orders = [_endless_shuffle(len(x), n_batches * batch_size, generator) for x in by_source]
        for step in range(n_batches):
            rows = slice(step * batch_size, (step + 1) * batch_size)
            batch = [x[order[rows]] for x, order in zip(by_source, orders, strict=True)]
            yield bank_loss(bank, torch.stack(batch)).mean(-1)

    def validate() -> Tensor:
        chunks = zip(
            held_rows.split(VALIDATION_ROWS, dim=1),
            held_mask.split(VALIDATION_ROWS, dim=1),
            strict=True,
        )
        totals = [(bank_loss(bank, x) * mask).sum(-1) for x, mask in chunks]
        return torch.stack(totals).sum(0) / held_mask.sum(-1)

    return _train(bank, config, n_batches, losses, validate, held_mask.any(-1), progress)


def _per_source(notes: NoteFrames) -> list[Tensor]:
    frames = torch.from_numpy(notes.frames)
    return [frames[torch.from_numpy(notes.labels == s)] for s in range(len(notes.sources))]


def _endless_shuffle(n: int, length: int, generator: torch.Generator) -> Tensor:
    """`length` indices below `n`, every one used before any is used again."""
    rounds = [torch.randperm(n, generator=generator) for _ in range(math.ceil(length / n))]
    return torch.cat(rounds)[:length]


class _BestEpochs:
    """The parameters of the best epoch, for each flow of a bank (or for the one Glow)."""

    def __init__(self, flow: nn.Module) -> None:
        self.flow = flow
        self.state = {name: p.detach().clone() for name, p in flow.named_parameters()}
        self.losses: Tensor | None = None
        self.epochs: Tensor | None = None

    def offer(self, losses: Tensor, epoch: int, validated: Tensor) -> None:
        """Keep the current parameters where the ``(groups,)`` losses have improved.

        Flows that have no validation frames (not `validated`) keep their last epoch.
        """
        if self.losses is None or self.epochs is None:
            self.losses = torch.full_like(losses, math.inf)
            self.epochs = torch.zeros(len(losses), dtype=torch.int64)
        improved = (losses < self.losses) | ~validated
        self.losses = torch.where(improved, losses, self.losses)
        self.epochs[improved] = epoch
        for name, parameter in self.flow.named_parameters():
            if len(losses) > 1:
                self.state[name][improved] = parameter.detach()[improved]
            elif improved.item():
                self.state[name].copy_(parameter.detach())

    def restore(self) -> None:
        with torch.no_grad():
            for name, parameter in self.flow.named_parameters():
                parameter.copy_(self.state[name])


def _clip_gradients(flow: nn.Module, n_groups: int, max_norm: float) -> None:
    """Scale the gradients of each group (leading dim of a bank's parameters) to `max_norm`."""
    if n_groups == 1:
        nn.utils.clip_grad_norm_(flow.parameters(), max_norm)
        return
    gradients = [p.grad for p in flow.parameters() if p.grad is not None]
    norms = torch.stack([g.flatten(1).norm(dim=1) if g.ndim > 1 else g.abs() for g in gradients])
    scale = (max_norm / norms.norm(dim=0).clamp_min(1e-12)).clamp_max(1.0)
    for gradient in gradients:
        gradient.mul_(scale.view(-1, *[1] * (gradient.ndim - 1)))


def _check_finite(losses: Tensor, best: _BestEpochs, epoch: int, config: TrainingConfig) -> None:
    """Stop a training that has diverged, at the best parameters so far."""
    if not torch.isfinite(losses).all():
        best.restore()
        raise FloatingPointError(
            f"the training diverged in epoch {epoch} (flow "
            f"{int((~torch.isfinite(losses)).nonzero()[0])}: loss not finite); lower the learning "
            f"rate ({config.learning_rate:g})"
        )


def _train(
    flow: ConditionalGlow | RealNVPBank,
    config: TrainingConfig,
    n_batches: int,
    losses: Callable[[], Iterator[Tensor]],
    validate: Callable[[], Tensor],
    validated: Tensor,
    progress: bool,
) -> dict[str, Any]:
    """Adam over epochs of `losses` (each ``(groups,)`` nats), validation after each.

    Raises:
        FloatingPointError: the loss is no longer finite; the best parameters so far are restored.
    """
    optimizer = torch.optim.Adam(flow.parameters(), lr=config.learning_rate, fused=True)
    schedule = None
    if config.one_cycle:
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, config.learning_rate, total_steps=config.max_epochs * n_batches
        )
    to_bits = 1 / (math.log(2) * flow.n_features)
    best, history = _BestEpochs(flow), []
    bar = tqdm(total=config.max_epochs * n_batches, disable=not progress, unit="step")
    with bar:
        for epoch in range(1, config.max_epochs + 1):
            sums = []
            for loss in losses():
                _check_finite(loss, best, epoch, config)
                optimizer.zero_grad()
                loss.sum().backward()
                _clip_gradients(flow, len(loss), config.max_norm)
                optimizer.step()
                if schedule is not None:
                    schedule.step()
                sums.append(loss.detach().mean())
                bar.update()
            with torch.no_grad():
                held = validate()
            _check_finite(held[validated], best, epoch, config)
            best.offer(held, epoch, validated)
            record = {
                "epoch": epoch,
                "training": float(torch.stack(sums).mean()) * to_bits,
                "validation": float(held.nanmean()) * to_bits,
            }
            history.append(record)
            bar.set_postfix_str(
                f"epoch {epoch}, bits/dim: train {record['training']:.3f}, "
                f"validation {record['validation']:.3f}"
            )
    best.restore()
    assert best.losses is not None and best.epochs is not None
    return {
        "config": asdict(config),
        "best_epoch": int(np.median(best.epochs.numpy())),
        "validation_bits_per_dim": float(best.losses.nanmean()) * to_bits,
        "history": history,
    }
