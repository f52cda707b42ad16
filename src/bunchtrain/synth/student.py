"""How a student learns the tagger's answers: in floating point, then as it will be built.

A: answer, B: batch, I: input, C: class.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from bunchtrain.config.synthesize import Student as Settings
from bunchtrain.errors import NonFiniteLoss
from bunchtrain.synth.compressors import base as compressors
from bunchtrain.synth.compressors.base import Compressor
from bunchtrain.synth.students.base import Student

#: Share of the spread's squared error, of powers of two, in the loss: more of it costs the class answers accuracy.
_SPREAD = 0.25

#: The quantised epochs start from a trained network: a share of the first learning rate is enough.
_FINE_TUNING = 0.5


@dataclass(frozen=True)
class Lesson:
    """What the student learns from.

    Parameters
    ----------
    x_BI : Tensor [B, I]
        Inputs, values of the input format.
    teacher_BC : Tensor [B, C]
        The tagger's logits.
    labels_B : int64 Tensor [B]
        Classes.
    weights_B : Tensor [B]
        Event weights times class weights; their mean over the training split is 1.
    angles : pair of list of int
        Columns of `x_BI` that hold the constituents' Δη and Δφ.
    spread_B : Tensor [B], optional
        What the answer behind those of the classes is to be; see `posterior`.
    """

    x_BI: Tensor
    teacher_BC: Tensor
    labels_B: Tensor
    weights_B: Tensor
    angles: tuple[list[int], list[int]]
    spread_B: Tensor | None = None

    def rows(self, rows_b: Tensor, order: torch.Generator) -> Lesson:
        """Return the lesson of some jets, each turned and reflected at random.

        A jet means the same after a quarter turn about its axis or a reflection; the small student would need many
        more jets to find out by itself.
        """
        eta, phi = self.angles
        x_BI = self.x_BI[rows_b]
        signs_2B1 = torch.randint(0, 2, (2, len(rows_b), 1), generator=order) * 2 - 1
        turned_B1 = torch.randint(0, 2, (len(rows_b), 1), generator=order).bool()
        eta_BN, phi_BN = x_BI[:, eta] * signs_2B1[0], x_BI[:, phi] * signs_2B1[1]
        x_BI[:, eta] = torch.where(turned_B1, phi_BN, eta_BN)
        x_BI[:, phi] = torch.where(turned_B1, eta_BN, phi_BN)
        spread_B = None if self.spread_B is None else self.spread_B[rows_b]
        taught = self.teacher_BC[rows_b], self.labels_B[rows_b], self.weights_B[rows_b]
        return Lesson(x_BI, *taught, self.angles, spread_B)


def distillation_loss(answers_BA: Tensor, lesson: Lesson, settings: Settings) -> Tensor:
    """Return the mean of teacher's and labels' cross entropies (Hinton, Vinyals and Dean, arXiv:1503.02531).

    Where the lesson has a spread, the squared error of the answer behind those of the classes is added. The weighted
    sum over the jets is divided by their number: the weights of a batch may add up to nothing or less.
    """
    logits_BC, heat = answers_BA[:, : lesson.teacher_BC.shape[1]], settings.temperature
    soft = torch.softmax(lesson.teacher_BC / heat, -1)
    from_teacher = functional.cross_entropy(logits_BC / heat, soft, reduction="none") * heat**2
    from_labels = functional.cross_entropy(logits_BC, lesson.labels_B, reduction="none")
    mixed = settings.distillation * from_teacher + (1 - settings.distillation) * from_labels
    if lesson.spread_B is not None:
        mixed = mixed + _SPREAD * (answers_BA[:, -1] - lesson.spread_B).square()
    return (mixed * lesson.weights_B).sum() / len(lesson.labels_B)


def train(student: Student, lesson: Lesson, settings: Settings, seed: int) -> Student:
    """Train `student` in place to be the quantised network and return its floating-point twin, trained as long.

    The twin goes through the same epochs without rounding and pruning, so that their difference is the price of both.

    Raises
    ------
    NonFiniteLoss
        If the loss is no longer finite.
    """
    order = torch.Generator().manual_seed(seed)
    _run(student, lesson, settings, order, rate=settings.learning_rate)
    twin = copy.deepcopy(student)
    state = order.get_state()
    rate = settings.learning_rate * _FINE_TUNING
    _run(twin, lesson, settings, order, rate=rate)
    order.set_state(state)
    compressor = compressors.build(settings.compression.model_dump(), student, lesson.x_BI, settings)
    _run(student, lesson, settings, order, rate=rate, compressor=compressor)
    compressor.finish()
    return twin.eval()


def _run(
    student: Student,
    lesson: Lesson,
    settings: Settings,
    order: torch.Generator,
    *,
    rate: float,
    compressor: Compressor | None = None,
) -> None:
    """Run `settings.epochs` epochs; the learning rate falls to zero along a cosine."""
    name = "quantised" if compressor else "float"
    compressor = compressor or Compressor()
    optimiser = torch.optim.Adam(compressor.groups(student, rate))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.epochs)
    for epoch in range(settings.epochs):
        compressor.begin_epoch(epoch)
        total = 0.0
        for batch in _batches(lesson, settings.batch_size, order):
            loss = distillation_loss(student(batch.x_BI), batch, settings) + compressor.penalty()
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            total += float(loss.detach()) * len(batch.labels_B)
        schedule.step()
        compressor.end_epoch(epoch)
        mean = total / len(lesson.labels_B)
        if not math.isfinite(mean):
            raise NonFiniteLoss(
                "the student's loss is not finite", key="synthesize.student.learning_rate", found=rate, mend="lower it"
            )
        if (epoch + 1) % max(settings.epochs // 3, 1) == 0:
            print(f"[synthesize] {name} student, epoch {epoch + 1}/{settings.epochs}: loss {mean:.4f}", flush=True)


def _batches(lesson: Lesson, size: int, order: torch.Generator) -> Iterator[Lesson]:
    shuffled = torch.randperm(len(lesson.labels_B), generator=order)
    for start in range(0, len(shuffled), size):
        yield lesson.rows(shuffled[start : start + size], order)
