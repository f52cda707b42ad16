"""Section `samples`: what the jets of each class come from."""

from typing import Literal

from pydantic import Field, model_validator

from bunchtrain.config.base import Name, Positive, Section

Process = Literal["qcd", "top", "wz"]


class Generate(Section):
    """A sample made by the embedded generator."""

    process: Process = Field(description="hard process: QCD dijets, boosted top pairs, or W/Z plus jet")
    shards: Positive = Field(2, description="number of ROOT files")
    jets_per_shard: Positive = Field(2000, description="accepted jets in each file")


class Sample(Section):
    """One sample: input files, or a process to generate; its `label` is the class."""

    label: Name = Field(description="class of these jets, e.g. top")
    files: list[str] = Field(
        default_factory=list, description="ROOT files: paths or globs, relative to the working folder"
    )
    generate: Generate | None = Field(None, description="what to generate when there are no files")

    @model_validator(mode="after")
    def _one_source(self) -> "Sample":
        if bool(self.files) == (self.generate is not None):
            raise ValueError("give either `files` or `generate`")
        return self
