"""The training loop: epochs of steps, validation, early stopping, checkpoints.

B: batch.
"""

from __future__ import annotations

import copy
import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bunchtrain.config.train import Train
from bunchtrain.errors import Requeue, TrainingError
from bunchtrain.parallel.base import ParallelProtocol
from bunchtrain.progress import track
from bunchtrain.tasks.base import TaskProtocol
from bunchtrain.train import checkpoint
from bunchtrain.train.batches import BatchSource
from bunchtrain.train.checkpoint import Progress
from bunchtrain.train.metrics import ValidationSums
from bunchtrain.train.sampler import rank_batches, steps_per_epoch, stream_seed

#: Steps between two questions to all ranks whether one was told to stop.
STOP_EVERY = 10


class NonFiniteLoss(TrainingError):
    """The loss became NaN or infinite."""

    exit_code = 86


@dataclass
class Split:
    """The jets of a split and what makes their batches."""

    indices: NDArray[np.int64]
    source: BatchSource


def learning_rate(settings: Train, size: int, step: int, steps: int) -> float:
    """Return a step's rate: a linear rise to `size` times the base (arXiv:1706.02677), then a cosine to 0."""
    warmup = settings.warmup_epochs * steps
    total = settings.epochs * steps
    if step < warmup:
        return settings.learning_rate * (1 + (size - 1) * step / warmup)
    done = (step - warmup) / max(total - warmup, 1)
    return settings.learning_rate * size * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


