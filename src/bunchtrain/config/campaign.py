"""The whole campaign file: load, check, and say what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from pydantic import BaseModel, Field, ValidationError, ValidationInfo, field_validator

from bunchtrain.config.base import Kind, Name, Section
from bunchtrain.config.checks import check_campaign
from bunchtrain.config.convert import Convert
from bunchtrain.config.evaluate import Evaluate
from bunchtrain.config.explain import checked_kind, explain
from bunchtrain.config.hunt import Hunt
from bunchtrain.config.physics import Physics
from bunchtrain.config.prepare import Prepare
from bunchtrain.config.report import Report
from bunchtrain.config.samples import Box, Sample, Unfamiliar
from bunchtrain.config.scan import Scan
from bunchtrain.config.simulate import Simulate
from bunchtrain.config.synthesize import KINDS as STUDENT_KINDS
from bunchtrain.config.synthesize import Synthesize
from bunchtrain.config.systematics import FAMILY
from bunchtrain.config.train import Train
from bunchtrain.config.yamlfile import read_yaml

#: Folders of the checkout, in which a campaign often runs: results must not land among them.
_TAKEN = frozenset(
    [
        ".git",
        ".github",
        ".venv",
        ".snakemake",
        "src",
        "workflow",
        "envs",
        "config",
        "tests",
        "docs",
        "profiles",
        "slurm",
        "benchmarks",
    ]
)

AnySection = TypeVar("AnySection", bound=BaseModel)


class Campaign(Section):
    """A campaign: samples in, trained networks and an IP core out."""

    name: Name
    output: str = Field(description="folder of all results, relative to the working folder")
    seed: int = Field(1, ge=0, lt=2**31, description="everything random follows from it")
    samples: dict[Name, Sample] = Field(min_length=1)
    unfamiliar: dict[Name, Unfamiliar] = Field(
        default_factory=dict, description="samples of no class: does the network notice that it has not learned them?"
    )
    boxes: dict[Name, Box] = Field(
        default_factory=dict, description="black boxes, in which a resonance hides or none: a blind search"
    )
    simulate: Simulate = Field(default_factory=Simulate)
    convert: Convert = Field(default_factory=Convert)
    prepare: Prepare = Field(default_factory=Prepare)
    task: Kind = Field(default_factory=lambda: Kind(kind="jet_tagging"))
    model: Kind = Field(default_factory=lambda: Kind(kind="gnn"))
    baseline: Kind | None = Field(
        None, description="another network, trained on the same jets, beside which it is judged"
    )
    physics: Physics | None = Field(None, description="what a surrogate obeys; null: nothing is declared")
    train: Train = Field(default_factory=Train)
    scan: Scan = Field(default_factory=lambda: Scan(trials=0))
    evaluate: Evaluate = Field(default_factory=Evaluate)
    synthesize: Synthesize = Field(default_factory=Synthesize)
    systematics: dict[Name, dict[Name, Kind]] = Field(
        default_factory=dict, description="sources of uncertainty, each with variations: what if it were otherwise?"
    )
    hunt: Hunt = Field(default_factory=Hunt)
    report: Report = Field(default_factory=Report)
    core: bool = Field(True, description="whether the chain ends in an FPGA core; without, it ends in the page")

    @field_validator("task", "model", mode="before")
    @classmethod
    def _usual_kind(cls, value: Any, info: ValidationInfo) -> Any:
        """Take the default kind where none is named."""
        usual = {"task": "jet_tagging", "model": "gnn"}[str(info.field_name)]
        return {"kind": usual, **value} if isinstance(value, Mapping) and "kind" not in value else value

    @field_validator("systematics", mode="before")
    @classmethod
    def _by_name(cls, sources: Any) -> Any:
        """Refuse a source that is no variations by name: the likeliest slip is to leave their level out."""
        for name, source in sources.items() if isinstance(sources, Mapping) else ():
            whole = isinstance(source, Mapping) and all(isinstance(one, Mapping) for one in source.values())
            if not whole:
                example = f"`{name}: {{up: {{kind: energy_scale, factor: 1.02}}}}`"
                raise ValueError(f"let {name} hold variations by name: {example}")
        return sources

    @field_validator("output")
    @classmethod
    def _inside(cls, output: str) -> str:
        path = PurePosixPath(output)
        plain = all(c.isascii() and (c.isalnum() or c in "_-./") for c in output)
        if path.is_absolute() or ".." in path.parts or not path.parts or not plain:
            raise ValueError("use a relative folder of letters, digits, '_', '-', '.' and '/', without '..'")
        if path.parts[0] in _TAKEN:
            raise ValueError(f"{path.parts[0]} belongs to the project itself: use another folder, e.g. results")
        return str(path)

    @property
    def classes(self) -> list[str]:
        """The classes in the order in which the samples name them: a jet's label is its class's place in this list."""
        return list(dict.fromkeys(name for sample in self.samples.values() for name in sample.classes))


#: Sections that name a kind, with the family it belongs to.
KINDS = {
    "task": "tasks",
    "model": "models",
    "baseline": "models",
    "convert.format": "convert.formats",
    "synthesize.backend": "synth.backends",
    **{f"synthesize.student.{name}": family for name, family in STUDENT_KINDS.items()},
}

#: Sections of kinds by names of the campaign's own.
NAMED_KINDS = {"systematics": FAMILY}


def section(campaign: BaseModel, key: str) -> Any:
    """Return the part of a campaign that a dotted key names."""
    for part in key.split("."):
        campaign = getattr(campaign, part)
    return campaign


def parse_campaign(values: Mapping[str, Any], file: str | Path) -> Campaign:
    """Check a campaign given as a mapping.

    Raises
    ------
    CampaignError
        Naming file, key, what was found, and the nearest match.
    """
    try:
        campaign = Campaign.model_validate(dict(values))
    except ValidationError as error:
        raise explain(error, file, Campaign) from None
    for key, family in KINDS.items():
        if (kind := section(campaign, key)) is not None:
            checked_kind(kind, family, key, file)
    check_campaign(campaign, file)
    return campaign


def load_campaign(file: str | Path) -> Campaign:
    """Read and check the campaign file `file` (YAML).

    Raises
    ------
    CampaignError
        If the file is missing, is not YAML, or does not describe a campaign.
    """
    return parse_campaign(read_yaml(file), file)


def parse_section(kind: type[AnySection], values: Mapping[str, Any], file: str | Path) -> AnySection:
    """Check the values of one section.

    Raises
    ------
    CampaignError
        Naming file, key and what was found.
    """
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        raise explain(error, file, kind) from None
