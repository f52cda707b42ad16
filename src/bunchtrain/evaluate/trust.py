"""How far answers can be trusted, as panels: ways to state an uncertainty beside each other, sets, regions.

N: jet, C: class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bunchtrain import conformal
from bunchtrain.calibration import balanced, calibration, usefulness
from bunchtrain.config.specs import EvaluateSpec
from bunchtrain.discrimination import Scores
from bunchtrain.evaluate import coverage
from bunchtrain.evaluate.answers import Answers
from bunchtrain.evaluate.coverage import Labelled
from bunchtrain.evaluate.references import Way
from bunchtrain.events.reader import Index
from bunchtrain.panels import Panel
from bunchtrain.rounding import alone, together
from bunchtrain.tasks.base import TaskProtocol

Floats = NDArray[np.float64]

_WAYS = (
    "The same network and the same jets; what is fitted is fitted on jets of the other splits. Passes: what an answer "
    "costs, in passes through the network. NLL and Brier score: the less the better, whatever the spread is used for. "
    "ECE: mean gap between confidence and share of right answers; the rms gap is without what chance adds. Classes: "
    "mean size of sets that hold the true class for 90 % of the jets."
)
_WORTH = (
    "A useful uncertainty is large where the answer is wrong. Errors found: how often a wrong answer is less certain "
    "than a right one; 0.5 is chance. Gained: by how much the accuracy exceeds that of all jets when a share of the "
    "least certain ones is left out, mean over all shares."
)
_STRANGE = (
    " Unfamiliar: how often a jet of a sample that no class of the training holds is less certain than a test jet; "
    "below 0.5 the network is surer of what it has never seen. All test jets are compared with: a sample like one "
    "class alone is as certain as that class."
)
_REGIONS = (
    "The calibration in bins of pt and |η|, and class by class: how far the probability of a class is from how often "
    "it is true. A dash: too few jets to tell."
)


@dataclass(frozen=True)
class Split:
    """Answers for jets, with weights for which probabilities are stated."""

    answers: Answers
    weights: Floats

    @classmethod
    def of(cls, task: TaskProtocol, answers: Answers) -> Split:
        """Make the classes of jets weigh the same where the training does."""
        even = balanced(answers.weights, answers.labels, len(task.classes)) if task.balanced else answers.weights
        return cls(answers, even)

    def labelled(self, data: Index, probabilities_NC: Floats) -> Labelled:
        """Return these jets with some probabilities."""
        pt = data.column("pt", self.answers.jets).astype(np.float64)
        return Labelled(probabilities_NC, self.answers.labels, self.weights, pt)


def panels(
    spec: EvaluateSpec,
    data: Index,
    task: TaskProtocol,
    ways: Sequence[Way],
    validation: Answers,
    test: Answers,
    strange: Mapping[str, Answers],
) -> list[Panel]:
    """Return all panels.

    Parameters
    ----------
    spec : EvaluateSpec
    data : Index
        Of the jets of `validation` and `test`.
    task : TaskProtocol
        Whose items are whole jets.
    ways : sequence of Way
    validation, test : Answers
        Of those splits, by the same network.
    strange : mapping
        Answers for samples that no class of the training holds, by name.
    """
    ours, theirs = Split.of(task, validation), Split.of(task, test)
    promised = spec.settings.coverage
    jets = [split.labelled(data, split.answers.columns["mean"]) for split in (ours, theirs)]
    return [
        _of_ways(spec, task, ways, ours, theirs),
        _worth(task, ways, theirs, strange),
        coverage.panel(jets[0], jets[1], promised, spec.seed),
        _regions(spec, data, task, theirs),
    ]


def _of_ways(spec: EvaluateSpec, task: TaskProtocol, ways: Sequence[Way], ours: Split, theirs: Split) -> Panel:
    rows: list[list[str]] = []
    figures: dict[str, float] = {}
    for way in ways:
        if way.probabilities is None:
            continue
        p = way.probabilities(theirs.answers)
        found = calibration(p, theirs.answers.labels, theirs.weights, **_options(spec))
        scores = theirs.answers.scores(_score(task, p), task.signal, task.background)
        size = _set_size(way.probabilities(ours.answers), p, ours, theirs)
        rows.append(_way_row(way, scores, found, size))
        keys = ("nll", "brier", "ece", "ece_error", "rms_debiased")
        figures |= {f"{way.name}: {key}": found[key] for key in keys if found[key] is not None}
        figures[f"{way.name}: set size"] = size
    columns = ["way", "passes", "AUC", "NLL", "Brier score", "ECE, %", "rms gap, %", "classes"]
    return Panel("Ways to state an uncertainty", _WAYS, columns, rows, figures=figures)


def _options(spec: EvaluateSpec) -> dict[str, Any]:
    return {"bins": spec.settings.bins, "bootstrap": spec.settings.bootstrap, "seed": spec.seed}


def _score(task: TaskProtocol, probabilities_NC: Floats) -> Floats:
    found: Floats = task.discriminant(torch.from_numpy(probabilities_NC)).numpy()
    return found


def _set_size(ours_NC: Floats, theirs_NC: Floats, ours: Split, theirs: Split) -> float:
    """Return the mean number of classes of conformal sets at 90 %."""
    true = conformal.of_true(ours_NC, ours.answers.labels)
    sets_NC = conformal.sets(theirs_NC, conformal.threshold(true, ours.weights, 0.9))
    return float(np.average(sets_NC.sum(1), weights=theirs.weights))


def _way_row(way: Way, scores: Scores, found: dict[str, Any], size: float) -> list[str]:
    ece = together(100 * found["ece"], 100 * found["ece_error"])
    area = together(scores.auc(), scores.auc_error())
    numbers = (alone(found["nll"], 4), alone(found["brier"], 4))
    return [way.name, way.passes, area, *numbers, ece, _percent(found["rms_debiased"]), alone(size)]


def _percent(value: float | None) -> str:
    return "-" if value is None else alone(100 * value, 2)


def _worth(task: TaskProtocol, ways: Sequence[Way], theirs: Split, strange: Mapping[str, Answers]) -> Panel:
    rows: list[list[str]] = []
    figures: dict[str, float] = {}
    answers = theirs.answers
    for way in ways:
        p = answers.columns["mean"] if way.probabilities is None else way.probabilities(answers)
        right = p.argmax(1) == answers.labels
        for name, doubt in way.doubts.items():
            found = usefulness(doubt(answers), right, theirs.weights)
            unfamiliar = {title: _noticed(doubt, theirs, one) for title, one in strange.items()}
            auroc = "-" if found["auroc"] is None else alone(found["auroc"])
            cells = [auroc, f"{100 * found['gain']:.2f} %", *(alone(value) for value in unfamiliar.values())]
            rows.append([f"{way.name}: {name}" if name != way.name else name, *cells])
            figures |= {f"{way.name}: {name}: {key}": found[key] for key in ("auroc", "gain") if found[key] is not None}
            figures |= {f"{way.name}: {name}: {title}": value for title, value in unfamiliar.items()}
    columns = ["uncertainty", "errors found", "gained", *(f"unfamiliar: {name}" for name in strange)]
    return Panel("What the uncertainty is worth", _WORTH + _STRANGE * bool(strange), columns, rows, figures=figures)


def _noticed(doubt: Any, theirs: Split, strange: Answers) -> float:
    """Return how often a jet of another sample is less certain than a test jet."""
    return Scores(doubt(strange), doubt(theirs.answers), strange.weights, theirs.weights).auc()


def _regions(spec: EvaluateSpec, data: Index, task: TaskProtocol, theirs: Split) -> Panel:
    """Return the calibration of the mean of MC dropout in bins of pt and |η|, and of every class."""
    p, labels = theirs.answers.columns["mean"], theirs.answers.labels
    pt, eta = (data.column(name, theirs.answers.jets).astype(np.float64) for name in ("pt", "eta"))
    rows: list[list[str]] = []
    figures: dict[str, float] = {}
    for name, here in _bins(pt, np.abs(eta)):
        if float(theirs.weights[here].sum()) <= 0:
            continue
        found = calibration(p[here], labels[here], theirs.weights[here], **_options(spec))
        cells = [f"{int(here.sum()):,}", f"{100 * found['accuracy']:.1f} %"]
        ece = together(100 * found["ece"], 100 * found["ece_error"])
        rows.append([name, *cells, ece, _percent(found["rms_debiased"])])
        if found["rms_debiased"] is not None:
            figures[f"{name}: rms_debiased"] = found["rms_debiased"]
    all_of_them = calibration(p, labels, theirs.weights, **_options(spec))
    for number, name in enumerate(task.classes):
        gap = all_of_them["ece_classwise"][number]
        rows.append([f"class {name}", f"{int(np.sum(labels == number)):,}", "", alone(100 * gap, 2), ""])
        figures[f"class {name}: ece"] = gap
    columns = ["region", "test jets", "accuracy", "ECE, %", "rms gap, %"]
    return Panel("Calibration by region and class", _REGIONS, columns, rows, figures=figures)


def _bins(pt_N: Floats, eta_N: Floats) -> list[tuple[str, NDArray[np.bool_]]]:
    """Return three bins of pt in each of two of |η|, with their names; those without jets are left out."""
    found = {}
    edges = np.quantile(pt_N, [0, 1 / 3, 2 / 3, 1])
    for number in range(3):
        low, high = edges[number : number + 2]
        inside = (pt_N >= low) & ((pt_N < high) | (number == 2))
        middle = float(np.median(eta_N[inside])) if inside.any() else 0.0
        for side, central in (("<", eta_N < middle), ("≥", eta_N >= middle)):
            if (inside & central).any():
                found[f"pt {low:.5g} to {high:.5g} GeV, |η| {side} {middle:.3g}"] = inside & central
    return list(found.items())
