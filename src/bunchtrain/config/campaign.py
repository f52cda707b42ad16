"""The whole campaign file: load, check, and say what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from bunchtrain import registry
from bunchtrain.config.base import Kind, Name, Section
from bunchtrain.config.convert import Convert
from bunchtrain.config.evaluate import Evaluate
from bunchtrain.config.prepare import Prepare
from bunchtrain.config.report import Report
from bunchtrain.config.samples import Sample
from bunchtrain.config.scan import Scan
from bunchtrain.config.simulate import Simulate
from bunchtrain.config.synthesize import Synthesize
from bunchtrain.config.train import Train
from bunchtrain.errors import CampaignError

AnySection = TypeVar("AnySection", bound=Section)


class Campaign(Section):
    """A campaign: samples in, trained networks and an IP core out."""

    name: Name
    output: str = Field(description="folder of all results, relative to the working folder")
    seed: int = Field(1, ge=0, lt=2**31, description="everything random follows from it")
    samples: dict[Name, Sample] = Field(min_length=2)
    simulate: Simulate = Field(default_factory=Simulate)
    convert: Convert = Field(default_factory=Convert)
    prepare: Prepare = Field(default_factory=Prepare)
    task: Kind = Field(default_factory=lambda: Kind(kind="jet_tagging"))
    model: Kind = Field(default_factory=lambda: Kind(kind="gnn"))
    train: Train = Field(default_factory=Train)
    scan: Scan = Field(default_factory=lambda: Scan(trials=0))
    evaluate: Evaluate = Field(default_factory=Evaluate)
    synthesize: Synthesize = Field(default_factory=Synthesize)
    report: Report = Field(default_factory=Report)

    @field_validator("output")
    @classmethod
    def _inside(cls, output: str) -> str:
        path = PurePosixPath(output)
        plain = all(c.isascii() and (c.isalnum() or c in "_-./") for c in output)
        if path.is_absolute() or ".." in path.parts or not path.parts or not plain:
            raise ValueError("use a relative folder of letters, digits, '_', '-', '.' and '/', without '..'")
        return str(path)

    @model_validator(mode="after")
    def _two_classes(self) -> Campaign:
        if len(self.classes) < 2:
            raise ValueError("the samples must have at least two different labels")
        return self

    @property
    def classes(self) -> list[str]:
        """The classes in the order in which the samples name them: a jet's label is its class's place in this list."""
        return list(dict.fromkeys(sample.label for sample in self.samples.values()))


#: Sections that name a kind, with the family it belongs to.
KINDS = {
    "task": "tasks",
    "model": "models",
    "convert.format": "convert.formats",
    "synthesize.backend": "synth.backends",
}


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
        checked_kind(section(campaign, key), family, key, file)
    _check_space(campaign, file)
    return campaign


def load_campaign(file: str | Path) -> Campaign:
    """Read and check the campaign file `file` (YAML).

    Raises
    ------
    CampaignError
        If the file is missing, is not YAML, or does not describe a campaign.
    """
    try:
        values = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise CampaignError("the campaign file cannot be read", file=file, found=error) from None
    except yaml.YAMLError as error:
        raise CampaignError("the campaign file is not YAML", file=file, found=error) from None
    if not isinstance(values, dict):
        raise CampaignError(
            "the campaign file holds no sections", file=file, found=type(values).__name__, expected="keys and values"
        )
    return parse_campaign(values, file)


def checked_kind(kind: Kind, family: str, key: str, file: str | Path = "") -> dict[str, Any]:
    """Return a kind's section with defaults filled in; see `Kind.checked`.

    Raises
    ------
    CampaignError
        If the kind or one of its options is not known, or a value does not fit.
    """
    try:
        return kind.checked(family, key)
    except ValidationError as error:
        raise explain(error, file, registry.declared(family, kind.kind), key) from None
    except CampaignError as error:
        error.details = {"file": str(file), **error.details}
        raise


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


def explain(error: ValidationError, file: str | Path, model: type[BaseModel], prefix: str = "") -> CampaignError:
    """Turn the first complaint of pydantic into an error that names file, key and nearest match."""
    complaints = error.errors(include_url=False)
    # A misspelt key is also a missing one, and a value may fit none of several forms: say first what helps most.
    first = min(complaints, key=lambda one: {"value_error": 0, "extra_forbidden": 1}.get(one["type"], 2))
    places = [str(place) for place in first["loc"] if not _is_union_branch(place)]
    key = ".".join([prefix, *places] if prefix else places) or "the whole campaign"
    if first["type"] == "extra_forbidden":
        known = _fields(model, places[:-1])
        return CampaignError("a key is not known", file=file, key=key, found=places[-1], choices=known)
    if first["type"] == "missing":
        return CampaignError("a key is missing", file=file, key=key, expected="a value")
    found = repr(first["input"])
    message = first["msg"].removeprefix("Value error, ")
    return CampaignError(
        "a value does not fit",
        file=file,
        key=key,
        found=found if len(found) <= 120 else found[:117] + "...",
        expected=message[0].lower() + message[1:],
        choices=_choices(first),
    )


def _choices(complaint: Any) -> list[str] | None:
    """Return the allowed words of a value that must be one of a list."""
    if complaint["type"] != "literal_error":
        return None
    return re.findall(r"'([^']*)'", complaint["ctx"]["expected"])


def _is_union_branch(place: int | str) -> bool:
    """Return whether pydantic, not the campaign, put this step into the path."""
    return place in ("Integers", "Floats", "Choice") or "[" in str(place)


def _fields(model: type[BaseModel], places: list[str]) -> list[str]:
    """Return the keys known at a place inside a section."""
    current: Any = model
    for place in places:
        field = current.model_fields.get(place) if _is_model(current) else None
        current = _inner(field.annotation) if field is not None else current
    return list(current.model_fields) if _is_model(current) else []


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _inner(annotation: Any) -> Any:
    """Return the model inside `Model | None`, `dict[str, Model]` and the like."""
    if _is_model(annotation):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        if _is_model(inner := _inner(argument)):
            return inner
    return None


def _check_space(campaign: Campaign, file: str | Path) -> None:
    """Check that each dimension of the scan's space is a key of the model or of the training and takes its values."""
    model = registry.declared("models", campaign.model.kind)
    known = [f"model.{key}" for key in model.model_fields] + [f"train.{key}" for key in Train.model_fields]
    for name, dimension in campaign.scan.space.items():
        key = f"scan.space.{name}"
        if name not in known:
            raise CampaignError(
                "the scan varies a key that does not exist", file=file, key=key, found=name, choices=known
            )
        values = dimension.choices if hasattr(dimension, "choices") else [dimension.low, dimension.high]
        head, _, tail = name.partition(".")
        for value in values:
            try:
                if head == "model":
                    model.model_validate({**campaign.model.options(), tail: value})
                else:
                    Train.model_validate({**campaign.train.model_dump(), tail: value})
            except ValidationError as error:
                raise explain(error, file, model, key) from None
