"""Section `physics`: what a surrogate obeys, and how: by construction, by a penalty in the loss, or not at all."""

from typing import Literal

from pydantic import Field, model_validator

from bunchtrain.config.base import Section
from bunchtrain.config.convert import ColumnName

How = Literal["construction", "penalty", "none"]


class Physics(Section):
    """Constraints on the quantities of a row."""

    total: ColumnName | None = Field(
        None, description="column that the quantities are shares of, and add up to where `conserved`; null: none"
    )
    conserved: How = Field("none", description="that the quantities add up to `total`")
    positive: How = Field("none", description="that no quantity is below zero")
    groups: ColumnName | None = Field(
        None, description="column of items: quantities with the same number share a sum, e.g. a `layer`'s energy"
    )
    maxwell: How = Field(
        "none",
        description="that quantities are a static magnetic field along x, y, z without currents: ∇·B = 0, ∇×B = 0",
    )
    weight: float = Field(10.0, gt=0, description="of a penalty in the loss")

    @model_validator(mode="after")
    def _of_something(self) -> "Physics":
        if self.conserved != "none" and self.total is None:
            raise ValueError("say with `total` which column the quantities add up to")
        if self.maxwell != "none" and (self.total is not None or self.positive != "none"):
            raise ValueError("a field has no `total`, and components below zero: leave `total` and `positive` out")
        return self

    @property
    def loose(self) -> "Physics":
        """The same without constraints: what is to be compared with. Groups share out what is positive, so none."""
        return self.model_copy(update={"conserved": "none", "positive": "none", "groups": None, "maxwell": "none"})
