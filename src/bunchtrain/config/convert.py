"""Section `convert`: how ROOT files become HDF5."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from bunchtrain.config.base import Kind, Name, Positive, Section
from bunchtrain.config.expression import Formula

#: A branch of a ROOT tree, a formula of branches, or none.
Branch = str | None

Rows = Literal["jets", "showers", "events", "responses"]
Axis = Literal[
    "jets", "showers", "events", "responses", "constituents", "tracks", "cells", "hits", "particles", "quantities"
]


#: Names that the project's own files use.
_RESERVED = ("offsets", "counts", "split", "kinematic_weight", "flavour_label", "valid")


def _column_name(name: str) -> str:
    if not name.isidentifier() or name in ("and", "or", "not", *_RESERVED):
        raise ValueError(
            f"use letters, digits and '_' for a column, starting with a letter; not {', '.join(_RESERVED)}"
        )
    return name


ColumnName = Annotated[str, Field(max_length=64), AfterValidator(_column_name)]


class _Column(Section):
    units: str = Field("1", description="e.g. GeV, mm; 1 for a pure number")
    description: str = Field("", description="what it is")
    dtype: Literal["f4", "f8", "i4", "i8", "u8"] = Field("f4", description="precision in the HDF5 file")
    missing: float | None = Field(None, description="stands for NaN and infinity; without it they make a file bad")

    @field_validator("units")
    @classmethod
    def _spelt(cls, units: str) -> str:
        known = {"gev": "GeV", "mev": "MeV", "tev": "TeV"}
        if known.get(units.lower(), units) != units:
            raise ValueError(f"write {known[units.lower()]}: units are told apart by their letters")
        return units


class Mapped(_Column):
    """A column read from a file: a branch or a formula of branches."""

    branch: str = Field(min_length=1, description="branch, or formula of branches")


class Derived(_Column):
    """A column computed from other columns."""

    formula: Formula = Field(description="formula of columns")


def _short(key: str) -> BeforeValidator:
    """Let a text alone stand for a section with one key."""
    return BeforeValidator(lambda value: {key: value} if isinstance(value, str) else value)


def only_axes(*axes: str) -> AfterValidator:
    """Let a format take columns of these axes and no others."""
    *some, last = axes
    told = f"{', '.join(some)} and {last}" if some else last

    def known(columns: dict[str, Any]) -> dict[str, Any]:
        if set(columns) - set(axes):
            raise ValueError(f"columns of {told} alone")
        return columns

    return AfterValidator(known)


MappedColumns = dict[Axis, dict[ColumnName, Annotated[Mapped, _short("branch")]]]
DerivedColumns = dict[Axis, dict[ColumnName, Annotated[Derived, _short("formula")]]]


class Columns(Section):
    """What is done to the rows of every format, in this order: derive, label, select, vary."""

    derive: DerivedColumns = Field(
        default_factory=dict, description="new columns, by axis: `{constituents: {d0_significance: d0 / d0_error}}`"
    )
    select: dict[Axis, Formula] = Field(
        default_factory=dict, description="what is kept, by axis: `{jets: pt > 500 and abs(eta) < 2}`"
    )
    systematics: dict[Name, dict[Axis, dict[ColumnName, Formula]]] = Field(
        default_factory=dict,
        description="variations, each a set of columns that it changes: `{jes_up: {jets: {pt: pt * 1.02}}}`",
    )


class Convert(Columns):
    """The format of the input and how jobs are cut."""

    format: Kind = Field(default_factory=lambda: Kind(kind="ntuple"), description="kind of ROOT file and its mapping")
    files_per_job: Positive = Field(8, description="ROOT files converted by one job")
    split_above: str | None = Field(
        None,
        description="a file of more bytes is converted by several jobs, a range of entries each; null: never",
        pattern=r"^0*[1-9][0-9]* ?[kMGT]?B$",
    )
    step_size: str = Field(
        "8 MB",
        description="memory for one step of reading; what fits in a cache is fastest",
        pattern=r"^0*[1-9][0-9]* ?[kMG]?B$",
    )
    on_bad_file: Literal["fail", "quarantine"] = Field(
        "fail", description="stop at a bad file, or go on without it and list it in the report"
    )


class Truth(Section):
    """Truth labels by matching jets to generator particles in ΔR."""

    radius: float = Field(0.3, gt=0, le=2, description="largest ΔR between jet and particle")
    hadron_pt_min: float = Field(5.0, ge=0, description="GeV, of b and c hadrons and taus")
    parton_pt_min: float = Field(10.0, ge=0, description="GeV, of W, Z, H and top")


class ConstituentBranches(Section):
    """Branches with one number per constituent: px, py, pz, energy; or pt, eta, phi and energy or mass."""

    px: Branch = None
    py: Branch = None
    pz: Branch = None
    pt: Branch = None
    eta: Branch = None
    phi: Branch = None
    energy: Branch = None
    mass: Branch = None

    @model_validator(mode="after")
    def _complete(self) -> "ConstituentBranches":
        given = {name for name, branch in self.named().items() if branch}
        if given not in ({"px", "py", "pz", "energy"}, {"pt", "eta", "phi", "energy"}, {"pt", "eta", "phi", "mass"}):
            raise ValueError("give px, py, pz and energy; or pt, eta, phi and energy; or pt, eta, phi and mass")
        return self

    def named(self) -> dict[str, str]:
        """Return the branches that are given, by quantity."""
        return {name: branch for name, branch in self.model_dump().items() if branch is not None}


class JetBranches(Section):
    """Branches with one number per jet; what is not given is computed from the constituents."""

    pt: Branch = None
    eta: Branch = None
    phi: Branch = None
    mass: Branch = None

    def named(self) -> dict[str, str]:
        """Return the branches that are given, by quantity."""
        return {name: branch for name, branch in self.model_dump().items() if branch is not None}


def size_in_bytes(text: str) -> int:
    """Return a size such as `64 MB` in bytes."""
    number, unit = text.rstrip("kMGTB "), text.removesuffix("B")[-1]
    return int(number) * int(1000 ** max(" kMGT".find(unit), 0))
