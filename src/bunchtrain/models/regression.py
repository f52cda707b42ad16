"""A surrogate that answers with a mean and a variance for each quantity, both learnt (Nix and Weigend 1994).

The mean is deterministic; dropout repeated says what the network does not know. Quantities are independent of one
another given the parameters: what they have in common beyond that, it does not know.

B: batch, U: feature of parameters, Q: quantity.
"""

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from bunchtrain.models._surrogate import Surrogate, normal_loss, trunk
from bunchtrain.models.base import ResponseShape

#: See `models.base`.
ROWS = "responses"
ANSWERS = "response"
LEVELS = ("graph",)
MAXWELL = ("penalty", "none")

#: Range of the logarithm of a variance.
_LOG_VARIANCE = (-14.0, 6.0)


class Config(BaseModel):
    """Sizes of the network."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    hidden: int = Field(128, ge=1, le=4096, description="width of the hidden layers")
    layers: int = Field(3, ge=1, le=16, description="number of hidden layers")
    dropout: float = Field(0.05, ge=0, lt=1, description="dropout after each; MC dropout needs it above 0")


class Model(Surrogate):
    """Hidden layers, then means and variances of the coordinates."""

    def __init__(self, config: Config, shape: ResponseShape) -> None:
        super().__init__(shape)
        self.chances = shape.quantities
        self.trunk = trunk(shape.features, config.hidden, config.layers, config.dropout)
        self.mean = nn.Linear(config.hidden, shape.quantities)
        self.log_variance = nn.Linear(config.hidden, shape.quantities)

    def moments(self, features_BU: Tensor) -> tuple[Tensor, Tensor]:
        """Return means and logarithms of variances of the coordinates, shape [B, Q] each."""
        x_BH = self.trunk(features_BU)
        return self.mean(x_BH), self.log_variance(x_BH).clamp(*_LOG_VARIANCE)

    def losses(self, features_BU: Tensor, totals_B: Tensor, quantities_BQ: Tensor) -> Tensor:
        """Return minus the logarithm of the likelihood of each row."""
        mean_BQ, log_variance_BQ = self.moments(features_BU)
        return normal_loss(self.coordinates(totals_B, quantities_BQ) - mean_BQ, log_variance_BQ)

    def expect(self, features_BU: Tensor, totals_B: Tensor) -> Tensor:
        """Return the quantities at the means of the coordinates, shape [B, Q]."""
        return self.coordinates.back(totals_B, self.moments(features_BU)[0])

    def answer(self, features_BU: Tensor, totals_B: Tensor, chance_BN: Tensor) -> Tensor:
        """Return the quantities that follow from normal numbers, shape [B, Q]."""
        mean_BQ, log_variance_BQ = self.moments(features_BU)
        return self.coordinates.back(totals_B, mean_BQ + chance_BN * (log_variance_BQ / 2).exp())
