"""A conditional normalising flow of quantities: neural splines (arXiv:1906.04032), as the library zuko has them.

The flow draws quantities in coordinates that are whitened first. Without groups it draws all of them. With groups it
draws their sums, such as the energies of layers, and each sum is shared out among the group's quantities in equal
spots: a multinomial law whose probabilities and number of spots a network says, given parameters and sums. So sparse
cells are exactly empty, and the cells of a layer add up to it.

B: batch, U: feature of parameters, Q: quantity, G: group.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from bunchtrain.errors import CampaignError, MissingDependency
from bunchtrain.models._coordinates import Coordinates
from bunchtrain.models._surrogate import Surrogate, trunk
from bunchtrain.models._whitening import Whitening
from bunchtrain.models.base import ResponseShape

#: See `models.base`.
ROWS = "responses"
ANSWERS = "response"
LEVELS = ("graph",)

#: Range of the logarithm of the number of spots that share a sum.
_LOG_SPOTS = (0.0, 16.0)


class Config(BaseModel):
    """Sizes of the networks."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    hidden: int = Field(128, ge=1, le=4096, description="width of the hidden layers")
    layers: int = Field(2, ge=1, le=16, description="number of hidden layers of each network")
    transforms: int = Field(4, ge=1, le=32, description="splines, one after the other")
    bins: int = Field(8, ge=2, le=64, description="pieces of a spline")


