"""What the model says of a whole training on N ranks, and how many ranks to take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from bunchtrain.scaling.fit import Interval, Point, StepModel

#: Efficiency below which more ranks are waste where neither a deadline nor a budget is given.
WORTH = 0.8


@dataclass(frozen=True)
class Training:
    """The training that is predicted.

    Parameters
    ----------
    batch : int
        Jets of a step over all ranks.
    jets, validation, epochs, steps : int
        Jets of its splits; epochs at most; steps of an epoch.
    threads, per_node : int
        CPU cores of a rank; ranks of a full node.
    start, validating : float
        Seconds before the first step; seconds to validate one jet.
    """

    batch: int
    jets: int
    validation: int
    epochs: int
    steps: int
    threads: int
    per_node: int
    start: float
    validating: float

    def point(self, ranks: int) -> Point:
        """Return where the model is asked for this many ranks."""
        return Point(ranks, min(ranks, self.per_node), self.batch / ranks)

    def hours(self, ranks: int, step: float) -> float:
        """Return the wall time of all epochs, in hours, when a step takes `step` seconds."""
        epoch = self.steps * step + self.validation * self.validating / ranks
        return (self.start + self.epochs * epoch) / 3600


class Prediction(NamedTuple):
    """A training on a number of ranks: seconds of a step, jets a second, efficiency, hours, core hours."""

    ranks: int
    step: Interval
    jets_per_second: Interval
    efficiency: float
    hours: Interval
    core_hours: float

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            name: value._asdict() if isinstance(value, Interval) else value for name, value in self._asdict().items()
        }


def predict(model: StepModel, training: Training, ranks: int) -> Prediction:
    """Return what the model says of `training` on `ranks` ranks, the batch over all of them kept."""
    one, step = model(training.point(1)), model(training.point(ranks))
    hours = Interval(*(training.hours(ranks, seconds) for seconds in step))
    speed = Interval(*(training.batch / max(seconds, 1e-9) for seconds in (step.value, step.high, step.low)))
    efficiency = one.value / ranks / max(step.value, 1e-9)
    return Prediction(ranks, step, speed, efficiency, hours, hours.value * ranks * training.threads)


class Advice(NamedTuple):
    """The number of ranks to take, None where no number will do, and why."""

    ranks: int | None
    why: str


def recommend(predictions: Sequence[Prediction], deadline: float | None, budget: float | None) -> Advice:
    """Return the ranks to take.

    Parameters
    ----------
    predictions : sequence of Prediction
        The choices, by rising ranks.
    deadline : float or None
        Hours; the upper end of the band has to keep it.
    budget : float or None
        Core hours.
    """
    choices = [p for p in predictions if budget is None or p.core_hours <= budget]
    if not choices:
        least = min(predictions, key=lambda p: p.core_hours)
        return Advice(None, f"the cheapest, {least.ranks} rank(s), takes {least.core_hours:.3g} core hours")
    fastest = min(choices, key=lambda p: p.hours.value)
    within = "" if budget is None else f" within {budget:g} core h"
    if deadline is not None:
        early = [p for p in choices if p.hours.high <= deadline]
        if not early:
            return Advice(
                None,
                f"the fastest{within}, {fastest.ranks} rank(s), takes {fastest.hours.value:.3g} hours "
                f"({fastest.hours.low:.3g} to {fastest.hours.high:.3g})",
            )
        least = min(early, key=lambda p: p.core_hours)
        return Advice(least.ranks, f"the cheapest that ends within {deadline:g} h{within}")
    if budget is not None:
        return Advice(fastest.ranks, f"the fastest{within}")
    worth = [p for p in choices if p.efficiency >= WORTH]
    best = max(worth, key=lambda p: p.ranks) if worth else fastest
    return Advice(best.ranks, f"the most with an efficiency of {WORTH:g} or more")
