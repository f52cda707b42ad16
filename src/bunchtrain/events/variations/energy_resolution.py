"""The resolution of energies: the momenta of each jet, and its own, times a random factor of the jet."""

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from bunchtrain.events.chance import normal
from bunchtrain.events.variations.base import Scaled

#: See `variations.base`.
PAIRED = True

#: No jet is left with less than this share of its energy.
_LEAST = 0.01


class Config(BaseModel):
    """The width that is added to the resolution."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    smearing: float = Field(gt=0, le=0.3, description="width of the factor, whose mean is 1: 0.04")


class Variation(Scaled):
    """Jets of smeared energies."""

    def __init__(self, path: str, config: Config, seed: int = 0) -> None:
        super().__init__(path, config, seed)
        self._smearing = config.smearing

    def factors(self, indices: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return a random factor for each jet."""
        return np.maximum(1 + self._smearing * normal(self.keys(indices)), _LEAST)
