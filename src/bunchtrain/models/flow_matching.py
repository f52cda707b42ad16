"""Conditional flow matching (arXiv:2210.02747): a field of velocities that carries normal numbers to quantities.

Along straight lines from a normal number to a row's coordinates the velocity is constant; the network learns its mean
at every point and time. To draw, it is followed from time 0 to 1 in steps of Heun.

B: batch, U: feature of parameters, Q: quantity.
"""

import math

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from bunchtrain.models._surrogate import Surrogate
from bunchtrain.models.base import ResponseShape

#: See `models.base`.
ROWS = "responses"
ANSWERS = "response"
LEVELS = ("graph",)

#: Sines and cosines of the time that the network sees.
_WAVES = 8


class Config(BaseModel):
    """Sizes of the network."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    hidden: int = Field(256, ge=1, le=4096, description="width of the hidden layers")
    layers: int = Field(4, ge=1, le=16, description="number of residual layers")
    steps: int = Field(16, ge=1, le=1000, description="steps of a draw, of two evaluations each")


class Model(Surrogate):
    """Residual layers, each of which sees parameters and time anew."""

    def __init__(self, config: Config, shape: ResponseShape) -> None:
        super().__init__(shape)
        self.config, seen, self.chances = config, shape.features + 2 * _WAVES, shape.quantities
        self.first = nn.Linear(shape.quantities, config.hidden)
        self.seen = nn.ModuleList(nn.Linear(seen, config.hidden) for _ in range(config.layers))
        self.inner = nn.ModuleList(nn.Linear(config.hidden, config.hidden) for _ in range(config.layers))
        self.norms = nn.ModuleList(nn.LayerNorm(config.hidden) for _ in range(config.layers))
        self.last = nn.Linear(config.hidden, shape.quantities)
        self.direct = nn.Linear(seen, shape.quantities)

    def velocity(self, z_BQ: Tensor, time_B: Tensor, features_BU: Tensor) -> Tensor:
        """Return the velocity of the coordinates, shape [B, Q]."""
        phase = time_B[:, None] * math.pi * torch.arange(1, _WAVES + 1, dtype=z_BQ.dtype, device=z_BQ.device)
        seen = torch.cat([features_BU, phase.sin(), phase.cos()], -1)
        x_BH = self.first(z_BQ)
        for of_seen, inner, norm in zip(self.seen, self.inner, self.norms, strict=True):
            x_BH = x_BH + inner(nn.functional.silu(norm(x_BH) + of_seen(seen)))
        velocity_BQ: Tensor = self.last(nn.functional.silu(x_BH)) + self.direct(seen)
        return velocity_BQ

    def losses(self, features_BU: Tensor, totals_B: Tensor, quantities_BQ: Tensor) -> Tensor:
        """Return the squared error of the velocity at a random time, in the mean over quantities."""
        end_BQ: Tensor = self.coordinates(totals_B, quantities_BQ)
        start_BQ, time_B = torch.randn_like(end_BQ), torch.rand_like(totals_B)
        between_BQ = start_BQ + time_B[:, None] * (end_BQ - start_BQ)
        missed_BQ = self.velocity(between_BQ, time_B, features_BU) - (end_BQ - start_BQ)
        return missed_BQ.square().mean(1)

    def answer(self, features_BU: Tensor, totals_B: Tensor, chance_BN: Tensor) -> Tensor:
        """Return the quantities that follow from normal numbers, shape [B, Q]."""
        z_BQ, step = chance_BN, 1 / self.config.steps
        for number in range(self.config.steps):
            time_B = torch.full_like(totals_B, number * step)
            now_BQ = self.velocity(z_BQ, time_B, features_BU)
            then_BQ = self.velocity(z_BQ + step * now_BQ, time_B + step, features_BU)
            z_BQ = z_BQ + step * (now_BQ + then_BQ) / 2
        return self.coordinates.back(totals_B, z_BQ)
