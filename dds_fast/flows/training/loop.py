"""The training loop: epochs, validation, best checkpoint per flow, resumption."""

from __future__ import annotations

import csv
import logging
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dds_fast import scalars
from dds_fast.choices import TRAINING_PRECISIONS
from dds_fast.files import writing
from dds_fast.flows.training import checkpoint, interruption, ranks
from dds_fast.flows.training.gradient import ClippedGradient
from dds_fast.progress import bar

logger = logging.getLogger("dds_fast")

CHECKPOINT_SECONDS = 60.0
"""A checkpoint is written after the first epoch that ends this long after the last one."""

_BAR = "{l_bar}{bar}| {n:.1f}/{total} epochs [{elapsed}<{remaining}{postfix}]"

STEPS_BETWEEN_CHECKS = {"cpu": 1, "cuda": 100}
"""How often losses are looked at, by type of device: to look is to wait for it."""

LOSSES = (-50.0, 1e6)
"""Nats per dimension between which a training has not diverged: a log-determinant of 50 per
dimension squeezes all spectra into a point."""


@dataclass(frozen=True)
class TrainingConfig:
    """How a flow is trained.

    Attributes:
        max_epochs: most passes over the frames.
        learning_rate: Adam's step size, its peak if `one_cycle`.
        one_cycle: rise to the peak and decay to zero instead of a constant step size.
        batch_size: frames per step (per source in a bank), over all ranks together.
        max_norm: gradient-norm clip (per flow in a bank).
        nuisance_weight: weight of the adversarial term of a conditional Glow; 0 leaves it out.
        equalizer_db: standard deviation of the random equalizer that each training frame goes
            through, a stand-in for other instruments and rooms; 0 leaves frames as they are.
        validation: share of the recordings held out.
        patience: stop when no flow has improved for so many epochs; None never does.
        precision: of the couplings' products: "float32" (IEEE), "tf32" (on a GPU; of a Glow's
            mixing too) or "bfloat16".
        random_state: seed of the split, the shuffles and the equalizers.
    """

    max_epochs: int
    learning_rate: float
    one_cycle: bool
    batch_size: int = 512
    max_norm: float = 5.0
    nuisance_weight: float = 0.0
    equalizer_db: float = 0.0
    validation: float = 0.1
    patience: int | None = None
    precision: str = "float32"
    random_state: int = 0

    def __post_init__(self) -> None:
        legal: dict[str, Callable[[str, Any], Any]] = {
            **dict.fromkeys(("max_epochs", "batch_size"), partial(scalars.integer, least=1)),
            **dict.fromkeys(("learning_rate", "max_norm"), scalars.positive),
            **dict.fromkeys(
                ("nuisance_weight", "equalizer_db", "validation"), scalars.not_negative
            ),
            "random_state": scalars.integer,
        }
        if self.patience is not None:
            legal["patience"] = legal["max_epochs"]
        checked = {name: check(name, getattr(self, name)) for name, check in legal.items()}
        self.__dict__.update(checked)  # frozen, but plain numbers from here on
        if self.validation >= 1:
            raise ValueError(f"validation must lie in [0, 1), not {self.validation!r}")
        if self.precision not in TRAINING_PRECISIONS:
            raise ValueError(
                f"precision must be one of {TRAINING_PRECISIONS}, not {self.precision!r}"
            )


