"""Columns as a variation of the conversion has them, `convert.systematics`."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from bunchtrain.errors import InputError
from bunchtrain.events.layout import SYSTEMATICS
from bunchtrain.events.variations.base import Varied

#: See `variations.base`.
PAIRED = True


class Config(BaseModel):
    """The variation's name in `convert.systematics`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    variation: str = Field(description="its name there: jes_up")


class Variation(Varied):
    """Jets with the columns that a variation changes; weights too, where it changes them."""

    def __init__(self, path: str, config: Config, seed: int = 0) -> None:
        super().__init__(path, config, seed)
        self._name = config.variation
        if self._name not in self.systematics:
            raise InputError(
                "there is no such variation", file=path, key="variation", found=self._name, choices=self.systematics
            )

    def column(
        self, name: str, indices: NDArray[np.int64] | None = None, *, systematic: str | None = None
    ) -> NDArray[np.generic]:
        """Return a column of jets as the variation has it."""
        return super().column(name, indices, systematic=systematic or self._name)

    def padded(
        self, names: Sequence[str], indices: NDArray[np.int64], width: int
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return the first items that the given jets have in a collection, as the variation has them."""
        varied = [f"{SYSTEMATICS}/{self._name}/{name}" for name in names]
        known = set(self.columns)
        chosen = [one if one in known else name for one, name in zip(varied, names, strict=True)]
        return super().padded(chosen, indices, width)
