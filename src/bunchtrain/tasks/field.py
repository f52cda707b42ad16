"""Magnetic field: its components at a place, found by probes, for the volume between them."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from bunchtrain.tasks._response import ResponseTask

#: See `tasks.base`.
ROWS = "responses"
ANSWERS = "response"
LEVELS = ("graph",)
ITEMS = "responses"
JUDGED = ("true_x", "true_y", "true_z")
COLUMNS = ("true_x", "true_y", "true_z")


class Config(BaseModel):
    """By what answers are judged; the probes themselves where the true field is not known."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    true_x: str | None = Field(None, description="column with the true field along x, T; null: what the probe found")
    true_y: str | None = Field(None, description="likewise along y")
    true_z: str | None = Field(None, description="likewise along z")


class Task(ResponseTask):
    """Places to a field."""

    def __init__(self, config: Config, classes: list[str]) -> None:
        super().__init__(classes)
        self.config = config

    def figures(self, sums: Tensor) -> dict[str, float]:
        """Return nothing beside the loss: a field has no total, and components below zero."""
        return {}

    def told(self, figures: Mapping[str, float]) -> str:
        """Return as much in words."""
        return ""
