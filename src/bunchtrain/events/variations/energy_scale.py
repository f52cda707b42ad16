"""The scale of energies: all momenta of a jet, and its own, times a factor."""

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from bunchtrain.events.variations.base import Scaled

#: See `variations.base`.
PAIRED = True


class Config(BaseModel):
    """One factor for all jets."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    factor: float = Field(gt=0, le=10, description="of energies, momenta and masses: 1.02")


class Variation(Scaled):
    """Jets of scaled energies."""

    def __init__(self, path: str, config: Config, seed: int = 0) -> None:
        super().__init__(path, config, seed)
        self._factor = config.factor

    def factors(self, indices: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the same factor for each jet."""
        return np.full(len(indices), self._factor)
