"""How busy the slots of a search were."""

from __future__ import annotations

import math
from typing import NamedTuple

from bunchtrain.scan.journal import History


class Span(NamedTuple):
    """What a slot did, in seconds since the epoch."""

    slot: int
    begin: float
    end: float
    trial: int


def spans(history: History, now: float) -> list[Span]:
    """Return what the slots did; evaluations without a result are taken as running until `now`."""
    found = []
    for trial in history.trials.values():
        if trial.slot is not None:
            end = trial.started + trial.seconds if trial.done else now
            found.append(Span(trial.slot, trial.started, max(end, trial.started), trial.number))
    return sorted(found, key=lambda span: span.begin)


def windows(history: History, now: float) -> list[tuple[float, float, int]]:
    """Return begin, end and number of slots of every run; a killed one ends with the last that is known of it."""
    starts = [run["time"] for run in history.runs]
    known = spans(history, now)
    found = []
    for place, run in enumerate(history.runs):
        following = starts[place + 1] if place + 1 < len(starts) else math.inf
        ends = [min(span.end, following) for span in known if run["time"] <= span.begin < following]
        found.append((run["time"], max(ends, default=run["time"]), run["slots"]))
    return found


def utilisation(history: History, now: float) -> float | None:
    """Return the busy share of all slots from the start of every run to its end; None if nothing ran."""
    there = windows(history, now)
    offered = sum((end - begin) * slots for begin, end, slots in there)
    used = sum(span.end - span.begin for span in spans(history, now))
    return min(1.0, used / offered) if offered > 0 else None
