"""The training loop: epochs of steps, validation, early stopping, checkpoints.

B: batch.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NoReturn, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bunchtrain.errors import NonFiniteLoss, Requeue
from bunchtrain.progress import track
from bunchtrain.train.batches import Ahead, Batch, Source, loaded
from bunchtrain.train.checkpoint import Checkpoints, Progress
from bunchtrain.train.metrics import LatentSums, ValidationSums, sums_for
from bunchtrain.train.optimise import Figures, Optimisation
from bunchtrain.train.sampler import Step, rank_steps, steps_per_epoch
from bunchtrain.train.schedule import learning_rate
from bunchtrain.train.stopping import RECORD, StopSignal
from bunchtrain.train.tracking import Clock, Tracker


@dataclass
class Split:
    """The rows of a split and what makes their batches."""

    indices: NDArray[np.int64]
    source: Source


class Trainer:
    """Trains one network on the ranks of one group.

    Parameters
    ----------
    state : Optimisation
        The network, its optimizer and the group.
    checkpoints : Checkpoints
        Where the training goes on from.
    tracker : Tracker
        Where its course is written.
    seed : int
        Order of jets and random numbers follow from it.
    say : callable
        Prints a line on rank 0.
    stops : sequence of (epoch, loss)
        Epochs after which it ends where its best validation loss is above a number.
    """

    def __init__(
        self,
        state: Optimisation,
        checkpoints: Checkpoints,
        tracker: Tracker,
        *,
        seed: int,
        say: Callable[[str], None],
        stops: Sequence[tuple[int, float]] = (),
    ) -> None:
        self.state, self.checkpoints, self.tracker = state, checkpoints, tracker
        self.settings, self.parallel = state.settings, state.parallel
        self.seed, self.say, self.stops = seed, say, dict(stops)
        self.progress = Progress()
        self.best: dict[str, Tensor] = state.judged.state_dict()
        self.stop = StopSignal()
        self._saved = time.monotonic()
        self._steps = 1  # of an epoch

    def fit(self, train: Split, validation: Split) -> dict[str, Tensor]:
        """Train until done and return the best weights.

        Raises
        ------
        NonFiniteLoss
            If the loss becomes NaN or infinite.
        Requeue
            If a signal asked for a stop; a checkpoint was written.
        """
        self._steps = steps_per_epoch(len(train.indices), self.settings.batch_size, self.settings.steps_per_epoch)
        self._restore()
        with self.stop.listening():
            while self.progress.epoch < self.settings.epochs and not self._out_of_patience():
                if self.stopped_early:
                    self.say(f"ends early: best validation loss {self.progress.best_loss:.4f}")
                    break
                self._epoch(train, validation)
        return self.best

    @property
    def stopped_early(self) -> bool:
        """Whether the epochs so far have left it too bad a loss; one loss for all ranks, so they end together."""
        limit, best = self.stops.get(self.progress.epoch), self.progress.best_loss
        return limit is not None and best is not None and best > limit

    @property
    def steps_done(self) -> int:
        """Steps since the start of the training."""
        return self.progress.epoch * self._steps + self.progress.step

    def _restore(self) -> None:
        """Go on from the checkpoint that rank 0 sees, or start all ranks from rank 0's weights."""
        path = self.checkpoints.newest() if self.parallel.rank == 0 else None
        found = 0 if path is None else 1 + int(path.stem)
        number = self.parallel.sum(torch.tensor([found], dtype=torch.float64)).item()
        if number > 0:
            path = path or self.checkpoints.path(int(number) - 1)
            self.progress, self.best = self.checkpoints.load(path, self.state)
            self.best = {name: tensor.to(self.state.device) for name, tensor in self.best.items()}
            self.say(f"goes on from epoch {self.progress.epoch + 1}, step {self.progress.step}")
        else:
            for line in self.checkpoints.others() if self.parallel.rank == 0 else ():
                self.say(f"a checkpoint of another training is left aside; {line}")
            self.parallel.broadcast(self.state.model.state_dict())
            if self.state.averaged is not None:
                self.parallel.broadcast(self.state.averaged.state_dict())
            self.best = copy.deepcopy(self.state.judged.state_dict())
        self.tracker.go_on_from(self.steps_done)

    def _epoch(self, train: Split, validation: Split) -> None:
        begun = self.progress.step  # above 0 if it goes on in the middle of the epoch
        clock = self._run_steps(train)
        seconds = clock.seconds * self._steps / max(self._steps - begun, 1)  # of the whole epoch
        rates, rate = clock.rates(), self._rate_of(self.steps_done - 1)
        if self.progress.weight_sum <= 0:
            raise NonFiniteLoss(
                "the weights of the jets trained on do not add up to a positive number",
                key=f"epoch {self.progress.epoch + 1}",
                found=self.progress.weight_sum,
                mend="look at the event weights of the samples",
            )
        validating = time.perf_counter()
        sums = self._validate(validation)
        progress = self.progress
        row = {
            "epoch": progress.epoch + 1,
            "train_loss": progress.loss_sum / progress.weight_sum,
            "validation_loss": sums.loss,
            **sums.figures(),
            "learning_rate": rate,
            **rates,
            **({"step_seconds": seconds} if rates else {}),
            "validation_seconds": time.perf_counter() - validating,
        }
        progress.history.append(row)
        self._judge(sums.loss)
        progress.epoch, progress.step, progress.loss_sum, progress.weight_sum = progress.epoch + 1, 0, 0.0, 0.0
        self._save()
        self.tracker.epoch(row)
        told = f"epoch {progress.epoch}/{self.settings.epochs}  loss {row['train_loss']:.4f}  "
        told += f"validation {sums.loss:.4f}  {sums.told()}"
        if rates:
            told += f"  {rates['jets_per_second']:.0f} {train.source.rows}/s  "
            told += f"waiting for data {rates['waiting_for_data']:.0%}, "
            told += f"for ranks {rates['communication']:.0%}  padding {rates['padding']:.0%}"
        self.say(told)

    def _rate_of(self, step: int) -> float:
        """Return the learning rate of a step, counted over the whole training."""
        return learning_rate(self.settings, step, self._steps, self.progress.factor)

    def _judge(self, loss: float) -> None:
        """Keep the weights if they are the best so far; lower the rate where the schedule asks for it."""
        progress, settings = self.progress, self.settings
        if progress.best_loss is None or loss < progress.best_loss:
            progress.best_loss, progress.best_epoch = loss, progress.epoch
            self.best = copy.deepcopy(self.state.judged.state_dict())
        waited = progress.epoch - max(progress.best_epoch, progress.lowered)
        if settings.schedule == "plateau" and waited >= settings.plateau_patience:
            progress.factor, progress.lowered = progress.factor * settings.plateau_factor, progress.epoch

    def _run_steps(self, train: Split) -> Clock:
        """Run what is left of the epoch."""
        whole, since = Clock(), Clock()
        state, progress, parallel = self.state, self.progress, self.parallel
        state.model.train()
        first = progress.epoch * self._steps
        ahead = Ahead(loaded(self._order(train), train.source, first))
        batches: Iterator[tuple[Step, list[list[Batch]]]] = ahead
        if parallel.rank == 0:
            batches = track(batches, self._steps - progress.step, f"epoch {progress.epoch + 1}")
        asked = time.perf_counter()
        for step, mine in batches:
            waited, before = time.perf_counter() - asked, state.communicating
            number = first + step.number
            rate, watched = self._rate_of(number), self.tracker.due(number + 1)
            figures = state.step(
                step, mine, rate, self.seed, number, self.stop.told, meanwhile=ahead.look, watched=watched
            )
            for clock in (whole, since):
                clock.add(step.jets, waited, state.communicating - before)
                for batch in chain.from_iterable(mine):
                    clock.pack(batch.slots, batch.constituents)
            if figures.not_finite:
                self._stop_for(step, train, figures)
            progress.loss_sum += figures.loss
            progress.weight_sum += figures.weight
            progress.step = step.number + 1
            if self.tracker.step(number + 1, progress.epoch + 1, figures, rate, since):
                since = Clock()
            self._save_in_between(told=figures.told_to_stop > 0)
            asked = time.perf_counter()
        return whole

    def _order(self, train: Split) -> Iterator[Step]:
        return rank_steps(
            train.indices,
            seed=self.seed,
            epoch=self.progress.epoch,
            batch=self.settings.batch_size,
            pieces=self.settings.pieces,
            sizes=train.source.sizes,
            rank=self.parallel.rank,
            size=self.parallel.size,
            start=self.progress.step,
            stop=self._steps,
        )

    def _stop_for(self, step: Step, train: Split, figures: Figures) -> NoReturn:
        """Keep the jets of a step whose loss or gradient is not finite, and end on all ranks."""
        where = f"epoch {self.progress.epoch + 1}, step {step.number}"
        path = self.checkpoints.out / RECORD.format(rank=self.parallel.rank)
        train.source.describe(path, np.concatenate([piece.jets for piece in step.mine]), where)
        self.parallel.barrier()
        mend = "lower train.learning_rate, set train.clip_norm, or look at the jets in this file"
        if math.isfinite(figures.loss) and self.settings.compression == "fp16":
            mend = "set train.compression to none: on their way in fp16, gradients above 65504 become infinite"
        problem = f"the {'gradient' if math.isfinite(figures.loss) else 'loss'} is no longer finite"
        raise NonFiniteLoss(problem, file=path, key=where, found="NaN or infinity", mend=mend)

    def _validate(self, validation: Split) -> ValidationSums | LatentSums:
        sums = sums_for(self.state.task)
        mine = validation.indices[self.parallel.rank :: self.parallel.size]
        network = self.state.judged.eval()
        with torch.no_grad(), self.state.precision.autocast():
            size = validation.source.at_once
            parts = (mine[start : start + size] for start in range(0, len(mine), size))
            for batch in chain.from_iterable(map(validation.source, parts)):
                answers = self.state.precision.raised(network(*batch.inputs))
                sums.add(self.state.task, answers, cast(Any, batch.targets))
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
        weights = self.state.model.state_dict().values()
        if not all(torch.isfinite(tensor).all() for tensor in weights if tensor.is_floating_point()):
            raise NonFiniteLoss(
                "the weights are no longer finite; the last checkpoint stands",
                key=f"epoch {self.progress.epoch + 1}, step {self.progress.step}",
                found="NaN or infinity",
                mend="lower train.learning_rate, or set train.clip_norm",
            )
        if self.parallel.rank == 0:
            self.checkpoints.save(self.steps_done, self.progress, self.state, self.best)
        self._saved = time.monotonic()

    def _save_in_between(self, *, told: bool) -> None:
        """Save in the middle of an epoch: now and then, and before a stop that any rank was told of."""
        if told or time.monotonic() - self._saved > 60 * self.settings.checkpoint_minutes:
            self._save()
        if told:
            self.parallel.barrier()  # the first rank to leave makes its launcher end the others
            raise Requeue(
                "the training was asked to stop and saved its state",
                file=self.checkpoints.folder,
                mend="run it again to go on",
            )
