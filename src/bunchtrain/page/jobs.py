"""A campaign's course on the page: its stages and how they follow one another, its running jobs and its failures."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bunchtrain.course import failures
from bunchtrain.course.events import FILE, Job, Reader, Run
from bunchtrain.course.status import Stage, left, stages, worked

#: What a rule waits for, by the rules of the workflow.
AFTER = {
    "simulate": (),
    "convert": ("simulate",),
    "prepare": ("convert",),
    "index": ("convert",),
    "scan": ("prepare",),
    "baseline": ("prepare",),
    "train": ("scan",),
    "evaluate": ("train", "baseline", "index"),
    "vary": ("train", "index"),
    "systematics": ("evaluate", "vary"),
    "candidate": ("train",),
    "search": ("train",),
    "synthesize": ("train", "index"),
    "report": ("evaluate", "systematics", "synthesize", "candidate", "search"),
}

#: Causes of failures; running jobs of a rule, and in all; lines of a running job's log; characters of a line.
CAUSES, OF_RULE, RUNNING, LINES, WIDTH = 20, 5, 20, 3, 400


class Course:
    """The course of a campaign; of events and of the logs of failed jobs it reads only what is new.

    Parameters
    ----------
    results : path
        The campaign's results.
    folder : path
        In which it runs.
    """

    def __init__(self, results: Path, folder: Path = Path()) -> None:
        self._results, self._folder = results, folder
        self._reader = Reader(folder / results / FILE)
        self._known: dict[tuple[float, int, int], tuple[Job, str]] = {}

    def runs(self) -> list[Run]:
        """Return the campaign's runs; none if it has not been run.

        Raises
        ------
        InputError
            If its file of events is another's.
        """
        return self._reader.runs() if (self._folder / self._results / FILE).exists() else []

    def told(self, runs: Sequence[Run], now: float, *, alive: bool) -> dict[str, Any] | None:
        """Return the state of the last run; None if there was none."""
        if not runs:
            return None
        runs = worked(runs, alive=alive)
        run, found = runs[-1], stages(runs, alive=alive)
        done, planned = (sum(getattr(stage, name) for stage in found) for name in ("done", "planned"))
        failed = sum(stage.failed for stage in found)
        return {
            "state": _state(done, planned, failed, alive=alive),
            "begun": run.started,
            "host": run.host,
            "last": run.last,
            "done": done,
            "planned": planned,
            "failed": failed,
            "running": sum(stage.running for stage in found),
            "left": left(run, found, now) if alive else None,
            **_chain(runs, found, now, alive=alive),
            **self._failures(run),
            **(self._running(run) if alive else {"jobs": [], "more": 0}),
        }

    def _failures(self, run: Run) -> dict[str, Any]:
        known = [self._why(run, job) for job in run.jobs.values() if job.failed]
        causes = {job.number: cause for job, cause in known}
        found = failures.failures([job for job, _ in known], self._folder, lambda job: causes[job.number])
        rows = [
            {
                "rule": failure.jobs[0].rule,
                "cause": _plain(failure.cause),
                "count": len(failure.jobs),
                "jobs": [_job(job) | {"tries": job.failures} for job in failure.jobs[: failures.NAMED]],
                "lines": [_plain(line) for line in failure.lines],
            }
            for failure in found[:CAUSES]
        ]
        return {"failures": rows, "causes": len(found)}

    def _why(self, run: Run, job: Job) -> tuple[Job, str]:
        """Return a job with those of its logs that may be read, and why it failed."""
        key = (run.started, job.number, job.failures)
        if key not in self._known:
            safe = self._safe(job)
            self._known[key] = safe, failures.cause(safe, self._folder)
        return self._known[key]

    def _safe(self, job: Job) -> Job:
        """Return a job without logs that lie elsewhere: a page may be shown to others, and events can name any file."""
        places = [(self._folder / place).resolve() for place in (self._results, ".snakemake")]
        own = [log for log in job.log if any((self._folder / log).resolve().is_relative_to(one) for one in places)]
        return replace(job, log=own)

    def _running(self, run: Run) -> dict[str, Any]:
        """Return the jobs that run, those that began first, some of each rule."""
        going = sorted((job for job in run.jobs.values() if job.running), key=lambda job: job.started)
        of_rule: dict[str, int] = {}
        shown = list[dict[str, Any]]()
        for job in going:
            of_rule[job.rule] = of_rule.get(job.rule, 0) + 1
            if of_rule[job.rule] <= OF_RULE and len(shown) < RUNNING:
                lines = failures.log_lines(self._safe(job), self._folder)[-LINES:]
                shown.append(_job(job) | {"started": job.started, "lines": [_plain(line) for line in lines]})
        return {"jobs": shown, "more": len(going) - len(shown)}


def _state(done: int, planned: int, failed: int, *, alive: bool) -> str:
    """Return what becomes of a run: begins, runs, ended, failed, or gone: its driver was stopped or killed."""
    if alive and not planned:
        return "begins"
    if done >= planned:
        return "ended"
    return "runs" if alive else "failed" if failed else "gone"


def _chain(runs: Sequence[Run], found: Sequence[Stage], now: float, *, alive: bool) -> dict[str, Any]:
    """Return stages in their order, also those that only earlier runs had, and which follows which."""
    rows = {stage.rule: _stage(runs[-1], stage, now, alive=alive) for stage in found}
    for run in reversed(runs[:-1]):
        for rule in run.rules:
            ended = sum(job.ended is not None for job in run.of(rule)) if rule not in rows else 0
            if ended:
                rows[rule] = {"rule": rule, "planned": 0, "earlier": ended}
    order = [*AFTER, *(rule for rule in rows if rule not in AFTER)]
    names = [rule for rule in order if rule in rows]
    arrows = [[before, rule] for rule in names for before in _before(rule, rows)]
    return {"stages": [rows[rule] for rule in names], "arrows": arrows}


def _before(rule: str, there: Container[str]) -> list[str]:
    """Return the rules that one waits for, past those that are not there."""
    found: list[str] = []
    for before in AFTER.get(rule, ()):
        found += [before] if before in there else _before(before, there)
    # Not what another of them waits for already.
    return [one for one in dict.fromkeys(found) if not any(one in _all_before(other) for other in found)]


def _all_before(rule: str) -> set[str]:
    return {one for before in AFTER.get(rule, ()) for one in (before, *_all_before(before))}


def _stage(run: Run, stage: Stage, now: float, *, alive: bool) -> dict[str, Any]:
    """Return a stage with its rate, in jobs per second, and how long it will take at that rate."""
    ends = [job.ended for job in run.of(stage.rule) if job.ended is not None]
    begun = min((job.started for job in run.of(stage.rule)), default=now)
    passed = max(ends, default=begun) - begun
    rate = len(ends) / passed if passed > 0 and stage.planned > 1 else None
    rest = stage.running + stage.pending
    row = stage._asdict() | {"pending": stage.pending, "rate": rate}
    return row | {"left": rest / rate if alive and rate and rest else None}


def _job(job: Job) -> dict[str, Any]:
    return {"rule": job.rule, "name": _plain(failures.named(job)), "log": _plain(", ".join(job.log))}


def _plain(text: str) -> str:
    """Return a line of some log, or a name, plain and no longer than is of use."""
    return failures.plain(text)[:WIDTH]
