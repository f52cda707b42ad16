"""What a campaign's last run has done and has to do, as a table."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table

from bunchtrain.course.events import FILE, LOCK, Run, command, read
from bunchtrain.errors import InputError, plain
from bunchtrain.files import held


class Stage(NamedTuple):
    """The jobs of one rule in a run; `seconds` is the median of those that ended well, `None` where none has."""

    rule: str
    planned: int
    done: int
    running: int
    failed: int
    seconds: float | None

    @property
    def pending(self) -> int:
        """How many were not started yet."""
        return max(0, self.planned - self.done - self.running - self.failed)


def worked(runs: Sequence[Run], *, alive: bool) -> list[Run]:
    """Return the runs that had something to do, and the one that goes on; all if there is none of these."""
    kept = [run for run in runs if run.planned or run.jobs or (alive and run is runs[-1])]
    return kept or list(runs)


def stages(runs: Sequence[Run], *, alive: bool = True) -> list[Stage]:
    """Return the stages of the last run, with the times of earlier ones where it has none yet.

    What ran when its driver was killed is to come.
    """
    last = runs[-1]
    found = []
    for rule in last.rules:
        jobs = last.of(rule)
        times = [[job.seconds for job in run.of(rule) if job.seconds is not None] for run in reversed(runs)]
        known = next((statistics.median(one) for one in times if one), None)
        done, failed = sum(job.ended is not None for job in jobs), sum(job.failed for job in jobs)
        running = sum(job.running for job in jobs) if alive else 0
        planned = max(last.planned.get(rule, 0), len(jobs))
        found.append(Stage(rule, planned, done, running, failed, known))
    return found


def left(run: Run, found: Sequence[Stage], now: float) -> float | None:
    """Return how many seconds the rest takes if as many jobs run at once as did; None where a stage's time is unknown.

    Stages that wait for one another may take longer.
    """
    if any(stage.seconds is None and (stage.pending or stage.running) for stage in found):
        return None
    known = {stage.rule: stage.seconds or 0.0 for stage in found}
    work = sum((stage.seconds or 0.0) * stage.pending for stage in found)
    rest = [max(0.0, known[job.rule] - (now - job.started)) for job in run.jobs.values() if job.running]
    return max([(work + sum(rest)) / run.at_once, *rest])


def show(results: Path, campaign: Path, *, follow: bool = False) -> int:
    """Print the table, or with `follow` print it anew every second until the run ends; return 1 if jobs have failed.

    Into a file or a pipe `follow` prints a line for each change, and the table at the end.

    Raises
    ------
    InputError
        If the campaign has not been run.
    """
    console = Console(markup=False)
    alive, runs = driven(results), known(results, campaign)
    if follow and alive and not console.is_terminal:
        alive, runs = False, _follow(results, campaign)
    if follow and alive:
        with Live(_page(runs, alive), console=console, auto_refresh=False) as live:
            while alive:
                time.sleep(1)
                alive, runs = driven(results), known(results, campaign)
                live.update(_page(runs, alive), refresh=True)
    else:
        console.print(_page(runs, alive))
    return int(any(job.failed for job in worked(runs, alive=alive)[-1].jobs.values()))


def _follow(results: Path, campaign: Path) -> list[Run]:
    """Print a line for each change until the run ends, as a file or a pipe takes them; return the runs."""
    told, alive = "", True
    while alive:
        alive, runs = driven(results), known(results, campaign)
        counts = _counts(stages(worked(runs, alive=alive), alive=alive))
        if counts != told and alive:
            print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {counts}", flush=True)
            told = counts
        if alive:
            time.sleep(1)
    return runs


def _counts(found: Sequence[Stage]) -> str:
    """Return what stages have done, in a line."""
    parts = []
    for stage in found:
        more = [(stage.running, "running"), (stage.failed, "failed")]
        told = ", ".join(f"{count} {name}" for count, name in more if count)
        parts.append(f"{stage.rule} {stage.done}/{stage.planned}" + (f" ({told})" if told else ""))
    return plain("; ".join(parts) or "no job is known yet")


def known(results: Path, campaign: Path) -> list[Run]:
    """Return the runs of a campaign, at least one.

    Raises
    ------
    InputError
        If none is known.
    """
    runs = read(results, campaign)
    if not runs and driven(results):
        raise InputError("the campaign's run has only begun", file=results, mend="ask again in a moment")
    if not runs:
        raise InputError("no run of the campaign is known", file=results / FILE, mend=command(campaign))
    return runs


def driven(results: Path) -> bool:
    """Return whether a driver, in whatever folder, is at work on these results."""
    return held(results / LOCK)


def _page(runs: Sequence[Run], alive: bool) -> RenderableType:
    last, runs = runs[-1], worked(runs, alive=alive)
    run, found, now = runs[-1], stages(runs, alive=alive), time.time()
    table = Table("stage", *_COLUMNS)
    for column in table.columns[1:]:
        column.justify = "right"
    for stage in found:
        counts = (stage.planned, stage.done, stage.running, stage.failed, stage.pending)
        table.add_row(stage.rule, *(str(count or "") for count in counts), _span(stage.seconds))
    done, all_jobs = sum(stage.done for stage in found), sum(stage.planned for stage in found)
    begun = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(run.started))
    told = f"run of {begun} on {run.host}: {done} of {all_jobs} jobs done"
    if alive:
        rest = left(run, found, now)
        told += f", after {_span(now - run.started)}; "
        told += "how long it takes is not known yet" if rest is None else f"about {_span(rest)} left"
    elif done < all_jobs:
        told += _ended(run, found, after=last is not run and last.over is True)
    else:
        told += f" in {_span(run.last - run.started)}"
    return Group(told, table)


def _ended(run: Run, found: Sequence[Stage], *, after: bool) -> str:
    """Return how a run ended that has not done all of its jobs; `after` is whether another has ended after it."""
    failed = sum(stage.failed for stage in found)
    if run.over or (run.over is None and failed):
        what = f"with {failed} failed: see bunchtrain campaign failures" if failed else "before the rest was done"
        return f"; it ended after {_span(run.last - run.started)}, {what}"
    told = "; its driver was killed" if run.over is False else "; no driver runs"
    if after:  # it has waited for all of the killed one's jobs
        return f"{told}; a later run ended without a job"
    if any(job.submitted and job.running for job in run.jobs.values()):
        told += ": what it has submitted to Slurm may still run, and the next run waits for that"
    return told


#: After the name of the stage.
_COLUMNS = ("jobs", "done", "running", "failed", "to come", "a job takes")


def _span(seconds: float | None) -> str:
    """Return a time as one says it."""
    if seconds is None:
        return ""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
