"""Coordinates turned to where they are uncorrelated, and each brought to a normal distribution by its quantiles.

What a flow has left to learn is how they hang together, and how they follow from the parameters.

B: batch, G: coordinate, K: knot.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

#: Knots of the map of each coordinate to a normal number.
_KNOTS = 256

#: Principal components narrower than this share of the widest are taken for rounding.
_THIN = 1e-6


class Whitening(nn.Module):
    """Turns and bends coordinates, and back; outside of the knots the map goes on as a straight line.

    Parameters
    ----------
    width : int
        How many there are.
    """

    turn: Tensor
    turn_back: Tensor
    knots: Tensor
    normal: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        even = torch.linspace(-1, 1, _KNOTS)
        self.register_buffer("turn", torch.eye(width))
        self.register_buffer("turn_back", torch.eye(width))
        self.register_buffer("knots", even[:, None].repeat(1, width))
        self.register_buffer("normal", even)

    def adjust(self, z_BG: Tensor) -> None:
        """Find axes and quantiles of the coordinates of a training."""
        z_BG = z_BG.double()
        variance_G, axes = torch.linalg.eigh(torch.cov(z_BG.T).reshape(z_BG.shape[1], -1))
        width_G = variance_G.clamp(min=_THIN * float(variance_G.max())).sqrt()
        axes, width_G = axes.flip(1), width_G.flip(0)  # the widest first
        self.turn.copy_(axes / width_G)
        self.turn_back.copy_((axes * width_G).T)
        x_BG = z_BG @ (axes / width_G)
        share_K = (torch.arange(_KNOTS).double() + 0.5) / _KNOTS
        rising = torch.arange(_KNOTS)[:, None] * 1e-5  # where many are alike, too
        self.knots.copy_(torch.quantile(x_BG, share_K, dim=0) + rising)
        self.normal.copy_(torch.special.ndtri(share_K))

    def forward(self, z_BG: Tensor) -> Tensor:
        """Return turned and bent coordinates, shape [B, G]."""
        x_BG = z_BG @ self.turn
        return torch.stack([_along(x_BG[:, k], self.knots[:, k], self.normal) for k in range(x_BG.shape[1])], 1)

    def back(self, x_BG: Tensor) -> Tensor:
        """Return the coordinates, shape [B, G]."""
        bent = [_along(x_BG[:, k], self.normal, self.knots[:, k]) for k in range(x_BG.shape[1])]
        return torch.stack(bent, 1) @ self.turn_back


def _along(values_B: Tensor, from_K: Tensor, to_K: Tensor) -> Tensor:
    """Return values on the straight lines between knots, and beyond the first and the last."""
    place = (values_B[:, None] > from_K).sum(1).clamp(1, len(from_K) - 1)  # the knots below it
    low, high = from_K[place - 1], from_K[place]
    slope = (to_K[place] - to_K[place - 1]) / (high - low).clamp(min=1e-12)
    return to_K[place - 1] + (values_B - low) * slope
