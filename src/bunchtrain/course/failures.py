"""Why jobs of a campaign's last run failed: grouped by cause, with the ends of their logs and what to do."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from bunchtrain.course.events import Job, command
from bunchtrain.course.status import driven, known, worked
from bunchtrain.errors import last_told

#: Lines of a log that are shown, and jobs that are named, for each cause.
LINES, NAMED = 8, 5

_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

#: What Slurm calls an end, and what it means.
_ENDS = {
    "OUT_OF_MEMORY": "out of memory",
    "TIMEOUT": "over its time limit",
    "NODE_FAIL": "its node failed",
    "CANCELLED": "cancelled, or preempted",
    "PREEMPTED": "cancelled, or preempted",
}


class Failure(NamedTuple):
    """Jobs that failed for one cause; `lines` is the end of the first one's log."""

    cause: str
    jobs: list[Job]
    lines: list[str]


def failures(jobs: Iterable[Job], folder: Path = Path(), why: Callable[[Job], str] | None = None) -> list[Failure]:
    """Return the jobs that have failed and were not mended by another attempt, the most common cause first.

    `why` says the cause of a job in place of its log.
    """
    grouped: dict[tuple[str, str], list[Job]] = defaultdict(list)
    for job in jobs:
        if job.failed:
            grouped[job.rule, why(job) if why else cause(job, folder)].append(job)
    found = [Failure(why, group, tail(group[0], folder)) for (_, why), group in grouped.items()]
    return sorted(found, key=lambda failure: -len(failure.jobs))


def cause(job: Job, folder: Path = Path()) -> str:
    """Return why a job failed: what Slurm says of its end, else the last error in its log."""
    for name, meaning in _ENDS.items():
        if name in job.message:
            return meaning
    lines = log_lines(job, folder)
    if told := last_told(lines):
        return told[0].removeprefix("error: ")
    for line in reversed(lines):
        if re.match(r"[\w.]*(Error|Exception|Killed)\b", line):
            return line[:120]
    return "it says nothing in its log"


def tail(job: Job, folder: Path = Path()) -> list[str]:
    """Return the last error in a job's log with its details, else the log's last lines."""
    lines = log_lines(job, folder)
    return (last_told(lines) or lines)[-LINES:]


def show(results: Path, campaign: Path) -> int:
    """Print the failures of a campaign's last run; return 1 if there are any.

    Raises
    ------
    InputError
        If no run of the campaign is known.
    """
    console = Console(soft_wrap=True, highlight=False, markup=False)
    runs = worked(known(results, campaign), alive=driven(results))
    found = failures(runs[-1].jobs.values())
    if not found:
        console.print("no job of the last run has failed, or another attempt went well")
        return 0
    for failure in found:
        _print(console, failure)
    console.print(f"what failed and what waits for it is run by: {command(campaign, runs[-1:])}")
    return 1


#: What a job that came to an end of Slurm's had too little of: the key of its resources, its name and unit.
_SHORT = {_ENDS["OUT_OF_MEMORY"]: ("mem_mb", "memory", "MB"), _ENDS["TIMEOUT"]: ("runtime", "time", "min")}


def granted(failure: Failure) -> str | None:
    """Return how much jobs had of what they had too little of, and how to give more; None for other causes."""
    if failure.cause not in _SHORT:
        return None
    key, name, unit = _SHORT[failure.cause]
    had = [job.resources[key] for job in failure.jobs if key in job.resources]
    told = f"the last attempt had {max(had)} {unit} of {name}" if had else f"each attempt has twice the {name}"
    more = 2 * max(had) if had else "..."
    return f"{told}; more is given in the profile: set-resources: {{{failure.jobs[0].rule}: {{{key}: {more}}}}}"


def _print(console: Console, failure: Failure) -> None:
    jobs = failure.jobs
    count = f"{len(jobs)} jobs" if len(jobs) > 1 else "1 job"
    console.print(f"{jobs[0].rule}: {count}: {failure.cause}", style="bold")
    for job in jobs[:NAMED]:
        tries = f" after {job.failures} tries" if job.failures > 1 else ""
        console.print(f"  {named(job)}{tries}: {', '.join(job.log) or 'no log'}")
    if len(jobs) > NAMED:
        console.print(f"  and {len(jobs) - NAMED} more")
    for line in failure.lines:
        console.print(f"    | {line}")
    if (more := granted(failure)) is not None:
        console.print(f"  {more}")


def named(job: Job) -> str:
    """Return a job as one calls it: its wildcards, or its first output."""
    return ", ".join(f"{key}={value}" for key, value in job.wildcards.items()) or (job.output or [job.rule])[0]


def plain(line: str) -> str:
    """Return a line without colours, and without what else would steer a terminal."""
    shown = _COLOURS.sub("", line)
    return "".join(one if one.isprintable() or one == "\t" else "\N{REPLACEMENT CHARACTER}" for one in shown)


def log_lines(job: Job, folder: Path) -> list[str]:
    """Return the lines of a job's own log, the first of its logs that has any."""
    for name in job.log:
        path = folder / name
        if path.is_file():
            with path.open("rb") as stream:
                stream.seek(max(0, path.stat().st_size - 20_000))
                lines = stream.read().decode(errors="replace").splitlines()
            if lines:
                return [plain(line.rstrip()) for line in lines if line.strip()]
    return []
