"""The front of a scan: what no other evaluation beats, and how the volume that it covers grew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bunchtrain import pareto
from bunchtrain.config.objectives import LARGER
from bunchtrain.config.scan import Scan
from bunchtrain.scan.journal import Trial
from bunchtrain.scan.objective import larger_is_better
from bunchtrain.scan.results import finished


def front(settings: Scan, trials: Sequence[Trial]) -> dict[str, Any]:
    """Return the front of the finished evaluations, the volume it covers after each of them, and from where.

    Stopped and failed evaluations have no place on it. Of evaluations with equal figures it is the first.

    Returns
    -------
    dict
        `objectives`: name, whether `larger` is better, and its `limit` or None; `front`: the evaluations, the best
        first objective first; `reference`: plain figures, the worst of each objective among the first `initial`
        finished evaluations; `hypervolume`: for every finished evaluation the volume between that and the front so far,
        on the scales on which DeepHyper weighs the objectives.
    """
    names, done = settings.objectives, finished(trials)
    points = [[larger_is_better(name, trial.facts[name]) for name in names] for trial in done]
    first = range(min(settings.initial, len(done)))
    worst = [min(points[place][axis] for place in first) for axis in range(len(names))] if done else []
    found: list[int] = []
    rows, volume = [], 0.0
    for place, trial in enumerate(done):
        if (now := pareto.joined(found, points, place)) != found:
            found, volume = now, _volume([points[one] for one in now], worst)
        rows.append({"trial": trial.number, "volume": volume})
    order = sorted(found, key=lambda place: (-points[place][0], place))
    return {
        "objectives": [{"name": name, "larger": name in LARGER, "limit": settings.limits.get(name)} for name in names],
        "front": [_shown(settings, done[place]) for place in order],
        "reference": {
            name: done[min(first, key=lambda place: points[place][axis])].facts[name]
            for axis, name in enumerate(names if done else ())
        },
        "hypervolume": rows,
    }


def _shown(settings: Scan, trial: Trial) -> dict[str, Any]:
    figures = {name: trial.facts[name] for name in settings.objectives}
    return {"trial": trial.number, "figures": figures, "values": trial.values}


def _volume(points: Sequence[Sequence[float]], reference: Sequence[float]) -> float:
    """Return the volume of what is worse than some point and better than the reference, all numbers to be large."""
    inside = [point for point in points if all(one > other for one, other in zip(point, reference, strict=True))]
    if not inside:  # beyond the reference it would count what is not there
        return 0.0
    if len(reference) == 1:
        return max(point[0] for point in inside) - reference[0]
    import numpy as np
    from deephyper.skopt.moo import hypervolume

    return float(hypervolume(-np.array(inside), -np.array(reference)))  # which wants numbers that are to be small