class Model(Surrogate):
    """The flow of the sums, or of all quantities, and how sums are shared out."""

    def __init__(self, config: Config, shape: ResponseShape) -> None:
        super().__init__(shape)
        try:
            import zuko
        except ImportError:
            raise MissingDependency("zuko", needed_by="model.kind: flow", mend="pip install zuko") from None
        self.groups = max(shape.groups, default=-1) + 1
        if self.groups and shape.positive != "construction":
            problem, expected = "a flow of groups shares out what is positive", "construction"
            mend = "set it so, or leave physics.groups out"
            raise CampaignError(problem, key="physics.positive", found=shape.positive, expected=expected, mend=mend)
        drawn = self.chances = self.groups or shape.quantities
        # The coordinates of all quantities, which others work in, are those of the sums here.
        self.coordinates = Coordinates(shape._replace(quantities=drawn, groups=()))
        self.whitening = Whitening(drawn)
        widths = [config.hidden] * config.layers
        self.flow = zuko.flows.NSF(
            drawn, shape.features, transforms=config.transforms, bins=config.bins, hidden_features=widths
        )
        member = torch.tensor(shape.groups, dtype=torch.long)
        self.register_buffer("member", member, persistent=False)
        self.register_buffer("matrix", (member[:, None] == torch.arange(self.groups)).float(), persistent=False)
        if self.groups:
            self.sharing = trunk(shape.features + drawn, config.hidden, config.layers)
            self.logits = nn.Linear(config.hidden, shape.quantities)
            self.log_spots = nn.Linear(config.hidden, drawn)

    def adjust(self, totals_B: Tensor, quantities_BQ: Tensor, features_BU: Tensor | None = None) -> None:
        """Find the units in which the sums of a training are of order 1."""
        sums_BG = self.sums(quantities_BQ)
        self.coordinates.adjust(totals_B, sums_BG)
        self.whitening.adjust(self.coordinates(totals_B, sums_BG))

    def sums(self, quantities_BQ: Tensor) -> Tensor:
        """Return the sums over groups, shape [B, G]; without groups all quantities."""
        if not self.groups:
            return quantities_BQ
        return quantities_BQ @ cast(Tensor, self.matrix).to(quantities_BQ.dtype)

    def shared(self, features_BU: Tensor, z_BG: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logarithms of each quantity's share of its group [B, Q], and of the numbers of spots [B, G]."""
        x_BH = self.sharing(torch.cat([features_BU, z_BG], -1))
        logits_BQ, member = self.logits(x_BH), cast(Tensor, self.member)
        largest = logits_BQ.amax(1, keepdim=True).detach()
        sums_BG = self.sums((logits_BQ - largest).clamp(min=-60).exp()).log()
        log_spots_BG = self.log_spots(x_BH).clamp(*_LOG_SPOTS)
        return (logits_BQ - largest).clamp(min=-60) - sums_BG[:, member], log_spots_BG

    def losses(self, features_BU: Tensor, totals_B: Tensor, quantities_BQ: Tensor) -> Tensor:
        """Return minus the logarithm of the likelihood of each row, divided by the number of quantities."""
        sums_BG = self.sums(quantities_BQ)
        z_BG = self.coordinates(totals_B, sums_BG)
        loss_B = -self.flow(features_BU).log_prob(self.whitening(z_BG))
        if self.groups:
            loss_B = loss_B - self._shares(features_BU, z_BG, sums_BG, quantities_BQ)
        return cast(Tensor, loss_B / self.shape.quantities)

    def _shares(self, features_BU: Tensor, z_BG: Tensor, sums_BG: Tensor, quantities_BQ: Tensor) -> Tensor:
        """Return the logarithm of the multinomial law, its factorials as Gamma functions of real numbers, shape [B]."""
        log_p_BQ, log_spots_BG = self.shared(features_BU, z_BG)
        member, spots_BG = cast(Tensor, self.member), log_spots_BG.exp()
        share_BQ = quantities_BQ / sums_BG.clamp(min=1e-30)[:, member]
        counts_BQ = spots_BG[:, member] * share_BQ.clamp(0, 1)
        of_each_BG = self.sums(counts_BQ * log_p_BQ - torch.lgamma(counts_BQ + 1))
        free_G = self.sums(torch.ones_like(quantities_BQ[:1])) - 1
        found_BG = torch.lgamma(spots_BG + 1) + of_each_BG + free_G * log_spots_BG
        return (found_BG * ((sums_BG > 0) & (free_G > 0))).sum(1)

    def drawn(self, features_BU: Tensor, totals_B: Tensor, chance_BN: Tensor) -> Tensor:
        """Return the sums of groups, or all quantities, that follow from normal numbers, shape [B, G]."""
        # As zuko draws: the inverse of the map that it learned.
        x_BG = self.flow.transform(features_BU).inv(chance_BN)
        return self.coordinates.back(totals_B, self.whitening.back(x_BG))

    def answer(self, features_BU: Tensor, totals_B: Tensor, chance_BN: Tensor) -> Tensor:
        """Return the quantities that follow from normal numbers, shape [B, Q]; how spots fall is drawn."""
        sums_BG = self.drawn(features_BU, totals_B, chance_BN)
        if not self.groups:
            return sums_BG
        # What the network was shown in the training: coordinates of the sums as they are, not as they were drawn.
        log_p_BQ, log_spots_BG = self.shared(features_BU, self.coordinates(totals_B, sums_BG))
        spots_BG = (log_spots_BG.exp() + torch.rand_like(log_spots_BG)).floor().clamp(min=1)
        share_BQ = _spots(log_p_BQ, spots_BG, cast(Tensor, self.member))
        return (share_BQ * sums_BG.double()[:, cast(Tensor, self.member)]).to(sums_BG.dtype)


def _spots(log_p_BQ: Tensor, spots_BG: Tensor, member: Tensor) -> Tensor:
    """Return the share of each group's spots that falls to each of its quantities, float64 [B, Q]."""
    seed = int(torch.randint(2**62, (1,)))
    random, groups = np.random.default_rng(seed), member.cpu().numpy()
    p_BQ, number_BG = log_p_BQ.detach().double().cpu().exp().numpy(), spots_BG.detach().cpu().numpy().astype(np.int64)
    found_BQ = np.empty_like(p_BQ)
    for group in range(number_BG.shape[1]):
        here = np.flatnonzero(groups == group)
        p_BK = p_BQ[:, here] / p_BQ[:, here].sum(1, keepdims=True)
        counts_BK = random.multinomial(number_BG[:, group], p_BK)
        found_BQ[:, here] = counts_BK / number_BG[:, group, None]
    return torch.from_numpy(found_BQ).to(log_p_BQ.device)
