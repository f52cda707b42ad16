"""What tasks share that map parameters to quantities.

B: batch.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from bunchtrain.levels import Response, ResponseTargets, Widths

#: Share of the total that answers may miss it by, or be below zero, before a word is said.
_WORTH_A_WORD = 1e-3


class ResponseTask:
    """A surrogate's own loss, row by row, and what becomes of the physics that was declared.

    Parameters
    ----------
    classes : list of str
        The classes of the samples, all of which it learns from.
    """

    variables: tuple[str, ...] = ()
    truth: tuple[str, ...] = ()
    bounds: tuple[tuple[int | None, int | None], ...] = ()
    loss_told = (
        "minus the logarithm of the likelihood in the mean over quantities, a bound on it, or what stands for it"
    )

    def __init__(self, classes: list[str]) -> None:
        self.classes = classes

    @property
    def widths(self) -> Widths:
        """None: how many quantities there are, the rows say."""
        return Widths()

    def loss(self, response: Response, targets: ResponseTargets) -> Tensor:
        """Return the loss of each row times its weight, summed over the batch."""
        return (response.loss_B * targets.weights_B).sum()

    def sums(self, response: Response, targets: ResponseTargets) -> Tensor:
        """Return rows, and what their answers miss the total by and have below zero, summed, float64 [3]."""
        of_each = [torch.ones_like(response.missed_B), response.missed_B, response.negative_B]
        return torch.stack([one.double().sum() for one in of_each]).cpu()

    def figures(self, sums: Tensor) -> dict[str, float]:
        """Return what a validation says beside the loss."""
        rows, missed, negative = sums.tolist()
        return {"missed_total": missed / max(rows, 1), "negative_share": negative / max(rows, 1)}

    def told(self, figures: Mapping[str, float]) -> str:
        """Return these figures in words."""
        return f"misses the total by {figures['missed_total']:.1e}, below zero {figures['negative_share']:.1e}"

    def warnings(self, figures: Mapping[str, float]) -> list[str]:
        """Return what is wrong with a trained network: nothing that its validation could say."""
        return []
