"""The numbers in which a surrogate works, and the way back to quantities, on which constraints hold by construction.

Quantities that may not be negative are seen by their logarithm, which well below their mean becomes a straight line;
others as they are. Back from there, quantities that have to add up to the total are scaled to it where they are
positive, else what is missing is shared out among them by their widths. So a network may say what it likes: what leaves
it obeys.

B: batch, Q: quantity.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bunchtrain.levels import ResponseShape

#: Part of a quantity's mean in the training below which its logarithm becomes a straight line.
_FLOOR = 0.1

#: How far below the floor nothing lies, in the logarithm.
_BELOW = 0.5

#: No coordinate is further from the centre than so many widths when it becomes a quantity.
_FAR = 12.0

_TINY = 1e-30

#: Of the half of a normal distribution.
_MEDIAN = 0.6745


class Coordinates(nn.Module):
    """Quantities to coordinates of centre 0 and width 1, and back.

    Parameters
    ----------
    shape : ResponseShape
        How many there are, and what they obey.
    """

    centre: Tensor
    width: Tensor
    floor: Tensor
    unit: Tensor

    def __init__(self, shape: ResponseShape) -> None:
        super().__init__()
        self.share, self.conserved = shape.share, shape.conserved == "construction"
        self.positive = shape.positive == "construction"
        self.register_buffer("centre", torch.zeros(shape.quantities))
        for name in ("width", "floor"):
            self.register_buffer(name, torch.ones(shape.quantities))
        self.register_buffer("unit", torch.ones(1))

    def adjust(self, totals_B: Tensor, quantities_BQ: Tensor) -> None:
        """Find centre and width of the coordinates."""
        if not self.share:
            self.unit.fill_(float(quantities_BQ.abs().mean().clamp(min=_TINY)))
        shares_Q = (quantities_BQ / self._scale(totals_B)[:, None]).clamp(min=0).mean(0)
        self.floor.copy_(_FLOOR * torch.where(shares_Q > 0, shares_Q, shares_Q.max()).clamp(min=_TINY))
        raw_BQ = self._raw(totals_B, quantities_BQ)
        self.centre.copy_(raw_BQ.mean(0))
        spread_Q = raw_BQ.std(0, correction=0)
        self.width.copy_(torch.where(spread_Q > 1e-9, spread_Q, torch.ones_like(spread_Q)))

    def forward(self, totals_B: Tensor, quantities_BQ: Tensor) -> Tensor:
        """Return coordinates, shape [B, Q].

        Where a logarithm is taken, what is nothing lies somewhere below the floor: as the half of a normal distribution
        in training, so that a density has no spike there, at its median otherwise.
        """
        raw_BQ = self._raw(totals_B, quantities_BQ)
        if self.positive:
            none_BQ = raw_BQ <= self.floor.log() + 1e-4
            below_BQ = torch.randn_like(raw_BQ).abs() if self.training else raw_BQ.new_tensor(_MEDIAN)
            raw_BQ = torch.where(none_BQ, raw_BQ - _BELOW * below_BQ, raw_BQ)
        return (raw_BQ - self.centre) / self.width

    def back(self, totals_B: Tensor, coordinates_BQ: Tensor) -> Tensor:
        """Return quantities, shape [B, Q]."""
        raw_BQ = coordinates_BQ.clamp(-_FAR, _FAR) * self.width + self.centre
        scale_B1 = self._scale(totals_B)[:, None].double()
        if self.positive:
            shares_BQ = (raw_BQ.double().exp() - self.floor).clamp(min=0)
            if self.conserved:
                shares_BQ = shares_BQ / shares_BQ.sum(1, keepdim=True).clamp(min=_TINY)
            return (shares_BQ * scale_B1).to(coordinates_BQ.dtype)
        shares_BQ = raw_BQ.double()
        if self.conserved:
            part_Q = self.width.double() / self.width.double().sum()
            shares_BQ = shares_BQ + (1 - shares_BQ.sum(1, keepdim=True)) * part_Q
        return (shares_BQ * scale_B1).to(coordinates_BQ.dtype)

    def broken(self, totals_B: Tensor, quantities_BQ: Tensor) -> tuple[Tensor, Tensor]:
        """Return by how much quantities miss their total, and what is negative of them, as shares of it, [B] each."""
        shares_BQ = quantities_BQ / self._scale(totals_B)[:, None]
        negative_B = (-shares_BQ).clamp(min=0).sum(1)
        return (shares_BQ.sum(1) - 1).abs() if self.share else torch.zeros_like(negative_B), negative_B

    def _scale(self, totals_B: Tensor) -> Tensor:
        return totals_B if self.share else totals_B * self.unit

    def _raw(self, totals_B: Tensor, quantities_BQ: Tensor) -> Tensor:
        shares_BQ = quantities_BQ / self._scale(totals_B)[:, None]
        return (shares_BQ.clamp(min=0) + self.floor).log() if self.positive else shares_BQ
