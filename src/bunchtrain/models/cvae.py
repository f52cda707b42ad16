"""A conditional variational autoencoder of quantities (Sohn, Lee and Yan 2015; Kingma and Welling, arXiv:1312.6114).

The code says what quantities have in common beyond the parameters; what is left is normal, with a learnt variance for
each quantity (arXiv:2006.13202).

B: batch, U: feature of parameters, Q: quantity, L: number of the code.
"""

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from bunchtrain.models._surrogate import Surrogate, normal_loss, trunk
from bunchtrain.models.base import ResponseShape

#: See `models.base`.
ROWS = "responses"
ANSWERS = "response"
LEVELS = ("graph",)

_LOG_VARIANCE = (-14.0, 6.0)


class Config(BaseModel):
    """Sizes of the network."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    hidden: int = Field(128, ge=1, le=4096, description="width of the hidden layers")
    layers: int = Field(2, ge=1, le=16, description="number of hidden layers of encoder and decoder")
    latent: int = Field(12, ge=1, le=256, description="numbers of the code")
    beta: float = Field(1.0, ge=0, description="weight of the divergence beside the reconstruction")


class Model(Surrogate):
    """Encoder, code, decoder; the last two alone when it is asked."""

    def __init__(self, config: Config, shape: ResponseShape) -> None:
        super().__init__(shape)
        self.config, self.chances = config, config.latent + shape.quantities
        self.encoder = trunk(shape.features + shape.quantities, config.hidden, config.layers)
        self.code = nn.Linear(config.hidden, 2 * config.latent)
        self.decoder = trunk(shape.features + config.latent, config.hidden, config.layers)
        self.mean = nn.Linear(config.hidden, shape.quantities)
        self.log_variance = nn.Linear(config.hidden, shape.quantities)

    def losses(self, features_BU: Tensor, totals_B: Tensor, quantities_BQ: Tensor) -> Tensor:
        """Return minus a bound on the logarithm of the likelihood of each row."""
        z_BQ: Tensor = self.coordinates(totals_B, quantities_BQ)
        mean_BL, log_variance_BL = self.code(self.encoder(torch.cat([features_BU, z_BQ], -1))).chunk(2, -1)
        log_variance_BL = log_variance_BL.clamp(*_LOG_VARIANCE)
        code_BL = mean_BL + torch.randn_like(mean_BL) * (log_variance_BL / 2).exp()
        mean_BQ, log_variance_BQ = self.decoded(features_BU, code_BL)
        divergence_B: Tensor = (mean_BL.square() + log_variance_BL.exp() - 1 - log_variance_BL).sum(1) / 2
        reconstruction_B = normal_loss(z_BQ - mean_BQ, log_variance_BQ)
        return reconstruction_B + self.config.beta * divergence_B / self.shape.quantities

    def decoded(self, features_BU: Tensor, code_BL: Tensor) -> tuple[Tensor, Tensor]:
        """Return means and logarithms of variances of the coordinates, shape [B, Q] each."""
        x_BH = self.decoder(torch.cat([features_BU, code_BL], -1))
        return self.mean(x_BH), self.log_variance(x_BH).clamp(*_LOG_VARIANCE)

    def answer(self, features_BU: Tensor, totals_B: Tensor, chance_BN: Tensor) -> Tensor:
        """Return the quantities that follow from normal numbers, the code first, shape [B, Q]."""
        latent = self.config.latent
        mean_BQ, log_variance_BQ = self.decoded(features_BU, chance_BN[:, :latent])
        return self.coordinates.back(totals_B, mean_BQ + chance_BN[:, latent:] * (log_variance_BQ / 2).exp())
