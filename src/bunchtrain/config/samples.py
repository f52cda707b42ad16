"""Section `samples`: what the jets of each class come from."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from bunchtrain.config.base import Name, Positive, Section
from bunchtrain.config.expression import Formula

Process = Literal[
    "qcd",
    "quark",
    "gluon",
    "top",
    "w",
    "z",
    "wz",
    "higgs",
    "beauty",
    "charm",
    "light",
    "resonance",
    "dijets",
    "dijet_resonance",
    "collisions",
    "showers",
    "field",
]

#: What a box is made by: it hides a resonance, or none.
BOX: Literal["box"] = "box"

#: All that a file is made by.
Made = Process | Literal["box"]

#: The label of rows that are of no class.
NO_CLASS = -1

#: Processes whose rows are events with hits in a tracking detector, not jets.
OF_EVENTS: frozenset[Process] = frozenset(["collisions"])

#: Processes whose rows are showers in a calorimeter: see `simulate.showers`.
OF_SHOWERS: frozenset[Process] = frozenset(["showers"])

#: Processes whose rows are probes of a magnetic field: see `simulate.field`.
OF_PROBES: frozenset[Process] = frozenset(["field"])

#: Processes whose rows are pairs of jets, in the columns of the heavier one: see `simulate.dijets`.
OF_PAIRS: frozenset[Process] = frozenset(["dijets", "dijet_resonance"])


Rows = Literal["jets", "events", "showers", "responses"]

#: Keys that say how many rows a file has.
NUMBERS: dict[Rows, str] = {
    "jets": "jets_per_shard",
    "events": "events_per_shard",
    "showers": "showers_per_shard",
    "responses": "probes_per_shard",
}


def rows_of(process: Made) -> Rows:
    """Return what the rows are that a process makes."""
    if process in OF_PROBES:
        return "responses"
    return "events" if process in OF_EVENTS else "showers" if process in OF_SHOWERS else "jets"


class Generate(Section):
    """A sample made by the embedded generator."""

    process: Process = Field(
        description="hard process: QCD dijets, quarks or gluons alone, what decays to quarks, jets of a flavour, "
        "resonance: a new particle of mass `simulate.resonance_mass` that decays to two quarks; "
        "dijets, dijet_resonance: pairs of jets of QCD, or of a new particle that decays to two others; "
        "collisions: events of any inelastic collisions, as hits in the tracking detector `simulate.barrel`; "
        "showers: electrons and photons in the calorimeter `simulate.calorimeter`; "
        "field: probes of the field of `simulate.magnet`"
    )
    shards: Positive = Field(2, description="number of ROOT files")
    jets_per_shard: Positive = Field(2000, description="accepted jets in each file")
    events_per_shard: Positive = Field(200, description="events in each file, in place of jets, of process collisions")
    showers_per_shard: Positive = Field(2000, description="showers in each file, in place of jets, of process showers")
    probes_per_shard: Positive = Field(1000, description="probes in each file, in place of jets, of process field")

    @model_validator(mode="after")
    def _own_number(self) -> "Generate":
        own = NUMBERS[rows_of(self.process)]
        for idle in NUMBERS.values():
            # Not: is set, for a dump sets all of them.
            if idle != own and getattr(self, idle) != type(self).model_fields[idle].default:
                raise ValueError(f"the process {self.process} takes `{own}`, not `{idle}`")
        return self

    @property
    def rows_per_shard(self) -> int:
        """Jets in each file; of process collisions events, of showers these, of field probes."""
        number: int = getattr(self, NUMBERS[rows_of(self.process)])
        return number


class Origin(Section):
    """Where rows come from: input files, or a process to generate."""

    files: list[str] = Field(
        default_factory=list,
        description="ROOT files: paths, globs, folders, `root://` addresses, or `@` and a file that lists them",
    )
    generate: Generate | None = Field(None, description="what to generate when there are no files")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if bool(self.files) == (self.generate is not None):
            raise ValueError("give either `files` or `generate`")
        return self


class Box(Section):
    """A black box: pairs of jets, among which a resonance hides, or none. What it is follows from seed and name."""

    shards: Positive = Field(4, description="number of ROOT files")
    events_per_shard: Annotated[int, Field(ge=50)] = Field(5000, description="events in each file")

    @property
    def generate(self) -> "Box":
        """What is generated: it stands where other rows have a section for that."""
        return self

    @property
    def files(self) -> list[str]:
        """Input files: none."""
        return []

    @property
    def process(self) -> Literal["box"]:
        """What it is made by."""
        return BOX

    @property
    def rows_per_shard(self) -> int:
        """Events in each file."""
        return self.events_per_shard


class Sample(Origin):
    """One sample: its `label` is the class, or `labels` say which."""

    label: Name | None = Field(None, description="class of these jets, e.g. top")
    labels: dict[Name, Formula] = Field(
        default_factory=dict,
        description="in place of `label`: classes, a formula each; the first that holds: `{b: truth_flavour == 5}`",
    )

    @model_validator(mode="after")
    def _one_label(self) -> Self:
        if bool(self.labels) == (self.label is not None):
            raise ValueError("give either `label` or `labels`")
        return self

    @property
    def classes(self) -> list[str]:
        """The classes of this sample."""
        return list(self.labels) if self.label is None else [self.label]


class Unfamiliar(Origin):
    """A sample of no class: jets of which one asks whether the network notices that it has not learned them."""

    simulate: dict[str, Any] = Field(
        default_factory=dict,
        description="keys of the section `simulate` with other values, for what is generated: `{pileup: 60}`",
    )

    @model_validator(mode="after")
    def _simulated(self) -> Self:
        if self.simulate and self.generate is None:
            raise ValueError("`simulate` goes with `generate`: files are as they are")
        return self
