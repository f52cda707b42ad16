"""A scan on the page, from its journal: how far it is, its evaluations, and the best of them so far."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bunchtrain.config.objectives import LARGER
from bunchtrain.config.scan import REASONS, Scan
from bunchtrain.files import held
from bunchtrain.scan import usage
from bunchtrain.scan.journal import Trial, read
from bunchtrain.scan.results import status
from bunchtrain.scan.search import readable
from bunchtrain.scan.status import JOURNAL

#: Evaluations that are drawn, and the latest ones that are listed.
POINTS, LISTED = 400, 10


def told(results: Path, settings: Scan, now: float, *, going: bool) -> dict[str, Any] | None:
    """Return the state of a campaign's scan; None where it has not begun.

    Parameters
    ----------
    results : path
        The campaign's results.
    settings : Scan
        The campaign's section.
    now : float
        Seconds since the epoch.
    going : bool
        Whether the run's events say that it goes on; its lock may lie on a node whose locks are not seen from here.
    """
    folder = results / "scan"
    if not (folder / JOURNAL).exists():
        return None
    history, _ = read(folder / JOURNAL)
    running = going or held(folder / ".lock")
    trials = [trial for _, trial in sorted(history.trials.items())]
    wanted = history.runs[-1]["trials"] if history.runs else len(trials)
    ended = [trial for trial in trials if trial.done and trial.number < wanted]
    name = settings.objectives[0]
    figures = [(trial, _figure(name, trial)) for trial in ended if not trial.failed]
    busy = usage.utilisation(history, now if running else max((s.end for s in usage.spans(history, 0)), default=0))
    computed = [trial.seconds for trial in ended if trial.slot is not None]
    slots = history.runs[-1]["slots"] if history.runs else None
    left = (wanted - len(ended)) * sum(computed) / len(computed) / slots if running and computed and slots else None
    return {
        "running": running,
        "wanted": wanted,
        "ended": len(ended),
        "objective": name.replace("_", " "),
        "larger": name in LARGER,
        "limits": [f"{one.replace('_', ' ')} {limit:g}" for one, limit in settings.limits.items()],
        "failed": [list(pair) for pair in Counter(_told(trial) for trial in ended if trial.failed).most_common()],
        "points": [[trial.number + 1, value, status(trial)] for trial, value in _thinned(figures)],
        **_best(figures, larger=name in LARGER),
        "going": [_row(trial, None) for trial in trials if not trial.done and trial.started and running][:LISTED],
        "latest": [_row(trial, name) for trial in [history.trials[number] for number in history.ends[-LISTED:]]][::-1],
        "slots": slots,
        "busy": busy,
        "left": left,
    }


def _figure(name: Any, trial: Trial) -> float:
    """Return what an evaluation is judged by, as it is called: a loss is a loss, whatever sign the search gives it."""
    known = trial.facts.get(name)
    if known is None:
        result: Any = trial.result[0] if isinstance(trial.result, list) else trial.result
        known = result if name in LARGER else -result
    return float(known)


def _best(figures: Sequence[tuple[Trial, float]], *, larger: bool) -> dict[str, Any]:
    """Return the steps of the best so far among those that were finished, and the best."""
    steps, best = list[list[float]](), None
    for trial, value in figures:
        better = best is None or (value > best[1] if larger else value < best[1])
        if better and status(trial) == "ok":
            best = (trial, value)
            steps.append([trial.number + 1, value])
    if best is None:
        return {"steps": [], "best": None}
    trial, value = best
    return {"steps": steps, "best": {"number": trial.number + 1, "value": value, "values": readable(trial.values)}}


def _told(trial: Trial) -> str:
    """Return how an evaluation ended, in words."""
    return REASONS.get(status(trial), status(trial))


def _row(trial: Trial, name: Any) -> dict[str, Any]:
    """Return an evaluation of a list; one that goes on has no figure."""
    ended = {"status": _told(trial), "seconds": trial.seconds} if trial.done else {"started": trial.started}
    value = None if not trial.done or trial.failed else _figure(name, trial)
    return {"number": trial.number + 1, "values": readable(trial.values), "value": value, **ended}


def _thinned(figures: list[tuple[Trial, float]]) -> list[tuple[Trial, float]]:
    """Return no more than `POINTS` evaluations: the lowest and the highest of each stretch."""
    if len(figures) <= POINTS:
        return figures
    stretch = -(-2 * len(figures) // POINTS)
    kept = []
    for start in range(0, len(figures), stretch):
        part = sorted(figures[start : start + stretch], key=lambda pair: pair[1])
        kept += sorted([part[0], part[-1]][: len(part)], key=lambda pair: pair[0].number)
    return kept
