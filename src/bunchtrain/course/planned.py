"""The jobs that a campaign has still to run, as Snakemake plans them, and how long they take one beside the other."""

from __future__ import annotations

import heapq
import json
import subprocess
import tempfile
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bunchtrain.errors import BunchtrainError, last_told


@dataclass(frozen=True)
class Planned:
    """A job to come; `input`, `output` and `benchmark` are files."""

    rule: str
    wildcards: dict[str, str] = field(default_factory=dict)
    input: tuple[str, ...] = ()
    output: tuple[str, ...] = ()
    benchmark: str | None = None
    threads: int = 1


#: Cores that leave every job the threads that it asks for.
MANY = 1_000_000


def planned(command: Sequence[str]) -> list[Planned]:
    """Return what a dry run would do, the target left out.

    Parameters
    ----------
    command : sequence of str
        Snakemake with its workflow and campaign.

    Raises
    ------
    BunchtrainError
        If Snakemake cannot plan.
    """
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "planned.jsonl"
        words = ["--dry-run", "--nolock", "--cores", str(MANY), "--logger", "bunchtrain"]
        words += ["--logger-bunchtrain-file", str(told), "--logger-bunchtrain-planned"]
        done = subprocess.run([*command, *words], capture_output=True, text=True, check=False)
        if done.returncode:
            lines = (done.stdout + done.stderr).splitlines()
            found = "\n".join(last_told(lines) or [line for line in lines if line.strip()][-3:])
            mend = "the command with `campaign run` and -n says all"
            raise BunchtrainError("Snakemake cannot plan the campaign", found=found, mend=mend)
        lines = told.read_text(encoding="utf-8").splitlines() if told.exists() else []
    entries = [json.loads(line) for line in lines]
    jobs = {entry["job"]: entry for entry in entries if entry["event"] == "planned" and entry["rule"] != "all"}
    return [
        Planned(
            job["rule"],
            job["wildcards"],
            tuple(job["input"]),
            tuple(job["output"]),
            job["benchmark"],
            job["threads"],
        )
        for job in jobs.values()
    ]


def span(jobs: Sequence[Planned], seconds: Sequence[float], cores: int | None, at_once: int | None) -> float:
    """Return how long jobs take in all, each as soon as its inputs are there and there is room.

    Parameters
    ----------
    jobs : sequence of Planned
        What is done.
    seconds : sequence of float
        How long each takes.
    cores : int or None
        How many cores they share; None where that is no limit.
    at_once : int or None
        How many jobs run at the same time at most.
    """
    room = cores if at_once is None else at_once
    sizes = [min(job.threads, room or 1) if at_once is None else 1 for job in jobs]
    makers = {file: number for number, job in enumerate(jobs) for file in job.output}
    before = [{makers[file] for file in job.input if file in makers} - {n} for n, job in enumerate(jobs)]
    after: dict[int, list[int]] = defaultdict(list)
    for number, others in enumerate(before):
        for other in others:
            after[other].append(number)
    waits, free, time = [len(others) for others in before], room or 1, 0.0
    ready: dict[int, deque[int]] = defaultdict(deque)
    for number, count in enumerate(waits):
        if not count:
            ready[sizes[number]].append(number)
    running: list[tuple[float, int]] = []
    while running or any(ready.values()):
        for size in sorted(ready, reverse=True):
            while ready[size] and size <= free:
                number = ready[size].popleft()
                free -= size
                heapq.heappush(running, (time + seconds[number], number))
        time, number = heapq.heappop(running)
        free += sizes[number]
        for one in after[number]:
            waits[one] -= 1
            if not waits[one]:
                ready[sizes[one]].append(one)
    return time
