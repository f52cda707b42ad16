"""Section `prepare`: splits, weights and scaling."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer, model_validator

from bunchtrain.config.base import Positive, Probability, Section
from bunchtrain.config.convert import ColumnName
from bunchtrain.errors import CampaignError

#: Columns of jets that say which jet it is, or of which sample.
_BOOKKEEPING = ("label", "weight", "run_number", "event_number", "file_id", "split", "kinematic_weight")


#: How a parameter is scaled: as it is, by its logarithm, or as cosine and sine.
Scale = Literal["linear", "log", "angle"]

#: Keys for other rows than jets.
_OF_OTHERS = ("graph", "parameters", "quantities")


class Split(Section):
    """Which events are for training, validation and test; an event's jets always stay together."""

    scheme: Literal["shares", "folds", "even_odd"] = Field(
        "shares", description="by a hash of the event; by folds of it; or train on even, test on odd event numbers"
    )
    train: Probability = 0.7
    validation: Probability = Field(0.15, description="with even_odd: the share of the even events")
    test: Probability = 0.15
    folds: int = Field(5, ge=3, le=100, description="with folds: how many; one tests, the next validates")
    fold: int = Field(0, ge=0, description="with folds: which one tests")

    @model_validator(mode="after")
    def _whole(self) -> "Split":
        if self.scheme == "shares" and abs(self.train + self.validation + self.test - 1) > 1e-9:
            raise ValueError("the shares must add up to 1")
        if self.fold >= self.folds:
            raise ValueError(f"fold counts from 0: at most {self.folds - 1} with {self.folds} folds")
        return self


class Reweight(Section):
    """Weights by which all classes get the same spectrum of pt and |eta| in the training; no jet is copied."""

    pt: list[float] = Field(min_length=2, max_length=1000, description="edges of the bins of pt, GeV")
    abs_eta: list[float] = Field(
        default_factory=lambda: [0.0, 10.0], min_length=2, max_length=1000, description="edges of the bins of |eta|"
    )
    target: str | None = Field(None, description="class whose spectrum all get; null: flat in every bin that all have")
    most: float = Field(20.0, gt=1, description="largest weight of a jet relative to the mean")

    @model_validator(mode="after")
    def _rising(self) -> "Reweight":
        for name in ("pt", "abs_eta"):
            edges = getattr(self, name)
            if sorted(set(edges)) != edges:
                raise ValueError(f"the edges of {name} must rise")
        return self


class Graph(Section):
    """Which pairs of hits of an event become edges: those that a particle from the beam line can have made."""

    pt_min: float = Field(0.5, gt=0, description="lowest transverse momentum, GeV")
    d0_max: float = Field(1.0, ge=0, description="largest distance of a track from the beam line, mm")
    z0_max: float = Field(200.0, gt=0, description="largest |z| at which an edge, followed back, meets it, mm")
    eta_max: float = Field(4.0, gt=0, description="largest |eta| of the direction of an edge")
    skip: int = Field(1, ge=0, le=100, description="layers that an edge may leave out, against inefficiency")
    field: float = Field(2.0, gt=0, le=20, description="of the solenoid, T; with simulated events simulate.barrel's")


class Prepare(Section):
    """How the samples are split and weighted, and what the network sees of a jet, or of an event."""

    split: Split = Field(default_factory=Split)
    constituents: Positive = Field(40, description="hardest constituents kept per jet")
    inputs: list[ColumnName] = Field(
        default_factory=list,
        max_length=64,
        description="further columns of constituents that the network sees: `[charge, d0_significance]`",
    )
    variables: list[ColumnName] = Field(
        default_factory=list,
        max_length=64,
        description="columns of jets that networks of kind dense see, and no others: `[sv_mass, sv_tracks]`",
    )
    reweight: Reweight | None = Field(None, description="the same spectrum for all classes; null: as it is")
    scaler: Literal["standard", "robust"] = Field(
        "standard", description="mean and standard deviation, or median and half the width of the central 68 %"
    )

    graph: Graph | None = Field(None, description="edges of graphs of hits, where rows are events; null: its defaults")
    parameters: dict[ColumnName, Scale] = Field(
        default_factory=dict,
        max_length=64,
        description="columns of showers or responses that a surrogate starts from, each `linear`, `log` or `angle`",
    )
    quantities: list[ColumnName] = Field(
        default_factory=list,
        max_length=64,
        description="further columns of these that it answers with, after the row's items: `[lost_behind]`",
    )

    @model_serializer(mode="wrap")
    def _without_idle(self, usual: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what is for other rows than jets and says nothing: specs of campaigns of jets stay as they are."""
        return {key: value for key, value in usual(self).items() if key not in _OF_OTHERS or value}

    def refuse_keys_of_jets(self, file: str | Path = "", rows: str = "events") -> None:
        """Refuse keys that say nothing of rows of another kind.

        Raises
        ------
        CampaignError
            Naming the first of them.
        """
        for key in ("inputs", "variables", "reweight"):
            if getattr(self, key):
                mend = f"take it out: {rows} have features of their own, and neither pt nor eta"
                problem = f"this is for jets, and the rows are {rows}"
                raise CampaignError(problem, file=file, key=f"prepare.{key}", mend=mend)

    @field_validator("variables")
    @classmethod
    def _physics(cls, names: list[str]) -> list[str]:
        if taken := [name for name in names if name in _BOOKKEEPING]:
            raise ValueError(f"{taken[0]} says which jet it is, or its class: a network must not see it")
        return names

    @field_validator("parameters")
    @classmethod
    def _no_bookkeeping(cls, names: dict[str, str]) -> dict[str, str]:
        if taken := [name for name in names if name in _BOOKKEEPING]:
            raise ValueError(f"{taken[0]} says which row it is: nothing follows from it")
        return names

    @field_validator("inputs", "variables", "quantities")
    @classmethod
    def _different(cls, names: list[str]) -> list[str]:
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"{name} is named twice")
        return names