class Task(ABC):
    """A flow, its frames and its loss, as the training loop takes them.

    Losses are in nats. A bank has a group per flow, each with a loss of its own; other flows are
    one group.

    Attributes:
        flow: what is trained; with several groups, every parameter's leading dim is the group.
        device: where it is trained.
        n_dims: dimensions that a loss is spread over, for bits per dimension.
        groups: a name for each group, for messages.
        n_batches: batches per epoch.
        validated: ``(groups,)`` bool, whether a group has frames to be validated on.
        generator: of shuffles and equalizers; its state is part of a checkpoint.
    """

    flow: nn.Module
    device: torch.device
    n_dims: int
    groups: Sequence[str]
    n_batches: int
    validated: Tensor
    generator: torch.Generator

    @abstractmethod
    def batches(self) -> Iterator[tuple[Tensor, ...]]:
        """One pass over the frames: this rank's share of each batch, on the device."""

    @abstractmethod
    def gradient(self, *batch: Tensor) -> Tensor:
        """Fill ``.grad`` with the gradient of a share, and give its ``(groups,)`` losses.

        It depends on nothing but the batch and the state on the device, and never waits for the
        device: on a GPU it becomes a CUDA graph.
        """

    @abstractmethod
    def validate(self) -> Tensor:
        """``(groups,)`` mean losses on the validation frames."""

    def extra_state(self) -> dict[str, Any]:
        """State besides the flow's parameters and the generator."""
        return {}

    def restore_extra_state(self, state: dict[str, Any]) -> None:
        """Take back what `extra_state` gave."""
        assert not state


class BestEpochs:
    """The parameters of the best epoch, for each group of a flow."""

    def __init__(self, flow: nn.Module, n_groups: int) -> None:
        self.flow = flow
        self.state = {name: p.detach().clone() for name, p in flow.named_parameters()}
        self.losses = torch.full((n_groups,), math.inf)
        self.epochs = torch.zeros(n_groups, dtype=torch.int64)

    def offer(self, losses: Tensor, epoch: int, validated: Tensor) -> None:
        """Keep the current parameters where the ``(groups,)`` losses have improved.

        Groups that have no validation frames (not `validated`) keep their last epoch.
        """
        losses = losses.cpu()
        improved = (losses < self.losses) | ~validated
        self.losses = torch.where(improved, losses, self.losses)
        self.epochs[improved] = epoch
        if not bool(improved.any()):
            return
        for name, parameter in self.flow.named_parameters():
            kept, current = self.state[name], parameter.detach()
            if bool(improved.all()):
                kept.copy_(current)
            else:
                groups = improved.nonzero()[:, 0].to(kept.device, non_blocking=True)
                kept.index_copy_(0, groups, current.index_select(0, groups))

    def restore(self) -> None:
        with torch.no_grad():
            for name, parameter in self.flow.named_parameters():
                parameter.copy_(self.state[name])


@contextmanager
def product_precision(precision: str, device: torch.device) -> Iterator[None]:
    """Let autograd's products in couplings run at a precision asked for by name.

    Raises:
        RuntimeError: "tf32" on a device that has none.
    """
    if precision == "tf32" and device.type != "cuda":
        raise RuntimeError(f"precision 'tf32' needs a GPU, the training runs on {device}")
    matmul = torch.backends.cuda.matmul
    before = matmul.allow_tf32
    matmul.allow_tf32 = precision == "tf32"
    try:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            yield
    finally:
        matmul.allow_tf32 = before


def train(
    task: Task,
    config: TrainingConfig,
    *,
    identity: dict[str, Any] | None = None,
    folder: Path | None = None,
    progress: bool = False,
) -> dict[str, Any]:
    """Train a flow with Adam; the best epoch by validation loss stays in it, per group.

    With a `folder`, every epoch is a line of its ``log.csv``, ``losses.png`` shows the losses, and
    a training that is killed goes on from its ``checkpoint.pt`` with the same bits (on a CPU with
    the same number of threads). Ctrl-C writes one after the step that it meets, but not where
    several ranks train together, which could not meet at one step.

    Args:
        task: the flow, its frames and its loss.
        config: step sizes and lengths.
        identity: what distinguishes this training from others; a checkpoint must agree with it.
        folder: where to keep checkpoint, log and picture; by default nothing is written.
        progress: show a progress bar.

    Returns:
        Record of the training: settings, best epochs, losses per epoch in bits per dimension.

    Raises:
        FloatingPointError: a loss is not finite or exploded; the best parameters so far are put
            back, and stay in the checkpoint.
        ValueError: the folder holds the checkpoint of another training.
        KeyboardInterrupt: Ctrl-C; says where the checkpoint is.
    """
    identity = {**asdict(config), **(identity or {})}
    # Dropout draws from the global generator.
    with torch.random.fork_rng():
        torch.manual_seed(config.random_state + ranks.rank())
        training = _Training(task, config, identity, folder)
        training.run(progress)
    return training.record()


