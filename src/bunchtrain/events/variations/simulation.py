"""Another simulation: samples of its own for all classes, with some settings of the generator changed."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from bunchtrain.events.variations.base import Varied

#: See `variations.base`.
PAIRED = False


class Config(BaseModel):
    """What is simulated otherwise, and how much of it."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    simulate: dict[str, Any] = Field(
        min_length=1, description="keys of the section `simulate` with other values: `{pileup: 60}`"
    )
    shards: int | None = Field(None, gt=0, description="ROOT files of each sample; null: as many as it has")


class Variation(Varied):
    """Jets of another simulation, as its own index has them."""
