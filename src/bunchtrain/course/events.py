"""Runs of a campaign as their events tell them: the lines that Snakemake's logger plugin of ours has written."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bunchtrain.errors import BunchtrainError, InputError, typed

#: Among a campaign's results.
FILE = "logs/course.jsonl"

#: Held by the driver that works on a campaign's results, whatever folder it runs in.
LOCK = "logs/driver.lock"


@dataclass
class Job:
    """One job of a run, with its last attempt's times and how often it failed.

    `submitted` is whether to Slurm; `resources` are its last attempt's `mem_mb` and `runtime`, in MB and minutes, where
    they are known.
    """

    number: int
    rule: str
    output: list[str]
    log: list[str]
    wildcards: dict[str, str] = field(default_factory=dict)
    started: float = 0.0
    ended: float | None = None
    failures: int = 0
    failed: bool = False
    message: str = ""
    submitted: bool = False
    resources: dict[str, int] = field(default_factory=dict)

    @property
    def seconds(self) -> float | None:
        """How long its last attempt took, if it ended well; waiting in a queue counts."""
        return None if self.ended is None else self.ended - self.started

    @property
    def running(self) -> bool:
        """Whether it was started, or submitted, and has not ended."""
        return self.ended is None and not self.failed


@dataclass
class Run:
    """One run of Snakemake: what it planned, and its jobs.

    `arguments` is what was asked of it, None if that is not known; `over` whether it has ended by itself, well or not,
    None where the events are those of a version that did not say so.
    """

    started: float
    host: str
    arguments: list[str] | None = None
    planned: dict[str, int] = field(default_factory=dict)
    jobs: dict[int, Job] = field(default_factory=dict)
    last: float = 0.0
    over: bool | None = None

    def apply(self, entry: dict[str, Any]) -> None:
        """Take in a line."""
        event, number, self.last = entry["event"], entry.get("job", -1), entry["time"]
        if event == "plan":
            self.planned = {rule: count for rule, count in entry["jobs"].items() if rule not in ("total", "all")}
        elif event == "start":
            before = self.jobs.get(number)
            told = (entry["rule"], entry["output"], entry["log"], entry["wildcards"], entry["time"])
            tries, granted = before.failures if before else 0, entry.get("resources", {})
            self.jobs[number] = Job(number, *told, failures=tries, resources=granted)
        elif event == "end" and number in self.jobs:
            self.jobs[number].ended, self.jobs[number].failed = entry["time"], False
        elif event == "submitted" and number in self.jobs:
            self.jobs[number].submitted = True
        elif event == "over":
            self.over = True
        elif event == "error" and number in self.jobs:
            job = self.jobs[number]
            job.failures, job.failed, job.message = job.failures + 1, True, entry["message"]
            job.log = list(dict.fromkeys([*job.log, *entry["log"]]))

    def of(self, rule: str) -> list[Job]:
        """Return the jobs of a rule that were started."""
        return [job for job in self.jobs.values() if job.rule == rule]

    @property
    def rules(self) -> list[str]:
        """Rules in the order of their first jobs, then those to come."""
        return list(dict.fromkeys([*(job.rule for job in self.jobs.values() if job.rule != "all"), *self.planned]))

    @property
    def at_once(self) -> int:
        """How many jobs ran at the same time at most."""
        changes = Counter[float]()
        for job in self.jobs.values():
            changes[job.started] += 1
            changes[job.ended if job.ended is not None else self.last] -= 1
        running, most = 0, 0
        for time in sorted(changes):
            running += changes[time]
            most = max(most, running)
        return max(most, 1)


class Reader:
    """Reads the runs of a campaign, and each time only what was added since.

    Parameters
    ----------
    path : path
        The file of events.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._seen = path, (0, 0)
        self._runs: list[Run] = []
        self._taken = self._lines = 0

    def runs(self) -> list[Run]:
        """Return the runs, the oldest first.

        Half lines are left out: they are being written, or were when a run was killed.

        Raises
        ------
        InputError
            If the file holds something else.
        """
        with self._path.open("rb") as stream:
            about = os.fstat(stream.fileno())
            if (about.st_dev, about.st_ino) != self._seen or about.st_size < self._taken:  # another file
                self._seen, self._runs, self._taken, self._lines = (about.st_dev, about.st_ino), [], 0, 0
            stream.seek(self._taken)
            whole, newline, _ = stream.read().rpartition(b"\n")
        for line in whole.splitlines():
            self._lines += 1
            self._take(line)
        self._taken += len(whole + newline)
        return self._runs

    def _take(self, line: bytes) -> None:
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            return
        try:
            if (wrong := _wrong(entry)) is not None:
                raise TypeError(f"{wrong} is not what it should be")
            if entry["event"] == "run":
                asked, time = entry.get("arguments"), entry["time"]
                over = None if asked is None else False  # both were written first by the same version
                self._runs.append(Run(time, entry["host"], asked, last=time, over=over))
            elif self._runs:
                self._runs[-1].apply(entry)
        except (KeyError, TypeError, AttributeError, OverflowError) as error:
            self._seen = (0, 0)  # the next time it is read from its beginning
            mend = "remove the file: only what is known of past runs is lost with it"
            problem = f"line {self._lines} is no event of a run"
            raise InputError(problem, file=self._path, found=repr(error), mend=mend) from None


