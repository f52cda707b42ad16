"""What an evaluation of the scan is: a short training, judged on the validation split."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from bunchtrain.config.campaign import parse_section
from bunchtrain.config.scan import Scan, Trials
from bunchtrain.config.specs import ScanSpec, TrainSpec, as_text
from bunchtrain.config.train import Train
from bunchtrain.errors import CampaignError
from bunchtrain.files import read_json
from bunchtrain.scan import process, space
from bunchtrain.scan.space import Values

#: Larger is better; a list has a number for every objective; a text is the reason of a failure, `F_...`.
Result = float | list[float] | str


class Evaluation(Protocol):
    """What a search evaluates."""

    @property
    def settings(self) -> Trials:
        """Space, number of evaluations, and how many run at the same time."""

    @property
    def seed(self) -> int:
        """What the suggestions follow from, beside the results."""

    def own(self) -> Values:
        """Return the campaign's own values of the dimensions: the first evaluation."""

    def command(self, values: Values, folder: Path) -> list[str]:
        """Return what evaluates `values` and writes into `folder`."""

    def result(self, folder: Path) -> tuple[Result, dict[str, Any]]:
        """Return the result of a finished evaluation, and facts for the record."""

    def told(self, result: float | list[float]) -> str:
        """Return a result in words."""


def evaluate(evaluation: Evaluation, values: Values, folder: Path) -> tuple[Result, dict[str, Any]]:
    """Evaluate `values`; return the result, and facts for the record."""
    try:
        command, log = evaluation.command(values, folder), folder / LOG
    except CampaignError as error:  # values that fit alone, but not together
        return "F_invalid", {"error": error.problem}
    reason = process.evaluate(command, log, evaluation.settings.timeout)
    return (reason, {}) if reason else evaluation.result(folder)


#: What an evaluation says, in its folder.
LOG = "train.log"


class Trainings(NamedTuple):
    """Short trainings with the values of a campaign's space."""

    spec: ScanSpec
    dataset: Path
    scaler: Path

    @property
    def settings(self) -> Scan:
        """The campaign's section."""
        return self.spec.settings

    @property
    def seed(self) -> int:
        """The training's."""
        return self.spec.training.seed

    def own(self) -> Values:
        """Return the campaign's own network and training."""
        sections = {"model": self.spec.training.model, "train": self.spec.training.settings.model_dump()}
        return space.defaults(self.settings, sections)

    def command(self, values: Values, folder: Path) -> list[str]:
        """Return the training."""
        spec = as_text(training_spec(self.spec, values))
        command = [sys.executable, "-m", "bunchtrain", "train", "--spec", spec, "--dataset", str(self.dataset)]
        return [*command, "--scaler", str(self.scaler), "--out", str(folder)]

    def result(self, folder: Path) -> tuple[float, dict[str, Any]]:
        """Return the objective of a finished training, and its validation curve."""
        rows = read_json(folder / "history.json")["rows"]
        best = min(rows, key=lambda row: row["validation_loss"])
        facts = {
            "validation_loss": best["validation_loss"],
            "validation_auc": best["validation_auc"],
            "curve": [row["validation_loss"] for row in rows],
        }
        by_auc = self.settings.objective == "validation_auc"
        return best["validation_auc"] if by_auc else -best["validation_loss"], facts

    def told(self, result: float | list[float]) -> str:
        """Return the objective, without the sign that makes a loss an objective."""
        return f"{self.settings.objective} {abs(result):.4f}" if isinstance(result, float) else str(result)


def training_spec(spec: ScanSpec, values: dict[str, Any]) -> TrainSpec:
    """Return the short training that evaluates `values`."""
    model = dict(spec.training.model)
    settings = spec.training.settings.model_dump()
    for name, value in values.items():
        section, _, key = name.partition(".")
        (model if section == "model" else settings)[key] = value
    short = {"epochs": spec.settings.epochs, "patience": spec.settings.epochs, "max_jets": spec.settings.max_jets}
    settings |= {**short, "ranks": 1, "backend": "serial", "tensorboard": False}
    return spec.training.model_copy(update={"model": model, "settings": parse_section(Train, settings, "scan.space")})
