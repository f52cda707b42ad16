"""Section `convert`: how ROOT files become HDF5."""

from typing import Literal

from pydantic import Field, model_validator

from bunchtrain.config.base import Kind, Positive, Section

#: A branch of a ROOT tree, or none.
Branch = str | None


class Convert(Section):
    """The format of the input and how jobs are cut."""

    format: Kind = Field(default_factory=lambda: Kind(kind="ntuple"), description="kind of ROOT file and its mapping")
    files_per_job: Positive = Field(8, description="ROOT files converted by one job")
    step_size: str = Field("64 MB", description="memory for one step of reading", pattern=r"^0*[1-9][0-9]* ?[kMG]?B$")
    on_bad_file: Literal["fail", "quarantine"] = Field(
        "fail", description="stop at a bad file, or go on without it and list it in the report"
    )


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
