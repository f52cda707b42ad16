"""Calorimeter response: what a particle that comes in leaves in the cells, drawn by a surrogate of the simulation."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from bunchtrain.tasks._response import ResponseTask

#: See `tasks.base`.
ROWS = "showers"
ANSWERS = "response"
LEVELS = ("graph",)
ITEMS = "showers"
JUDGED = ("threshold", "energy", "stochastic_term", "noise")
COLUMNS = ("energy", "stochastic_term", "noise")


class Config(BaseModel):
    """How answers are judged."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    threshold: float = Field(1e-3, ge=0, description="energy above which a cell counts as hit, GeV")
    energy: str = Field("energy", description="column of showers with the energy of the particle, GeV")
    stochastic_term: str | None = Field(
        None, description="column with the sampling term of the readout that truth and answers go through; null: none"
    )
    noise: str | None = Field(None, description="column with its noise in each cell, GeV; null: none")


class Task(ResponseTask):
    """Parameters to energies of cells."""

    def __init__(self, config: Config, classes: list[str]) -> None:
        super().__init__(classes)
        self.config = config
