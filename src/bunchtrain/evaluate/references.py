"""Ways to state an uncertainty, side by side on the same jets: MC dropout, and what it has to be compared with.

M: item, C: class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bunchtrain.calibration import balanced, cooled, temperature
from bunchtrain.config.specs import EvaluateSpec
from bunchtrain.evaluate.answers import Answers, answer, load
from bunchtrain.evaluate.batches import Batches
from bunchtrain.evaluate.lastlayer import LastLayer, Seen, find, watched, with_one
from bunchtrain.events.reader import Index
from bunchtrain.events.splits import at_most
from bunchtrain.posterior import PILOT, entropy, passes_for
from bunchtrain.tasks.base import TaskProtocol

Floats = NDArray[np.float64]

#: Training jets on which the last layer is looked at, and validation jets that say how many passes it takes.
_MOST, _PILOT_JETS = 10_000, 2_000


@dataclass(frozen=True)
class Way:
    """A way to state an uncertainty.

    Parameters
    ----------
    name : str
    passes : str
        What it costs beside a single pass.
    probabilities : callable
        Answers to probabilities [M, C]; None for a way that leaves these alone.
    doubts : dict
        Measures of uncertainty by name: answers to values [M], the larger the less certain.
    """

    name: str
    passes: str
    probabilities: Callable[[Answers], Floats] | None
    doubts: Mapping[str, Callable[[Answers], Floats]]


def settled(spec: EvaluateSpec, data: Index, task: TaskProtocol, folder: Path) -> EvaluateSpec:
    """Return a spec that says how many passes MC dropout takes: where it is left to us, what a pilot run asks for."""
    settings = spec.settings
    if settings.passes != "auto":
        return spec
    indices = data.indices("validation")
    pilot = answer(spec, data, task, folder, at_most(indices, _PILOT_JETS, spec.seed), passes=PILOT)
    passes = passes_for(torch.from_numpy(pilot.columns["spread"]), settings.mc_error, settings.most_passes)
    print(f"[evaluate] {passes} passes of MC dropout for an error of {settings.mc_error:g} of the score", flush=True)
    return spec.model_copy(update={"settings": settings.model_copy(update={"passes": passes})})


def last_layer(spec: EvaluateSpec, data: Index, task: TaskProtocol, folder: Path) -> LastLayer | None:
    """Return what the last layer of a network knows, fitted on training jets; None where it is not for whole jets.

    Its answers have to be the softmax of its logits, a class each.
    """
    model, card = load(data, task, folder)
    layer, indices = find(model), data.indices("train")
    if task.level != "graph" or layer is None or task.widths.graph != len(task.classes):
        return None
    parts: list[Seen] = []
    for step in Batches(data, task, card, at_most(indices, _MOST, spec.seed)):
        for part in step:
            with torch.no_grad():
                logits, features = watched(model, part.inputs)
                items = task.items(logits, part.targets)
            softmax = torch.softmax(logits.graph_BC.double(), -1)
            if features is None or not torch.allclose(softmax, items.probabilities_MC.double(), atol=1e-5):
                return None
            parts.append(Seen(with_one(features), logits.graph_BC, items.labels_M, items.weights_M))
    if not parts:
        return None
    seen = Seen(*(torch.cat(column) for column in zip(*parts, strict=True)))
    weights = balanced(seen.weights_M.numpy(), seen.labels_M.numpy(), len(task.classes))
    return LastLayer(seen._replace(weights_M=torch.from_numpy(weights)), layer, len(indices), spec.seed)


@dataclass(frozen=True)
class Jury:
    """The trained networks, and what the first one's last layer knows."""

    spec: EvaluateSpec
    task: TaskProtocol
    trainings: Sequence[Path]
    last: LastLayer | None

    @classmethod
    def of(cls, spec: EvaluateSpec, data: Index, task: TaskProtocol, trainings: Sequence[Path]) -> Jury:
        """Fit what there is to fit on training jets."""
        return cls(spec, task, trainings, last_layer(spec, data, task, trainings[0]))

    def answers(self, data: Index, split: str, *, judged: bool = False) -> list[Answers]:
        """Return every network's answers for a split: a single pass, of the first and of those judged MC dropout too.

        Figures of merit are made of those alone that are judged: rows of no class have none.
        """
        found, indices, passes = [], data.indices(split), int(self.spec.settings.passes)
        for number, folder in enumerate(self.trainings):
            last, own = (None, passes * judged) if number else (self.last, passes)
            told = answer(self.spec, data, self.task, folder, indices, passes=own, last=last, judged=judged)
            found.append(told)
        return found


def together(answers: Sequence[Answers]) -> Answers:
    """Return the first network's answers, with the mean of all networks' single passes: `ensemble`.

    A deep ensemble (Lakshminarayanan et al., arXiv:1612.01474): trainings that differ in their seed. With one network
    there is none.
    """
    first = answers[0]
    if len(answers) > 1:
        members = [torch.from_numpy(one.columns["single"]) for one in answers]
        mean = torch.stack(members).mean(0)
        known = torch.stack([entropy(member) for member in members]).mean(0)
        first.columns["ensemble"] = mean.numpy()
        first.columns["ensemble_mutual_information"] = (entropy(mean) - known).clamp(min=0).numpy()
    return first


def ways(task: TaskProtocol, validation: Answers, passes: int, members: int) -> list[Way]:
    """Return the ways for which there are answers, the temperatures fitted on validation jets."""
    weights = balanced(validation.weights, validation.labels, len(task.classes))
    found = []

    def add(name: str, cost: str, column: str, *doubts: tuple[str, str]) -> None:
        """Add a way, if there are answers for it."""
        if column not in validation.columns:
            return
        own = {title: partial(_column, key) for title, key in doubts}
        found.append(Way(name, cost, partial(_column, column), {"entropy": partial(_entropy, column), **own}))

    def cool(column: str, name: str, cost: str) -> None:
        """Add the same with a temperature."""
        best = temperature(validation.columns[column], validation.labels, weights)
        told = f"{name}, temperature {best:.2f}"
        found.append(Way(told, cost, lambda answers: cooled(answers.columns[column], best), {}))

    mutual = "mutual information"
    add("single pass", "1", "single")
    cool("single", "single pass", "1")
    add("MC dropout", f"{passes} of the heads", "mean", (mutual, "mutual_information"), ("spread", "spread"))
    cool("mean", "MC dropout", f"{passes} of the heads")
    add(f"ensemble of {members}", str(members), "ensemble", (mutual, "ensemble_mutual_information"))
    add("last-layer Laplace", "1", "laplace", (mutual, "laplace_mutual_information"))
    add("learnt variance", "1", "learnt_variance")
    if "distance" in validation.columns:
        found.append(Way("distance to the training jets", "1", None, {"distance": partial(_column, "distance")}))
    return found


def _column(name: str, answers: Answers) -> Floats:
    return answers.columns[name]


def _entropy(name: str, answers: Answers) -> Floats:
    found: Floats = entropy(torch.from_numpy(answers.columns[name])).numpy()
    return found
