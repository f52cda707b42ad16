"""What an evaluation of the scan is: a short training, judged on the validation split."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bunchtrain.config.campaign import parse_section
from bunchtrain.config.candidates import own_value
from bunchtrain.config.objectives import ASSESSED, LARGER, OF_CORE
from bunchtrain.config.scan import Scan
from bunchtrain.config.specs import STUDENT, ScanSpec, TrainSpec, as_text, with_values
from bunchtrain.config.train import Train
from bunchtrain.files import read_json
from bunchtrain.scan import halving, space
from bunchtrain.scan.evaluation import Asked, Result
from bunchtrain.scan.slots import Need, Slot
from bunchtrain.scan.space import Values

#: Folders of an evaluation beside its training, and the file in each.
ASSESSED_IN, STUDENT_IN, FIGURES = "assessed", "student", "figures.json"

#: Objectives that count by their powers of ten; less than the least does not count.
_LEAST = {"rejection": 1.0, "rank_seconds": 1e-6, "lut": 1.0}


class Trainings(NamedTuple):
    """Short trainings with the values of a campaign's space."""

    spec: ScanSpec
    dataset: Path
    scaler: Path

    @property
    def sources(self) -> list[Path]:
        """The files that the scan follows from."""
        return [self.dataset, self.scaler, *map(Path, self.settings.warm_start)]

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
        """Return the campaign's own network, training and student."""
        student: dict[str, Any] = {}
        if self.spec.core is not None:
            keys = [name.removeprefix(STUDENT) for name in self.settings.space if name.startswith(STUDENT)]
            student = {key: own_value(self.spec.core.settings.student, key) for key in keys}
        sections = {"model": self.spec.training.model, "train": self.spec.training.settings.model_dump()}
        return space.defaults(self.settings, {**sections, "student": student})

    def steps(self, asked: Asked, slot: Slot) -> list[list[str]]:
        """Return the training, and what else its objectives ask for."""
        ranks, training = self.settings.ranks, ["train", "--spec", as_text(training_spec(self.spec, asked))]
        training += ["--scaler", str(self.scaler), "--out", str(asked.folder), "--threads", str(slot.threads(ranks))]
        if ranks > 1:
            training += ["--launcher", slot.launcher(ranks), "--ranks", str(ranks)]
        return [
            slot.command([sys.executable, "-m", "bunchtrain", *words, "--dataset", str(self.dataset)], processes)
            for words, processes in [(training, ranks), *((words, 1) for words in self._judging(asked))]
        ]

    def _judging(self, asked: Asked) -> Iterator[list[str]]:
        wanted, model = set(self.settings.objectives), ["--model", str(asked.folder)]
        if wanted & ASSESSED and self.spec.judged is not None:
            yield ["assess", "--spec", as_text(self.spec.judged), *model, "--out", str(asked.folder / ASSESSED_IN)]
        if wanted & OF_CORE and self.spec.core is not None:
            core = as_text(with_values(self.spec.core, asked.values, "--spec"))
            yield ["candidate", "--spec", core, *model, "--out", str(asked.folder / STUDENT_IN), "--estimate"]

    def result(self, folder: Path) -> tuple[Result, dict[str, Any]]:
        """Return the objectives of a finished training, and plain figures: of all objectives, and its curve."""
        wanted, facts = set(self.settings.objectives), _of_training(folder, self.settings.epochs)
        if wanted & ASSESSED:
            facts |= _of_answers(read_json(folder / ASSESSED_IN / FIGURES))
        if wanted & OF_CORE and self.spec.core is not None:
            student = read_json(folder / STUDENT_IN / FIGURES)
            if student["status"] != "done":
                return "F_no_circuit", {**facts, "error": student["error"]}
            facts |= _of_student(student, self.spec.core.settings.clock_ns)
        if missing := [name for name in self.settings.objectives if facts[name] is None]:
            return "F_no_figure", {**facts, "error": f"the validation jets do not tell the {missing[0]}"}
        return result(self.settings.objectives, facts), facts

    def told(self, facts: Mapping[str, Any]) -> str:
        """Return the objectives."""
        found = ", ".join(told(name, facts[name]) for name in self.settings.objectives)
        stopped = facts.get("stopped_at")
        return found if stopped is None else f"{found}; stopped after epoch {stopped}"


def result(names: Sequence[str], figures: Mapping[str, Any]) -> float | list[float]:
    """Return figures as DeepHyper is told them: all the larger the better, several as a list.

    Rejection, seconds and look-up tables count by their powers of ten.
    """
    found = [larger_is_better(name, figures[name]) for name in names]
    return found[0] if len(found) == 1 else found


def larger_is_better(name: str, figure: float) -> float:
    """Return a figure of an objective on the scale on which DeepHyper weighs it."""
    scaled = math.log10(max(figure, _LEAST[name])) if name in _LEAST else figure
    return scaled if name in LARGER else -scaled


def told(name: str, figure: float) -> str:
    """Return an objective in words."""
    return f"{name} {figure:.4f}" if abs(figure) < 10 else f"{name} {figure:.0f}"


def _of_training(folder: Path, epochs: int) -> dict[str, Any]:
    """Return the best epoch's figures, the curve, and what all epochs cost, of which there may have been fewer."""
    history, card = read_json(folder / "history.json"), read_json(folder / "model.json")
    rows = history["rows"]
    best = min(rows, key=lambda row: row["validation_loss"])
    seconds = [row["step_seconds"] for row in rows if "step_seconds" in row]
    facts = {
        "validation_loss": best["validation_loss"],
        "validation_auc": best.get("validation_auc"),
        "curve": [row["validation_loss"] for row in rows],
        "rank_seconds": epochs * history["ranks"] * sum(seconds) / len(seconds) if seconds else None,
        "epochs": len(rows),
        "seed": card["training"]["seed"],
    }
    return facts | ({"stopped_at": len(rows)} if history.get("stopped_early") else {})


def _of_answers(figures: Mapping[str, Any]) -> dict[str, Any]:
    (point,), calibration = figures["working_points"], figures["calibration"]
    return {
        "rejection": point["rejection"],
        "rejection_error": point["error"],
        "calibration_error": calibration["rms_debiased"],
        "ece": calibration["ece"],
    }


def _of_student(figures: Mapping[str, Any], clock_ns: float) -> dict[str, Any]:
    estimate = figures["estimate"]
    latency = {"latency": estimate["cycles"] * clock_ns, "cycles": estimate["cycles"]}
    return {"student_auc": figures["auc"]["quantised_student"], "lut": estimate["lut"], **latency}


def training_spec(spec: ScanSpec, asked: Asked) -> TrainSpec:
    """Return the short training that evaluates values; all but the first have a seed of their own.

    So the search does not find what one seed favours.
    """
    model, scanned = dict(spec.training.model), spec.settings
    settings = spec.training.settings.model_dump()
    for name, value in asked.values.items():
        section, _, key = name.partition(".")
        if section != "student":
            (model if section == "model" else settings)[key] = value
    settings |= scanned.short(settings["backend"])
    changes = {"model": model, "settings": parse_section(Train, settings, "scan.space")}
    if scanned.halving is not None:
        curves = halving.known_curves(asked.known)
        changes["stops"] = [tuple(one) for one in halving.stops(curves, scanned.rungs, scanned.halving)]
    return spec.training.model_copy(update={**changes, "seed": spec.training.seed + asked.number})
