"""One step of the optimisation: forward, backward, the mean over ranks, the update.

B: batch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from bunchtrain.config.train import Train
from bunchtrain.parallel.base import ParallelProtocol
from bunchtrain.tasks.base import TaskProtocol
from bunchtrain.train.adamw import AdamW
from bunchtrain.train.batches import Batch
from bunchtrain.train.device import Precision
from bunchtrain.train.sampler import Step, stream_seed


class Figures(NamedTuple):
    """What a step says, added up over ranks."""

    loss: float
    weight: float
    not_finite: float
    told_to_stop: float
    gradient_norm: float = 0.0


class Optimisation:
    """A network, its optimizer, and the averaged network where one is asked for."""

    def __init__(
        self, model: nn.Module, task: TaskProtocol, parallel: ParallelProtocol, settings: Train, device: torch.device
    ) -> None:
        self.precision = Precision(settings.precision, device)
        self.model = model.to(device, self.precision.dtype)
        self.task, self.parallel, self.settings, self.device = task, parallel, settings, device
        self.optimizer = AdamW(model.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
        self.averaged = None
        if settings.ema is not None:
            self.averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(settings.ema))  # type: ignore[no-untyped-call]
        # Packs differ in number and width: one compilation for all of them, not one for the first alone and another.
        self._run = torch.compile(model, dynamic=True) if settings.compile else model
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        #: Seconds spent waiting for the other ranks and their gradients.
        self.communicating = 0.0

    @property
    def judged(self) -> nn.Module:
        """The network that is validated and kept: the averaged one where there is one."""
        return self.model if self.averaged is None else self.averaged.module

    def step(
        self,
        step: Step,
        packs: Sequence[Sequence[Batch]],
        rate: float,
        seed: int,
        place: int,
        stop: bool,
        *,
        meanwhile: Callable[[], None],
        watched: bool = True,
    ) -> Figures:
        """Run one step; where the loss or the gradient is seen not to be finite, the network stays as it is.

        Parameters
        ----------
        step, packs : Step, sequence of sequences of Batch
            The step, and the jets of each of this rank's pieces of it.
        rate : float
            Its learning rate.
        seed, place : int
            The training's seed and the step's number in the whole training: random numbers follow from them.
        stop : bool
            Whether this rank was told to stop.
        meanwhile : callable
            Called while the gradients are on their way, if they have to travel.
        watched : bool
            Whether the norm of the gradients is wanted; it costs 3 % of a small step.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        figures = torch.zeros(4, dtype=torch.float64, device=self.device)
        for piece, batches in zip(step.mine, packs, strict=True):
            self._seed(stream_seed(seed, place, piece.number))
            for batch in batches:
                figures[:2] += self._backward(batch, self.parallel.size / step.jets)
        figures[2] = ~torch.isfinite(figures[0])
        figures[3] = float(stop)
        total = Figures(*self._exchange(figures, meanwhile).tolist())
        return total if total.not_finite else self._update(total, watched)

    def _seed(self, number: int) -> None:
        """Seed the generators in use: torch.manual_seed is slow, it keeps a stack trace for each absent device."""
        torch.default_generator.manual_seed(number)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(number)

    def _backward(self, batch: Batch, factor: float) -> Tensor:
        """Add a batch's gradients to the others; return its loss and weight.

        The mean over ranks of size/count times each rank's sum is the mean over the step's jets, however it was dealt.
        """
        with self.precision.autocast():
            logits = self._run(*batch.inputs)
        loss = self.task.loss(self.precision.raised(logits), batch.targets)
        torch.autograd.backward(self.precision.scaler.scale(loss * factor))
        return torch.stack([loss.detach().double(), batch.targets.weights_B.double().sum()])

    def _exchange(self, figures: Tensor, meanwhile: Callable[[], None]) -> Tensor:
        for parameter in self._parameters:
            if parameter.grad is None:  # all ranks must send the same, and one must do what several do
                parameter.grad = torch.zeros_like(parameter)
        if self.parallel.size == 1:
            return figures
        started = time.perf_counter()
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        total = self.parallel.average(gradients, figures, meanwhile)
        self.communicating += time.perf_counter() - started
        return total

    def _update(self, figures: Figures, watched: bool) -> Figures:
        """Take the step; add the norm of the gradients to the figures, before they were clipped, if it is wanted.

        A norm that is not finite stops the step, but for fp16, whose scaler leaves such steps out.
        """
        scaler, clip = self.precision.scaler, self.settings.clip_norm
        scaler.unscale_(self.optimizer)
        norm = torch.tensor(math.nan)
        if watched or clip is not None:
            norm = nn.utils.get_total_norm([p.grad for p in self._parameters if p.grad is not None])
            if not scaler.is_enabled() and not torch.isfinite(norm):
                return figures._replace(not_finite=1.0, gradient_norm=norm.item())
        if clip is not None:
            nn.utils.clip_grads_with_norm_(self._parameters, clip, norm)
        scaler.step(self.optimizer)
        scaler.update()
        if self.averaged is not None:
            self.averaged.update_parameters(self.model)
        return figures._replace(gradient_norm=norm.item())
