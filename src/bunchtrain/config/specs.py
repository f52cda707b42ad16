"""What each stage reads of a campaign: narrow, so that a change reruns the stages that depend on it and no others.

A rule hands its stage one of these as JSON (`bunchtrain <verb> --spec '{...}'`); Snakemake compares the text.
`version` is the stage's VERSION: raising it reruns the stage and all below it.
"""

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from bunchtrain.config.base import Name, Positive, Section, Seed
from bunchtrain.config.campaign import KINDS, parse_section
from bunchtrain.config.candidates import varied
from bunchtrain.config.convert import Columns
from bunchtrain.config.evaluate import Evaluate
from bunchtrain.config.explain import checked_kind
from bunchtrain.config.hunt import Hunt
from bunchtrain.config.physics import Physics
from bunchtrain.config.prepare import Prepare
from bunchtrain.config.samples import NO_CLASS, Made
from bunchtrain.config.scan import Scan
from bunchtrain.config.simulate import Simulate
from bunchtrain.config.synthesize import Search, Student, Synthesize
from bunchtrain.config.train import Train
from bunchtrain.errors import CampaignError, InputError
from bunchtrain.files import read_json

#: How names of a scan's space begin that are keys of the student.
STUDENT = "student."


class Spec(Section):
    """What all stages have."""

    version: int


