"""Section `convert`: how ROOT files become HDF5."""

from typing import Literal

from pydantic import Field

from bunchtrain.config.base import Kind, Positive, Section


class Convert(Section):
    """The format of the input and how jobs are cut."""

    format: Kind = Field(default_factory=lambda: Kind(kind="ntuple"), description="kind of ROOT file and its mapping")
    files_per_job: Positive = Field(8, description="ROOT files converted by one job")
    step_size: str = Field("64 MB", description="memory for one step of reading", pattern=r"^[0-9]+ ?[kMG]?B$")
    on_bad_file: Literal["fail", "quarantine"] = Field(
        "fail", description="stop at a bad file, or go on without it and list it in the report"
    )
