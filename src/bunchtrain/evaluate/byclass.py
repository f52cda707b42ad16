"""Rejection of every class beside the signal's, by the one score that the task has.

M: item.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from bunchtrain.discrimination import Scores, gain, quotable, told
from bunchtrain.evaluate.answers import Answers
from bunchtrain.panels import Curve, Headline, Panel, Plot
from bunchtrain.rounding import alone, together
from bunchtrain.tasks.base import TaskProtocol

_TEXT = (
    "The same score, against each of the other classes; rejection: 1 over the share of the class that passes. No curve "
    "goes on where less than one jet of the class would pass."
)
_RATIO = (
    " Ratio: the network's over that of the {baseline}; its error is that of different jets, on the same ones it is "
    "smaller."
)


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
    rows, curves, headlines = [], [], []
    for group, number in enumerate(others):
        network = answers.scores(answers.columns["score"], task.signal, number)
        simple = None if baseline is None else answers.scores(rivals[baseline], task.signal, number)
        rows += [_row(task.classes[number], point, network, simple) for point in working_points]
        curves += _curves(task.classes[number], network, simple, baseline, group)
        if simple is not None and number == task.background:
            headlines = _headlines(task, working_points, network, simple, str(baseline))
    columns = [
        "class",
        f"{task.classes[task.signal]} efficiency",
        "network",
        *([baseline, "ratio"] if baseline else []),
    ]
    axes = (f"{task.classes[task.signal]} efficiency", "rejection  1/ε$_B$")
    plot = Plot(*axes, curves, logarithmic=True)
    text = _TEXT + (_RATIO.format(baseline=baseline) if baseline else "")
    return [Panel("Rejection of each class", text, columns, rows, [plot], headlines=headlines)]


def _row(name: str, point: float, network: Scores, simple: Scores | None) -> list[str]:
    found = [one.rejection(point) for one in (network, simple) if one is not None]
    cells = [name, f"{100 * point:.0f} %", *map(told, found)]
    if simple is None:
        return cells
    ratio = gain(*found)
    return [*cells, "-" if ratio is None else together(*ratio)]


def _headlines(
    task: TaskProtocol, working_points: list[float], network: Scores, simple: Scores, baseline: str
) -> list[Headline]:
    """Return the gain in rejection of the quoted background."""
    pairs = [(network.rejection(point), simple.rejection(point)) for point in working_points]
    # Enough has to pass both: of each pair, what the one that lets less pass says.
    fewer = [min(pair, key=lambda row: row["background_passing"]) for pair in pairs]
    one, other = pairs[fewer.index(quotable(fewer))]
    ratio = gain(one, other)
    if ratio is None:
        return []
    rejections = " against ".join(alone(row["rejection"]) for row in (one, other))
    place = f"at {100 * one['efficiency']:.0f} % {task.classes[task.signal]} efficiency"
    note = f"{task.classes[task.background]} rejection {rejections}, {place}"
    return [Headline(f"gain over the {baseline}", *ratio, "times", note)]


def _curves(name: str, network: Scores, simple: Scores | None, baseline: str | None, group: int) -> list[Curve]:
    curves = []
    for label, scores in ((f"{name}, network", network), (f"{name}, {baseline}", simple)):
        if scores is not None:
            x, y = scores.roc()
            shown = (y >= scores.fewest) & (x > 0.1)
            line = x[shown].tolist(), (1 / y[shown]).tolist()
            curves.append(Curve(label, *line, dashed=scores is simple, group=group))
    return curves