class SimulateSpec(Spec):
    """One ROOT file of one sample; `jets` is the number of its rows, be they jets, events or showers.

    A box's file is one of so many `shards`, which share its signal.
    """

    sample: Name
    process: Made
    shard: int
    jets: int
    seed: Seed
    settings: Simulate
    shards: Positive | None = None

    @model_serializer(mode="wrap")
    def _without_none(self, usual: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what a box alone has: specs of samples stay as they are."""
        return {key: value for key, value in usual(self).items() if (key, value) != ("shards", None)}


class ConvertSpec(Spec):
    """One group of ROOT files of one sample into one HDF5 file.

    Rows have one label, `samples.NO_CLASS` where they are of no class, or the first that fits.
    """

    sample: Name
    label: int | None = None
    labels: list[tuple[int, str]] = Field(default_factory=list)
    classes: list[str]
    format: dict[str, Any]
    columns: Columns = Field(default_factory=Columns)
    step_size: str
    on_bad_file: str

    @property
    def numbers(self) -> set[int]:
        """The classes that the rows may have, as places in `classes`."""
        found = {number for number, _ in self.labels} if self.label is None else {self.label}
        return found - {NO_CLASS}


class PrepareSpec(Spec):
    """Splits, scaler and class weights of the whole campaign."""

    classes: list[str]
    seed: Seed
    settings: Prepare


class IndexSpec(Spec):
    """Rows that stand beside the training: what a network sees of them is what `settings` say.

    With the seed of the samples' split rows keep their side of it; without, all are for testing.
    """

    classes: list[str]
    settings: Prepare
    seed: Seed | None = None


class TrainSpec(Spec):
    """One training.

    `variations` are those that `settings.vary` asks for, with their options. After the epochs of `stops` it ends if its
    best validation loss is above a number.
    """

    seed: Seed
    task: dict[str, Any]
    model: dict[str, Any]
    settings: Train
    variations: list[dict[str, Any]] = Field(default_factory=list)
    stops: list[tuple[Positive, float]] = Field(default_factory=list)
    physics: Physics | None = None

    @model_serializer(mode="wrap")
    def _without_none(self, usual: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what there is none of: specs of trainings without stay as they are."""
        further = ("variations", "stops", "physics")
        return {key: value for key, value in usual(self).items() if key not in further or value}


class EvaluateSpec(Spec):
    """Judging the trainings."""

    seed: Seed
    task: dict[str, Any]
    settings: Evaluate


class VarySpec(EvaluateSpec):
    """Judging one training on jets as a variation of a source has them."""

    source: Name
    variation: Name
    kind: dict[str, Any]


class SystematicsSpec(Spec):
    """Joining what became of the variations: resamplings, and where they start."""

    seed: Seed
    bootstrap: Positive


class SensitivitySpec(Spec):
    """What a hunt can do, from labelled samples: their classes, and the mass (GeV) of the resonance among them.

    `energy` is that of the collisions (GeV).
    """

    seed: Seed
    energy: float
    settings: Hunt
    signal: Name
    background: Name
    mass: float


class HuntSpec(Spec):
    """The search of one box."""

    box: Name
    seed: Seed
    energy: float
    settings: Hunt


class SynthesizeSpec(Spec):
    """From a training to an IP core."""

    name: Name
    seed: Seed
    task: dict[str, Any]
    backend: dict[str, Any]
    network: dict[str, Any]
    settings: Synthesize


class ScanSpec(Spec):
    """The search: the space and the training that it varies; how trainings are judged, and the core of their students.

    The last two are there only if an objective asks for them.
    """

    settings: Scan
    training: TrainSpec
    judged: EvaluateSpec | None = None
    core: SynthesizeSpec | None = None

    @model_serializer(mode="wrap")
    def _without_none(self, usual: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what is not asked for: a change of it reruns no scan."""
        return {key: value for key, value in usual(self).items() if value is not None}


class SearchSpec(Spec):
    """The search for students: the space and the core whose student it varies."""

    settings: Search
    core: SynthesizeSpec


class ReportSpec(Spec):
    """The page."""

    name: Name
    title: str
    classes: list[str]
    core: bool = True


def of_student(spec: SynthesizeSpec, student: Student, file: str | Path = "") -> SynthesizeSpec:
    """Return what a stage is asked for with another student."""
    key = "synthesize.student.network"
    network = checked_kind(student.network, KINDS[key], key, file)
    settings = spec.settings.model_copy(update={"student": student})
    return spec.model_copy(update={"network": network, "settings": settings})


def best_values(best: str | Path) -> dict[str, Any]:
    """Return the values that a scan found best.

    Raises
    ------
    InputError
        If the file holds none.
    """
    read = read_json(best)
    found = read.get("values") if isinstance(read, dict) else None
    if not isinstance(found, dict):
        raise InputError("a file holds no best values", file=best, expected="best.json", mend="name what scan wrote")
    return found


def with_best(spec: TrainSpec, best: Path | None) -> TrainSpec:
    """Return `spec` with the values that the scan found for network and training, checked again."""
    if best is None:
        return spec
    model, settings = dict(spec.model), spec.settings.model_dump()
    for name, value in best_values(best).items():
        section, _, key = name.partition(".")
        if section != "student":  # which learns from this training
            (model if section == "model" else settings)[key] = value
    return spec.model_copy(update={"model": model, "settings": parse_section(Train, settings, best)})


def with_values(spec: SynthesizeSpec, values: Mapping[str, Any], file: str | Path) -> SynthesizeSpec:
    """Return what a stage is asked for with the student of a scan's values; those of network and training do not count.

    Raises
    ------
    CampaignError
        If a student has no such key, or the values do not fit together.
    """
    changes = {name.removeprefix(STUDENT): value for name, value in values.items() if name.startswith(STUDENT)}
    if not changes:
        return spec
    return of_student(spec, varied(spec.settings.student, changes, file, "scan.space.student"), file)


AnySpec = TypeVar("AnySpec", bound=Spec)


def parse_spec(kind: type[AnySpec], text: str) -> AnySpec:
    """Read a spec from JSON text, or from the JSON or YAML file that `text` names.

    Raises
    ------
    CampaignError
        If it does not describe a `kind`.
    """
    source = "--spec"
    if not text.lstrip().startswith("{"):
        source = text
        try:
            text = Path(text).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise CampaignError("the spec cannot be read", file=source, found=error) from None
    try:
        values = _values(text)
    except yaml.YAMLError as error:
        raise CampaignError("the spec is neither JSON nor YAML", file=source, found=error) from None
    if not isinstance(values, dict):
        raise CampaignError("the spec holds no keys", file=source, found=type(values).__name__)
    return parse_section(kind, values, source)


def _values(text: str) -> Any:
    """Read JSON, else YAML: YAML takes JSON's 1e-05 for a word and tears its escaped characters beyond 16 bits."""
    with contextlib.suppress(json.JSONDecodeError):
        return json.loads(text)
    return yaml.safe_load(text)


def as_text(spec: Spec) -> str:
    """Return a spec as JSON in one line with sorted keys, the same text for the same content."""
    return json.dumps(spec.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
