"""What an evaluation of the scan is: a short training, judged on the validation split."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from bunchtrain.config.campaign import parse_section
from bunchtrain.config.scan import Scan
from bunchtrain.config.specs import ScanSpec, TrainSpec, as_text
from bunchtrain.config.train import Train
from bunchtrain.files import read_json
from bunchtrain.scan import space
from bunchtrain.scan.evaluation import Asked
from bunchtrain.scan.slots import Need, Slot
from bunchtrain.scan.space import Values


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

    @property
    def need(self) -> Need:
        """What one training takes."""
        return Need(self.settings.ranks, gpus=self.spec.training.settings.device != "cpu")

    def own(self) -> Values:
        """Return the campaign's own network and training."""
        sections = {"model": self.spec.training.model, "train": self.spec.training.settings.model_dump()}
        return space.defaults(self.settings, sections)

    def steps(self, asked: Asked, slot: Slot) -> list[list[str]]:
        """Return the training."""
        spec, ranks = as_text(training_spec(self.spec, asked.values)), self.settings.ranks
        command = [sys.executable, "-m", "bunchtrain", "train", "--spec", spec, "--dataset", str(self.dataset)]
        command += ["--scaler", str(self.scaler), "--out", str(asked.folder), "--threads", str(slot.threads(ranks))]
        if ranks > 1:
            command += ["--launcher", slot.launcher(ranks), "--ranks", str(ranks)]
        return [slot.command(command, ranks)]

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

    def told(self, facts: Mapping[str, Any]) -> str:
        """Return the objective."""
        return f"{self.settings.objective} {facts[self.settings.objective]:.4f}"


def training_spec(spec: ScanSpec, values: dict[str, Any]) -> TrainSpec:
    """Return the short training that evaluates `values`."""
    model = dict(spec.training.model)
    settings = spec.training.settings.model_dump()
    for name, value in values.items():
        section, _, key = name.partition(".")
        (model if section == "model" else settings)[key] = value
    settings |= spec.settings.short(settings["backend"])
    return spec.training.model_copy(update={"model": model, "settings": parse_section(Train, settings, "scan.space")})