#: Seconds since 1970 that are a time of day, to the year 5138.
_TIMES = 1e11

#: What an event may say, and of which kind.
_KINDS: dict[str, type] = {"host": str, "rule": str, "message": str, "wildcards": dict, "jobs": dict, "resources": dict}


def _wrong(entry: dict[str, Any]) -> str | None:
    """Return the first key of an event whose value is of another kind."""
    time = entry["time"]
    if isinstance(time, bool) or not isinstance(time, int | float) or not 0 <= time < _TIMES:
        return "time"
    for key, kind in _KINDS.items():
        if key in entry and not isinstance(entry[key], kind):
            return key
    for key in ("output", "log", "arguments"):
        if not all(isinstance(name, str) and name.isprintable() for name in entry.get(key, [])):
            return key
    for key in ("jobs", "resources"):
        if any(not isinstance(count, int) or count < 0 for count in entry.get(key, {}).values()):
            return key
    return None


def read(results: Path, campaign: Path) -> list[Run]:
    """Return the runs of a campaign, the oldest first; see `Reader`.

    Raises
    ------
    InputError
        If there was none yet, or the file holds something else.
    """
    path = results / FILE
    if not path.exists():
        raise InputError("the campaign has not been run here", file=path, mend=command(campaign))
    return Reader(path).runs()


def command(campaign: Path, runs: Sequence[Run] = ()) -> str:
    """Return the command that runs a campaign, as its last run was asked for; else on a few cores of this machine."""
    known = [run.arguments for run in runs if run.arguments is not None]
    if known:
        return typed("bunchtrain", "campaign", "run", campaign, *known[-1])
    if any("SLURM" in job.message for run in runs for job in run.jobs.values()):  # told by an earlier version
        return typed("bunchtrain", "campaign", "run", campaign, "--profile", "slurm/SITE")
    return typed("bunchtrain", "campaign", "run", campaign, "--cores", 2)


#: Options that say where jobs run, each with a value; and how they begin where the value is in the same word.
_WHERE = ("--profile", "--workflow-profile", "--executor", "-e", "--cores", "-c", "--jobs", "-j")
_JOINED = tuple(f"{option}=" if option.startswith("--") else option for option in _WHERE)


def again(results: Path, campaign: Path, *more: str) -> str:
    """Return the command that runs a campaign to its end where its last run ran; `more` is added to it."""
    try:
        known = [run.arguments for run in read(results, campaign) if run.arguments is not None]
    except (BunchtrainError, OSError):
        known = []
    words = known[-1] if known else []
    options = words[: words.index("--")] if "--" in words else words
    kept: list[str] = []
    for option, value in zip(options, [*options[1:], ""], strict=False):
        if option in _WHERE:
            kept += [option, value]
        elif option.startswith(_JOINED):
            kept.append(option)
    return typed("bunchtrain", "campaign", "run", campaign, *(kept or ["--cores", "2"]), *more)