class _Training:
    """A training in progress."""

    def __init__(
        self, task: Task, config: TrainingConfig, identity: dict[str, Any], folder: Path | None
    ) -> None:
        self.task, self.config, self.identity = task, config, identity
        self.folder = folder if ranks.is_first() else None
        ranks.copy_first(task.flow.parameters())
        self.optimizer = torch.optim.Adam(
            task.flow.parameters(), lr=config.learning_rate, fused=True
        )
        self.clipped_gradient = ClippedGradient(
            task.flow, task.gradient, len(task.groups), config.max_norm, task.device
        )
        self.schedule = None
        if config.one_cycle:
            self.schedule = torch.optim.lr_scheduler.OneCycleLR(
                self.optimizer,
                config.learning_rate,
                total_steps=config.max_epochs * task.n_batches,
            )
        self.best = BestEpochs(task.flow, len(task.groups))
        self.history: list[dict[str, float]] = []
        self.losses: list[Tensor] = []  # of the epoch's steps so far
        self.norms: list[Tensor] = []
        self.generator = task.generator.get_state()  # where the epoch begins
        self.to_bits = 1 / (math.log(2) * task.n_dims)
        if folder is not None:
            state = checkpoint.load(folder, identity)
            if state is not None:
                self._restore(state)
        self.last_checkpoint = time.monotonic()

    @property
    def exhausted(self) -> bool:
        """Whether the epochs, or the patience, have run out."""
        epoch, patience = len(self.history), self.config.patience
        if epoch >= self.config.max_epochs:
            return True
        watched = self.best.epochs[self.task.validated]
        return patience is not None and len(watched) > 0 and epoch - int(watched.max()) >= patience

    def run(self, progress: bool) -> None:
        n_batches = self.task.n_batches
        keeps = self.folder is not None and ranks.n_ranks() == 1
        with (
            interruption.held_back(keeps) as interrupted,
            bar(
                total=self.config.max_epochs,
                initial=len(self.history) + len(self.losses) / n_batches,
                shown=progress and ranks.is_first(),
                bar_format=_BAR,
            ) as shown,
        ):
            while not self.exhausted:
                self._epoch(shown, interrupted)
                recent = self.history[-1]
                shown.set_postfix_str(
                    f"bits/dim: train {recent['training']:.3f}, "
                    f"validation {recent['validation']:.3f}"
                )
                self._keep(done=self.exhausted)
            if interrupted():
                self._stop_here("the end")
        self.best.restore()

    def _epoch(self, shown: Any, interrupted: Callable[[], bool]) -> None:
        task, epoch, start = self.task, len(self.history) + 1, time.monotonic()
        losses, norms = self.losses, self.norms
        n_done = n_checked = len(losses)
        check_every = STEPS_BETWEEN_CHECKS[task.device.type]
        for step, batch in enumerate(task.batches(), 1):
            if step <= n_done:
                continue  # before an interruption; drawn again for the generator's sake
            if interrupted():
                self._check_steps(losses, n_checked, epoch)
                self._stop_here(f"epoch {epoch}, step {step}")
            batch_losses, norm = self.clipped_gradient(*batch)
            losses.append(batch_losses)
            norms.append(norm)
            if step % check_every == 0 or step == task.n_batches:
                self._check_steps(losses, n_checked, epoch)
                n_checked = step
            self.optimizer.step()
            if self.schedule is not None:
                self.schedule.step()
            shown.update(1 / task.n_batches)
        with torch.no_grad():
            held = task.validate()
        validated = torch.where(task.validated, held, 0.0)
        self._check(validated, f"the validation of epoch {epoch}")
        self.best.offer(held, epoch, task.validated)
        self.losses, self.norms, self.generator = [], [], task.generator.get_state()
        self.history.append(
            {
                "epoch": epoch,
                "training": float(torch.stack([x.mean() for x in losses]).mean()) * self.to_bits,
                "validation": float(held.nanmean()) * self.to_bits,
                "gradient_norm": float(torch.stack(norms).mean()),
                "seconds": round(time.monotonic() - start, 3),
            }
        )

    def _wrong(self, losses: Tensor) -> Tensor:
        per_dim = losses / self.task.n_dims
        return ~((per_dim > LOSSES[0]) & (per_dim < LOSSES[1]))

    def _stop_here(self, where: str) -> None:
        assert self.folder is not None
        checkpoint.save(self.folder, self._state())
        raise KeyboardInterrupt(
            f"interrupted before {where}; the same call goes on there, with "
            f"{self.folder / checkpoint.FILE}"
        )

    def _check_steps(self, losses: list[Tensor], first: int, epoch: int) -> None:
        """`_check` the steps from the `first` on, waiting for the device once."""
        if first == len(losses):
            return
        wrong = self._wrong(torch.stack(losses[first:])).any(dim=1)
        if bool(wrong.any()):
            step = first + int(wrong.nonzero()[0])
            self._check(losses[step], f"epoch {epoch}, step {step + 1}")

    def _check(self, losses: Tensor, where: str) -> None:
        """Stop a training that has diverged, at the best parameters so far."""
        wrong = self._wrong(losses)
        if not bool(wrong.any()):
            return
        self.best.restore()
        first = int(wrong.nonzero()[0])
        kept = ""
        if self.folder is not None:
            kept = f"; the last good checkpoint is {self.folder / checkpoint.FILE}"
        raise FloatingPointError(
            f"the training diverged in {where} ({self.task.groups[first]}: loss "
            f"{float(losses[first]) * self.to_bits:.3g} bits per dimension); lower the learning "
            f"rate ({self.config.learning_rate:g}){kept}"
        )

    def _keep(self, done: bool) -> None:
        """Write the log, and once in a while the checkpoint and the picture of the losses."""
        if self.folder is None:
            return
        from dds_fast import plots
        from dds_fast.plots.figure import beside_results

        with writing(self.folder / "log.csv", overwrite=True) as path, path.open("w") as file:
            rows = csv.DictWriter(file, self.history[0])
            rows.writeheader()
            rows.writerows(self.history)
        if not done and time.monotonic() - self.last_checkpoint < CHECKPOINT_SECONDS:
            return
        checkpoint.save(self.folder, self._state())
        with beside_results(self.folder / "losses.png") as path:
            plots.save_figure(plots.losses(self.history), path, overwrite=True)
        self.last_checkpoint = time.monotonic()

    def _state(self) -> dict[str, Any]:
        return {
            "identity": self.identity,
            "flow": {name: p.detach() for name, p in self.task.flow.named_parameters()},
            "optimizer": self.optimizer.state_dict(),
            "schedule": None if self.schedule is None else self.schedule.state_dict(),
            "best": (self.best.state, self.best.losses, self.best.epochs),
            "history": self.history,
            "epoch": (self.losses, self.norms),
            "generators": (self.generator, torch.get_rng_state()),
            "task": self.task.extra_state(),
        }

    @torch.no_grad()
    def _restore(self, state: dict[str, Any]) -> None:
        for name, parameter in self.task.flow.named_parameters():
            parameter.copy_(state["flow"][name])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.schedule is not None:
            self.schedule.load_state_dict(state["schedule"])
        parameters, self.best.losses, self.best.epochs = state["best"]
        for name, kept in self.best.state.items():
            kept.copy_(parameters[name])
        self.history = state["history"]
        so_far = state.get("epoch", ([], []))
        self.losses, self.norms = ([x.to(self.task.device) for x in of] for of in so_far)
        self.generator = state["generators"][0]
        self.task.generator.set_state(self.generator)
        torch.set_rng_state(state["generators"][1])
        self.task.restore_extra_state(state["task"])
        logger.info("going on after epoch %d", len(self.history))

    def record(self) -> dict[str, Any]:
        return {
            "config": asdict(self.config),
            "best_epoch": int(np.median(self.best.epochs.numpy())),
            "validation_bits_per_dim": float(self.best.losses.nanmean()) * self.to_bits,
            "history": self.history,
        }
