"""What a search leaves: the evaluations that ended, as a table; of a scan also which of them is the best."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bunchtrain.config.objectives import LARGER
from bunchtrain.config.scan import Scan, Trials
from bunchtrain.errors import TrainingError
from bunchtrain.scan import evaluation, process
from bunchtrain.scan.journal import Journal, Trial
from bunchtrain.scan.objective import result, told


def ended(settings: Trials, journal: Journal, out: Path) -> list[Trial]:
    """Return the evaluations with a result, in their order.

    Raises
    ------
    TrainingError
        If there are some, and all failed.
    """
    trials = [trial for _, trial in sorted(journal.trials.items()) if trial.done and trial.number < settings.trials]
    if trials and all(trial.failed for trial in trials):
        reasons = ", ".join(sorted({str(trial.result) for trial in trials}))
        log = out / "trials" / "0000" / evaluation.LOG
        said = process.last_error(log) or trials[0].facts.get("error")
        raise TrainingError(
            "no evaluation ended well",
            file=log,
            found=f"{reasons}: {said}" if said else reasons,
            mend="mend what the log says of the first one, and run it again",
        )
    return trials


def status(trial: Trial) -> str:
    """Return how an evaluation ended: ok, stopped before its last epoch, or the reason of a failure."""
    if trial.failed:
        return str(trial.result)
    return "ok" if trial.facts.get("stopped_at") is None else "stopped"


def finished(trials: Iterable[Trial]) -> list[Trial]:
    """Return the evaluations that neither failed nor were stopped."""
    return [trial for trial in trials if status(trial) == "ok"]


def table(settings: Trials, trials: Sequence[Trial], facts: Sequence[str]) -> str:
    """Return the evaluations as CSV: number, status, some of the facts, times, and the values."""
    names = list(settings.space)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["trial", "status", *facts, "started", "seconds", *names])
    for trial in trials:
        known = {"objective": "" if trial.failed else trial.result, "slot": trial.slot, **trial.facts}
        cells = [known.get(name) for name in facts]
        times = [f"{trial.started:.3f}", f"{trial.seconds:.3f}"]
        plain = ["" if cell is None else cell for cell in cells]
        writer.writerow([trial.number, status(trial), *plain, *times, *(trial.values.get(name, "") for name in names)])
    return stream.getvalue()


def best(settings: Scan, trials: Sequence[Trial]) -> Trial | None:
    """Return the evaluation with the best first objective among the finished that keep to all limits.

    Of equal ones it is that which is better in the next objective, and then the first. None where there were no
    evaluations.

    Raises
    ------
    TrainingError
        If none keeps to the limits, or none was finished.
    """
    if not trials:
        return None
    done = finished(trials)
    within = [trial for trial in done if all(_excess(settings, trial, name) <= 0 for name in settings.limits)]
    if not done:
        problem = "no evaluation reached its last epoch and ended well"
        mend = "raise scan.trials, or set scan.halving to null"
        raise TrainingError(problem, key="scan.halving", found=", ".join(map(status, trials)), mend=mend)
    if not within:
        raise _none_within(settings, done)
    return max(within, key=lambda trial: _as_list(result(settings.objectives, trial.facts)))


def _none_within(settings: Scan, done: Sequence[Trial]) -> TrainingError:
    """Return what to say when no evaluation keeps to the limits: the one that comes nearest, and what it misses."""
    near = min(done, key=lambda trial: sum(max(0.0, _excess(settings, trial, name)) for name in settings.limits))
    missed = [name for name in settings.limits if _excess(settings, near, name) > 0]
    limits = (f"{name} at {'least' if name in LARGER else 'most'} {settings.limits[name]:g}" for name in missed)
    figures = ", ".join(told(name, near.facts[name]) for name in settings.objectives)
    return TrainingError(
        "no evaluation of the scan keeps to its limits",
        key=f"scan.limits.{missed[0]}",
        found=f"{figures} in evaluation {near.number + 1}, which comes nearest",
        expected=", ".join(limits),
        mend="raise scan.trials, loosen scan.limits, or widen scan.space",
    )


def _excess(settings: Scan, trial: Trial, name: Any) -> float:
    """Return by what share of a limit a figure lies on its wrong side; below zero on the right one."""
    limit, figure = settings.limits[name], float(trial.facts[name])
    return (limit - figure if name in LARGER else figure - limit) / limit


def _as_list(found: float | list[float]) -> list[float]:
    return found if isinstance(found, list) else [found]
