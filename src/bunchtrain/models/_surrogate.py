"""What all surrogates share: units, constraints, penalties, and how they are trained and asked.

A surrogate is called as `model(features_BU, totals_B, quantities_BQ)` with the scaled features of parameters, what the
quantities are shares of, and these themselves, and returns `levels.Response`. `draw` answers without the quantities,
with one draw of what they may be: a function of normal numbers, `answer`.

B: batch, U: feature of parameters, Q: quantity.
"""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn

from bunchtrain.levels import Response, ResponseShape
from bunchtrain.maxwell import residuals
from bunchtrain.models._coordinates import Coordinates

#: Seed of what is drawn where a trained network is judged: the same for all epochs, so that they compare.
_JUDGED = 1


class Surrogate(nn.Module):
    """The part that does not depend on how quantities are drawn.

    Parameters
    ----------
    shape : ResponseShape
        What it maps, and what it obeys.

    Attributes
    ----------
    chances : int
        Normal numbers of which a draw is a function.
    """

    chances: int

    def __init__(self, shape: ResponseShape) -> None:
        super().__init__()
        self.shape = shape
        self.coordinates = Coordinates(shape)

    def adjust(self, totals_B: Tensor, quantities_BQ: Tensor, features_BU: Tensor | None = None) -> None:
        """Find the units in which quantities of a training are of order 1; some networks look at features, too."""
        self.coordinates.adjust(totals_B, quantities_BQ)

    def forward(self, features_BU: Tensor, totals_B: Tensor, quantities_BQ: Tensor) -> Response:
        """Return losses, and how far one answer is from what is declared of it."""
        with contextlib.nullcontext() if self.training else _judged():
            loss_B = self.losses(features_BU, totals_B, quantities_BQ)
            missed_B, negative_B = self._broken(features_BU, totals_B)
        shape = self.shape
        if shape.conserved == "penalty":
            loss_B = loss_B + shape.weight * missed_B
        if shape.positive == "penalty":
            loss_B = loss_B + shape.weight * negative_B
        if shape.maxwell == "penalty":
            loss_B = loss_B + shape.weight * self._sources(features_BU, totals_B)
        return Response(loss_B, missed_B, negative_B)

    def _broken(self, features_BU: Tensor, totals_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return how far an answer is from its constraints; in the training only where that is a penalty."""
        if self.training and "penalty" not in (self.shape.conserved, self.shape.positive):
            none_B = torch.zeros_like(totals_B)
            return none_B, none_B
        with torch.set_grad_enabled(self.training):
            return self.coordinates.broken(totals_B, self.draw(features_BU, totals_B))

    def _sources(self, features_BU: Tensor, totals_B: Tensor) -> Tensor:
        """Return divergence and curl of the mean, squared, in shares of the field per largest width, shape [B]."""
        widths = [one / max(self.shape.widths) for one in self.shape.widths]

        def field(features: Tensor) -> Tensor:
            return cast(Tensor, cast(Any, self).expect(features, totals_B)) / self.coordinates.unit

        divergence_B, curl_B3 = residuals(field, features_BU, widths, graph=self.training)
        return divergence_B.square() + curl_B3.square().sum(1)

    @abstractmethod
    def losses(self, features_BU: Tensor, totals_B: Tensor, quantities_BQ: Tensor) -> Tensor:
        """Return the loss of each row, shape [B]."""

    def draw(self, features_BU: Tensor, totals_B: Tensor) -> Tensor:
        """Return one draw of the quantities of each row, shape [B, Q], by the global random numbers."""
        return self.answer(features_BU, totals_B, features_BU.new_empty(len(features_BU), self.chances).normal_())

    @abstractmethod
    def answer(self, features_BU: Tensor, totals_B: Tensor, chance_BN: Tensor) -> Tensor:
        """Return the quantities that follow from `chances` normal numbers for each row, shape [B, Q]."""


@contextlib.contextmanager
def _judged() -> Iterator[None]:
    """Let random numbers be the same ones whenever this is entered, and go on outside as if it had not been."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_JUDGED)
        yield


def trunk(width: int, hidden: int, layers: int, dropout: float = 0.0) -> nn.Sequential:
    """Return so many layers of smooth units, each with dropout where one is asked for."""
    parts: list[nn.Module] = []
    for before in [width, *[hidden] * (layers - 1)]:
        parts += [nn.Linear(before, hidden), nn.SiLU()] + ([nn.Dropout(dropout)] if dropout else [])
    return nn.Sequential(*parts)


def normal_loss(missed_BQ: Tensor, log_variance_BQ: Tensor) -> Tensor:
    """Return minus the logarithm of a normal density, up to a constant, in the mean over quantities, shape [B]."""
    return ((missed_BQ.square() * (-log_variance_BQ).exp() + log_variance_BQ) / 2).mean(1)
