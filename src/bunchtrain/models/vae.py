"""A variational autoencoder of jets (Kingma and Welling, arXiv:1312.6114), or a plain one: it learns what is usual.

What is reconstructed of constituents are the transverse momenta of the hardest, to both sides of the jet's axis, in
units of the jet's momentum: where energy lies away from the axis, as a heavy particle's decay leaves it, counts; how it
is shared along the axis, which fluctuates in every jet, does not. The encoder sees all constituents as a set (DeepSets,
arXiv:1810.05165), or, as a trigger would, the hardest as a list by falling pt. With `of: jet` encoder and decoder see
the jet as a whole: the global features, and the columns that `prepare.variables` names.

The decoder's spread is learnt, one for each kind of number (Rybkin, Daniilidis and Levine, arXiv:2006.13202): so
reconstruction and divergence stand in the balance of a likelihood.

B: batch, P: constituent, F: node feature, G: global feature, H: hidden width, L: number of the code, K: kind of number.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from bunchtrain.levels import Latent
from bunchtrain.models._layers import largest, mean, perceptron
from bunchtrain.models.base import Shape

#: See `models.base`.
ANSWERS = "latent"
SEES = "variables"

#: Typical shares of a jet's momentum that a constituent has along the axis and to both sides: with these as units,
#: what the encoder sees is of order 1.
_USUAL = (0.03, 0.015, 0.015)

_TINY = 1e-6


class Config(BaseModel):
    """Sizes of the network."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    of: Literal["set", "list", "jet"] = Field(
        "set", description="what is encoded: all constituents, the hardest by falling pt, or features of the whole jet"
    )
    constituents: int = Field(16, ge=1, le=256, description="hardest constituents: of a list, and reconstructed")
    hidden: int = Field(64, ge=1, le=4096, description="width of the hidden layers")
    latent: int = Field(8, ge=1, le=256, description="numbers of the code")
    variational: bool = Field(True, description="false: a plain autoencoder, whose code has no chance in it")


class Model(nn.Module):
    """Encoder, code, decoder."""

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        self.config, width = config, config.hidden
        self.kinds, self.each = (shape.globals, 1) if config.of == "jet" else (2, config.constituents)
        self.embed = perceptron(3, width, width) if config.of == "set" else None
        encoded = {"set": 2 * width, "list": 3 * config.constituents, "jet": shape.globals}[config.of]
        self.encoder = nn.Sequential(perceptron(encoded, width, width), nn.ReLU())
        self.mean = nn.Linear(width, config.latent)
        self.log_variance = nn.Linear(width, config.latent) if config.variational else None
        self.decoder = perceptron(config.latent, width, width, self.each * self.kinds)
        self.log_spread = nn.Parameter(torch.zeros(self.kinds))

    def encode(self, shares_BPK: Tensor, globals_BG: Tensor, mask_BP: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and logarithm of the variance of the code, shape [B, L] each."""
        if self.embed is not None:
            x_BPH = torch.relu(self.embed(shares_BPK))
            seen_BG = torch.cat([mean(x_BPH, mask_BP), largest(x_BPH, mask_BP)], -1)
        else:
            seen_BG = globals_BG if self.config.of == "jet" else self.hardest(shares_BPK).flatten(1)
        x_BH = self.encoder(seen_BG)
        mean_BL = self.mean(x_BH)
        return mean_BL, torch.zeros_like(mean_BL) if self.log_variance is None else self.log_variance(x_BH)

    def hardest(self, shares_BPK: Tensor) -> Tensor:
        """Return the first constituents, as many in every batch: zero where there are fewer."""
        found_BPK = shares_BPK[:, : self.each]
        return nn.functional.pad(found_BPK, (0, 0, 0, self.each - found_BPK.shape[1]))

    def listed(self, nodes_BPF: Tensor, momenta_BP4: Tensor, globals_BG: Tensor, mask_BP: Tensor) -> Tensor:
        """Return what is seen as a list of numbers, for methods that know no sets, shape [B, I]."""
        return globals_BG if self.config.of == "jet" else self.hardest(shares(momenta_BP4, mask_BP)).flatten(1)

    def forward(self, nodes_BPF: Tensor, momenta_BP4: Tensor, globals_BG: Tensor, mask_BP: Tensor) -> Latent:
        """Return code and error; the code is drawn in the training, and else is its mean."""
        shares_BPK = shares(momenta_BP4, mask_BP)
        mean_BL, log_variance_BL = self.encode(shares_BPK, globals_BG, mask_BP)
        code_BL = mean_BL
        if self.training and self.log_variance is not None:
            code_BL = mean_BL + torch.randn_like(mean_BL) * (log_variance_BL / 2).exp()
        target_BPK = globals_BG[:, None] if self.config.of == "jet" else self.hardest(shares_BPK)[..., 1:]
        missed_BPK = (target_BPK - self.decoder(code_BL).view(target_BPK.shape)) * (-self.log_spread).exp()
        error_BPK = missed_BPK.square() / 2 + self.log_spread + math.log(2 * math.pi) / 2
        return Latent(mean_BL, log_variance_BL, error_BPK.sum((1, 2)))


def shares(momenta_BP4: Tensor, mask_BP: Tensor) -> Tensor:
    """Return shares of the jet's momentum, shape [B, P, 3]: along its axis, and to both sides; bounded."""
    real_BPK = momenta_BP4[..., :3] * mask_BP[..., None]
    jet_B11 = real_BPK.norm(dim=-1, keepdim=True).sum(1, keepdim=True).clamp(min=_TINY)
    found_BPK: Tensor = real_BPK / (jet_B11 * real_BPK.new_tensor(_USUAL))
    return found_BPK
