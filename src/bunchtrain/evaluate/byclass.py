"""Rejection of every class beside the signal's, by the one score that the task has.

M: item.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunchtrain.discrimination import Scores, told
from bunchtrain.evaluate.answers import Answers
from bunchtrain.panels import Curve, Panel, Plot
from bunchtrain.tasks.base import TaskProtocol

_TEXT = "The same score, against each of the other classes. Ratio: the network's rejection over that of the {baseline}."


def by_class(
    task: TaskProtocol, answers: Answers, rivals: dict[str, NDArray[Any]], working_points: list[float]
) -> list[Panel]:
    """Return a panel with the rejections of all classes but the signal's; none where there are two classes alone.

    Parameters
    ----------
    task : TaskProtocol
    answers : Answers
        The network's.
    rivals : dict
        Scores [M] of simpler methods by name; the first one is the baseline.
    working_points : list of float
        Signal efficiencies.
    """
    others = [number for number in range(len(task.classes)) if number != task.signal]
    if len(others) < 2:
        return []
    baseline = next(iter(rivals), None)
    rows, curves = [], []
    for number in others:
        network = answers.scores(answers.columns["score"], task.signal, number)
        simple = None if baseline is None else answers.scores(rivals[baseline], task.signal, number)
        rows += [_row(task.classes[number], point, network, simple) for point in working_points]
        curves += _curves(task.classes[number], network, simple, baseline)
    columns = [
        "class",
        f"{task.classes[task.signal]} efficiency",
        "network",
        *([baseline, "ratio"] if baseline else []),
    ]
    axes = (f"{task.classes[task.signal]} efficiency", "rejection  1/ε")
    plot = Plot(*axes, curves, logarithmic=True)
    text = _TEXT.format(baseline=baseline) if baseline else _TEXT.partition(" Ratio")[0]
    return [Panel("Rejection of each class", text, columns, rows, [plot])]


def _row(name: str, point: float, network: Scores, simple: Scores | None) -> list[str]:
    found = [one.rejection(point) for one in (network, simple) if one is not None]
    cells = [name, f"{100 * point:.0f} %", *map(told, found)]
    if simple is None:
        return cells
    if any(one["error"] is None for one in found):
        return [*cells, "-"]
    ratio = found[0]["rejection"] / found[1]["rejection"]
    error = ratio * float(np.hypot(*(one["error"] / one["rejection"] for one in found)))
    return [*cells, f"{ratio:.2f} ± {error:.2f}"]


def _curves(name: str, network: Scores, simple: Scores | None, baseline: str | None) -> list[Curve]:
    curves = []
    for label, scores in ((f"{name}, network", network), (f"{name}, {baseline}", simple)):
        if scores is not None:
            x, y = scores.roc()
            shown = (y > 0) & (x > 0.1)
            curves.append(Curve(label, x[shown].tolist(), (1 / y[shown]).tolist(), dashed=scores is simple))
    return curves