class Trainer:
    """Trains one network on the ranks of one group."""

    def __init__(
        self,
        model: nn.Module,
        task: TaskProtocol,
        parallel: ParallelProtocol,
        settings: Train,
        *,
        seed: int,
        fingerprint: str,
        checkpoint_path: Path,
        say: Callable[[str], None],
    ) -> None:
        self.model, self.task, self.parallel, self.settings = model, task, parallel, settings
        self.seed, self.path, self.say = seed, checkpoint_path, say
        self.optimizer = torch.optim.AdamW(
            model.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.progress = Progress(fingerprint)
        self.best = model.state_dict()
        self._told_to_stop = False

    @property
    def global_batch(self) -> int:
        """Jets of one step on all ranks."""
        return self.settings.batch_size * self.parallel.size

    def fit(self, train: Split, validation: Split) -> dict[str, Tensor]:
        """Train until done and return the best weights.

        Raises
        ------
        NonFiniteLoss
            If the loss becomes NaN or infinite.
        Requeue
            If a signal asked for a stop; a checkpoint was written.
        """
        self._restore()
        with self._signals():
            while self.progress.epoch < self.settings.epochs and not self._out_of_patience():
                self._epoch(train, validation)
        return self.best

    def _restore(self) -> None:
        """Go on from the checkpoint that rank 0 sees, or start all ranks from rank 0's weights."""
        exists = torch.tensor([float(self.parallel.rank == 0 and self.path.exists())])
        if self.parallel.sum(exists).item() > 0:
            restored = checkpoint.load(self.path, self.progress.fingerprint, self.model, self.optimizer)
            if restored is not None:
                self.progress, self.best = restored
                if self.parallel.rank != 0:  # the sums of a half-done epoch were added up on rank 0
                    self.progress.loss_sum = self.progress.weight_sum = 0.0
                self.say(f"goes on from epoch {self.progress.epoch + 1}, step {self.progress.step}")
                return
            self.say("a checkpoint of another training is left aside; starts from the beginning")
        self.parallel.broadcast(self.model.state_dict())
        self.best = copy.deepcopy(self.model.state_dict())

    def _epoch(self, train: Split, validation: Split) -> None:
        steps = steps_per_epoch(len(train.indices), self.global_batch)
        started = time.perf_counter()
        waiting, jets = self._steps(train, steps)
        seconds = time.perf_counter() - started
        sums = self._validate(validation)
        progress = self.progress
        loss_sum, weight_sum = self.parallel.sum(
            torch.tensor([progress.loss_sum, progress.weight_sum], dtype=torch.float64)
        ).tolist()
        row = {
            "epoch": progress.epoch + 1,
            "train_loss": loss_sum / weight_sum,
            "validation_loss": sums.loss,
            "validation_auc": sums.auc,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "jets_per_second": jets / max(seconds, 1e-9),
            "waiting_for_data": waiting / max(seconds, 1e-9),
        }
        progress.history.append(row)
        if progress.best_loss is None or sums.loss < progress.best_loss:
            progress.best_loss, progress.best_epoch = sums.loss, progress.epoch
            self.best = copy.deepcopy(self.model.state_dict())
        progress.epoch, progress.step, progress.loss_sum, progress.weight_sum = progress.epoch + 1, 0, 0.0, 0.0
        self._save()
        self.say(
            f"epoch {progress.epoch}/{self.settings.epochs}  loss {row['train_loss']:.4f}  "
            f"validation {sums.loss:.4f}  AUC {sums.auc:.4f}  {row['jets_per_second']:.0f} jets/s  "
            f"waiting for data {row['waiting_for_data']:.0%}"
        )

    def _steps(self, train: Split, steps: int) -> tuple[float, int]:
        """Run what is left of the epoch; return seconds spent waiting for data and jets seen by all ranks."""
        progress, parallel = self.progress, self.parallel
        waiting, jets = 0.0, 0
        self.model.train()
        batches = rank_batches(
            train.indices,
            seed=self.seed,
            epoch=progress.epoch,
            global_batch=self.global_batch,
            rank=parallel.rank,
            size=parallel.size,
            start=progress.step,
        )
        if parallel.rank == 0:
            batches = track(batches, steps - progress.step, f"epoch {progress.epoch + 1}")
        for step, mine, count in batches:
            if step % STOP_EVERY == 0:
                self._stop_if_told()
            asked = time.perf_counter()
            batch = train.source(mine)
            waiting += time.perf_counter() - asked
            number = progress.epoch * steps + step
            torch.manual_seed(stream_seed(self.seed, number, parallel.rank))
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate(self.settings, parallel.size, number, steps)
            self.optimizer.zero_grad()
            loss = self.task.loss(self.model(*batch.inputs), batch.labels_B, batch.weights_B)
            # The mean over ranks of size/count times each rank's sum is the mean over the global batch, however it was
            # dealt.
            torch.autograd.backward(loss * (parallel.size / count))
            parallel.average_gradients(self.model)
            self.optimizer.step()
            value = loss.item()
            if not math.isfinite(value):
                raise NonFiniteLoss(
                    "the loss is no longer finite",
                    key=f"epoch {progress.epoch + 1}, step {step}",
                    found=value,
                    mend="lower train.learning_rate, or look at the inputs of these jets",
                )
            progress.loss_sum += value
            progress.weight_sum += float(batch.weights_B.sum())
            progress.step = step + 1
            jets += count
        return waiting, jets

    def _validate(self, validation: Split) -> ValidationSums:
        sums = ValidationSums()
        mine = validation.indices[self.parallel.rank :: self.parallel.size]
        self.model.eval()
        with torch.no_grad():
            for start in range(0, len(mine), 1024):
                batch = validation.source(mine[start : start + 1024])
                logits = self.model(*batch.inputs)
                sums.add(self.task, logits, batch.labels_B, batch.weights_B)
        sums.merge(self.parallel)
        if not math.isfinite(sums.loss):
            raise NonFiniteLoss(
                "the validation loss is not finite, or its weights do not add up to a positive number",
                key=f"epoch {self.progress.epoch + 1}",
                found=sums.loss,
            )
        return sums

    def _out_of_patience(self) -> bool:
        return self.progress.epoch - 1 - self.progress.best_epoch >= self.settings.patience

    def _save(self) -> None:
        if self.parallel.rank == 0:
            checkpoint.save(self.path, self.progress, self.model, self.optimizer, self.best)
        self.parallel.barrier()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Take SIGTERM and SIGUSR1 (preemption, time limit) as a wish to stop at the next step."""

        def told(number: int, frame: FrameType | None) -> None:
            self._told_to_stop = True

        before = {number: signal.signal(number, told) for number in (signal.SIGTERM, signal.SIGUSR1)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop_if_told(self) -> None:
        if self.parallel.sum(torch.tensor([float(self._told_to_stop)])).item() == 0:
            return
        # Each rank holds its own part of the epoch's loss; the checkpoint keeps the whole on rank 0.
        sums = self.parallel.sum(torch.tensor([self.progress.loss_sum, self.progress.weight_sum], dtype=torch.float64))
        self.progress.loss_sum, self.progress.weight_sum = sums.tolist()
        self._save()
        raise Requeue(
            "the training was asked to stop and saved its state", file=self.path, mend="run it again to go on"
        )
