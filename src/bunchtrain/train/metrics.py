"""Sums of the validation that add up over ranks: loss, weight, and the discriminant's histograms, which give the AUC.

M: item.
"""

from __future__ import annotations

from typing import Any, cast

import torch

from bunchtrain.levels import GraphTargets, Logits, Targets
from bunchtrain.parallel.base import ParallelProtocol
from bunchtrain.tasks.base import LatentTask, TaskProtocol

#: Bins of the discriminant's histogram; the AUC they give is exact but for ties inside a bin.
BINS = 4096


class LatentSums:
    """Loss, and what a task without classes adds up, of one validation."""

    def __init__(self, task: LatentTask) -> None:
        self._task = task
        self._loss = torch.zeros(2, dtype=torch.float64)
        self._sums = torch.zeros(0, dtype=torch.float64)

    def add(self, task: TaskProtocol, latent: Any, targets: Any) -> None:
        """Add a batch."""
        self._loss += torch.stack([task.loss(latent, targets), targets.weights_B.sum()]).double().cpu()
        found = self._task.sums(latent, targets)
        self._sums = found if not len(self._sums) else self._sums + found

    def merge(self, parallel: ParallelProtocol) -> None:
        """Add up over ranks, of which some may have had no batch."""
        own = len(self._sums)
        lengths, ranks = parallel.sum(torch.tensor([own, own > 0], dtype=torch.float64)).tolist()
        length = int(lengths / max(ranks, 1))
        self._sums = parallel.sum(torch.nn.functional.pad(self._sums, (0, length - own)))
        self._loss = parallel.sum(self._loss)

    def figures(self) -> dict[str, float]:
        """Return what there is beside the loss."""
        return self._task.figures(self._sums)

    def told(self) -> str:
        """Return these figures in words."""
        return self._task.told(self.figures())

    @property
    def loss(self) -> float:
        """Mean loss; NaN when the weights do not add up to a positive number."""
        return float(self._loss[0] / self._loss[1]) if self._loss[1] > 0 else float("nan")


class ValidationSums:
    """Loss and histograms of one validation."""

    def __init__(self) -> None:
        self._loss = torch.zeros(2, dtype=torch.float64)
        self._histograms = torch.zeros(2, BINS, dtype=torch.float64)

    def add(self, task: TaskProtocol, logits: Logits, targets: Targets | GraphTargets) -> None:
        """Add a batch."""
        self._loss += torch.stack([task.loss(logits, targets), targets.weights_B.sum()]).double().cpu()
        items = task.items(logits, targets)
        bins_M = (task.discriminant(items.probabilities_MC) * BINS).long().clamp(0, BINS - 1).cpu()
        labels_M, weights_M = items.labels_M.cpu(), items.weights_M.cpu().double()
        for row, label in enumerate((task.signal, task.background)):
            chosen = labels_M == label
            self._histograms[row] += torch.bincount(bins_M[chosen], weights_M[chosen], minlength=BINS)

    def merge(self, parallel: ParallelProtocol) -> None:
        """Add up over ranks."""
        self._loss = parallel.sum(self._loss)
        self._histograms = parallel.sum(self._histograms)

    def figures(self) -> dict[str, float]:
        """Return what there is beside the loss."""
        return {"validation_auc": self.auc}

    def told(self) -> str:
        """Return these figures in words."""
        return f"AUC {self.auc:.4f}"

    @property
    def loss(self) -> float:
        """Mean loss; NaN when the weights do not add up to a positive number."""
        if self._loss[1] <= 0:
            return float("nan")
        return float(self._loss[0] / self._loss[1])

    @property
    def auc(self) -> float:
        """Probability that a signal item scores above a background item, ties half; 0.5 without a class."""
        signal, background = self._histograms
        pairs = float(signal.sum() * background.sum())
        below = background.cumsum(0) - background / 2
        return float((signal * below).sum()) / pairs if pairs else 0.5


def sums_for(task: TaskProtocol) -> ValidationSums | LatentSums:
    """Return what adds up a validation of a task, by what it wants of networks."""
    return LatentSums(cast(LatentTask, task)) if hasattr(task, "sums") else ValidationSums()
