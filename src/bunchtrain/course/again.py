"""Which files a rerun is to make anew: those of a stage, or of some of its jobs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from bunchtrain.course.events import Job, Run, read
from bunchtrain.errors import InputError


def outputs(
    results: Path, campaign: Path, stage: str, where: Sequence[str], has: Callable[[Job], bool] = lambda job: True
) -> list[str]:
    """Return the first output of each job of a stage that all of `where` hold for, as the runs so far have named them.

    Parameters
    ----------
    results, campaign : path
        The campaign's results and file.
    stage : str
        Name of a rule.
    where : sequence of str
        `wildcard=value`, e.g. `sample=top`.
    has : callable, optional
        Whether the campaign still has such a job.

    Raises
    ------
    InputError
        If no such stage or job has been run.
    """
    jobs = [job for job in _jobs(read(results, campaign)) if has(job)]
    stages = {job.rule for job in jobs}
    if stage not in stages:
        raise InputError(
            "no job of this stage that the campaign has now was run", key="--stage", found=stage, choices=stages
        )
    wanted = [_parted(one) for one in where]
    mine = [job for job in jobs if job.rule == stage]
    for name, value in wanted:
        values = {job.wildcards[name] for job in mine if name in job.wildcards}
        if value not in values:
            names = {key for job in mine for key in job.wildcards}
            choices = [f"{name}={one}" for one in values] or [f"{key}=..." for key in names]
            raise InputError(f"no job of {stage} is like this", key="--where", found=f"{name}={value}", choices=choices)
    chosen = [job for job in mine if all(job.wildcards.get(name) == value for name, value in wanted)]
    if not chosen:
        raise InputError(f"no job of {stage} is like this", key="--where", found=", ".join(where))
    return [job.output[0] for job in chosen]


def _jobs(runs: Sequence[Run]) -> list[Job]:
    """Return the last job that made each file."""
    return list({job.output[0]: job for run in runs for job in run.jobs.values() if job.output}.values())


def _parted(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise InputError("a condition is a name, =, and a value", key="--where", found=text, expected="sample=top")
    return name, value
