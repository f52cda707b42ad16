"""Campaigns of thousands of small files: what planning costs, and what one costs that runs through Slurm.

plan: `bunchtrain campaign run FILE -n` of so many files, grouped as usual and a job for each: with --quiet what passes
    before the first job starts, and with the list of all jobs.
cluster: a campaign of so many files through slurm/testcluster; jobs, the driver's memory, calls of Slurm, core-hours.
Each part can be run alone: `bench_production.py plan --files 1000`, `bench_production.py cluster --files 40`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import yaml

from bunchtrain.config.convert import Convert
from bunchtrain.config.inputs import Digests
from manyfiles import many_files
from marks import Mark, conclude, table
from minicampaign import ROOT, Campaign

#: Seconds that planning so many files may take, and bytes of memory.
BOUNDS, MEMORY = {10_000: 15, 50_000: 60}, 1e9

#: Files of one job when nothing is said, and of one that is worth a job of Slurm.
USUAL, TOGETHER = Convert().files_per_job, 50

#: Clients of Slurm that a driver calls.
CLIENTS = ("sbatch", "sacct", "squeue", "scancel", "sinfo", "scontrol", "sacctmgr", "srun")

#: It stands before a client on the path, and notes each call.
WRAPPER = '#!/bin/sh\necho {name} >> {calls}\nexec {client} "$@"\n'


class Cost(NamedTuple):
    """What a command took: seconds, CPU seconds, and bytes at most, of all its processes together."""

    wall: float
    cpu: float
    peak: float
    said: str


def lay_out(folder: Path, files: int, per_job: int, **sections: Any) -> Campaign:
    """Make a campaign of two classes of so many files in all; files that are there already stay."""
    values = yaml.safe_load((ROOT / "tests/workflow/mini.yaml").read_text())
    for label, name in enumerate(values["samples"]):
        if not (folder / "data" / name).exists():
            many_files(folder / "data" / name, label, files // 2)
        values["samples"][name] = {"label": name, "files": [f"data/{name}"]}
    campaign = Campaign(folder)
    campaign.write({**values, "convert": {"files_per_job": per_job}, **sections})
    campaign.environment["PYTHONPATH"] = str(ROOT / "src")
    return campaign


def watched(command: list[str], campaign: Campaign) -> Cost:
    """Run a command and look at the memory of its processes ten times a second; pages they share count for each."""
    begin, used, peak = time.monotonic(), resources(), 0
    with (campaign.folder / "said.txt").open("w+") as said:
        process = psutil.Popen(
            command, cwd=campaign.folder, env=campaign.environment, stdout=said, stderr=subprocess.STDOUT
        )
        while process.poll() is None:
            peak = max(peak, _memory(process))
            time.sleep(0.1)
        said.seek(0)
        text = said.read()
    if process.returncode:
        sys.exit(f"{shlex.join(command)} failed:\n{text[-3000:]}")
    return Cost(time.monotonic() - begin, resources() - used, peak, text)


def resources() -> float:
    """Return the CPU seconds of all processes that this one has waited for."""
    times = os.times()
    return times.children_user + times.children_system


def _memory(process: psutil.Process) -> int:
    total = 0
    try:
        for one in (process, *process.children(recursive=True)):
            total += one.memory_info().rss
    except psutil.NoSuchProcess:  # it has just ended
        pass
    return total


def planning(campaign: Campaign, *words: str) -> Cost:
    """Plan a campaign."""
    command = [sys.executable, "-m", "bunchtrain", "campaign", "run", "campaign.yaml", "--cores", "2", "-n"]
    return watched([*command, *words], campaign)


def plan(folder: Path, counts: list[int]) -> list[Mark]:
    """Plan campaigns of so many files, for the first time and again, grouped and not."""
    rows, marks = [], []
    for files in counts:
        place = folder / str(files)
        digests = hashing(lay_out(place, files, USUAL), folder)
        for per_job in (USUAL, 1):
            campaign = lay_out(place, files, per_job)
            shutil.rmtree(place / "results", ignore_errors=True)
            first, again, listed = (planning(campaign, *words) for words in (["--quiet"], ["--quiet"], []))
            jobs = sum(planned(listed.said).values())
            for when, cost in (("first", first), ("again", again), ("listed", listed)):
                told = [f"{cost.wall:.1f} s", f"{cost.cpu:.1f} s", f"{cost.peak / 1e6:.0f} MB"]
                rows.append([files, per_job, jobs, when, *told, f"{digests:.1f} s" if cost is first else ""])
                name = f"{files}_files_{'grouped' if per_job > 1 else 'a_job_each'}_{when}"
                if files in BOUNDS and cost is not listed:
                    marks.append(Mark(f"cpu_s_{name}", cost.cpu, BOUNDS[files], at_least=False))
                    marks.append(Mark(f"gb_{name}", cost.peak / 1e9, MEMORY / 1e9, at_least=False))
    table(["files", "in one job", "jobs", "plan", "wall", "CPU", "memory", "of it digests"], rows)
    return marks


def planned(said: str) -> dict[str, int]:
    """Return the jobs of each rule in a dry run's table, the target left out."""
    rows = re.findall(r"^(\w+) +(\d+)$", said, re.M)
    return {name: int(count) for name, count in rows if name not in ("all", "total")}


def hashing(campaign: Campaign, folder: Path) -> float:
    """Return the CPU seconds of taking the digests of a campaign's files, in groups as the plan does."""
    files = sorted(str(path) for path in campaign.folder.glob("data/*/*.root"))
    digests, begin = Digests(folder / "digests.jsonl"), time.process_time()
    for start in range(0, len(files), USUAL):
        digests.of(files[start : start + USUAL])
    return time.process_time() - begin


@contextlib.contextmanager
def slurm(box: Path) -> Iterator[tuple[dict[str, str], Path]]:
    """Boot a Slurm of four nodes; yield its environment, and the file that notes calls of its clients."""
    place = [str(ROOT / "slurm/testcluster")]
    subprocess.run([*place, "up", "--nodes", "4", "--cores", "4", "--box", str(box)], check=True)
    try:
        told = subprocess.run([*place, "env", "--box", str(box)], check=True, capture_output=True, text=True).stdout
        pairs = [shlex.split(line)[1].partition("=") for line in told.splitlines()]
        environment = {name: os.path.expandvars(value) for name, _, value in pairs}
        yield {**environment, "PATH": f"{_counting(box, environment['PATH'])}:{environment['PATH']}"}, box / "calls"
    finally:
        subprocess.run([*place, "down", "--box", str(box)], check=True)


def _counting(box: Path, path: str) -> Path:
    """Put before each client what notes its calls; return the folder."""
    tools = box / "counting"
    tools.mkdir()
    for name in CLIENTS:
        text = WRAPPER.format(name=name, calls=shlex.quote(str(box / "calls")), client=shutil.which(name, path=path))
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    return tools


def cluster(folder: Path, files: int) -> list[Mark]:
    """Run a campaign of so many files through Slurm to its end."""
    campaign = lay_out(folder / "campaign", files, 1)
    alone = sum(planned(planning(campaign).said).values())
    lay_out(folder / "campaign", files, TOGETHER)
    jobs = sum(planned(planning(campaign).said).values())
    with slurm(folder / "box") as (environment, calls):
        campaign.environment |= environment
        words = ["campaign", "run", "campaign.yaml", "--profile", str(ROOT / "slurm/test")]
        cost = watched([sys.executable, "-m", "bunchtrain", *words], campaign)
        counts = Counter(calls.read_text().split())
        asked = ["sacct", "-X", "-n", "-P", "-S", "now-2days", "-o", "state,cputimeraw"]
        listed = subprocess.run(asked, env=campaign.environment, check=True, capture_output=True, text=True).stdout
    rows = [line.split("|") for line in listed.splitlines()]
    well = sum(state == "COMPLETED" for state, _ in rows)
    hours = sum(int(seconds) for _, seconds in rows) / 3600
    table(
        ["files", "jobs, a file each", f"jobs, {TOGETHER} files each", "jobs in Slurm", "wall", "driver", "core-hours"],
        [[files, alone, jobs, len(rows), f"{cost.wall:.0f} s", f"{cost.peak / 1e6:.0f} MB", f"{hours:.2f}"]],
    )
    table(["client", "calls", "per job"], [[name, n, f"{n / len(rows):.1f}"] for name, n in counts.most_common()])
    ended = (campaign.folder / "results/report.html").exists()
    return [
        Mark("ended_with_a_report", ended, 1),
        Mark("jobs_that_ended_well", well, jobs),
        Mark("jobs_more_than_planned", len(rows) - jobs, 0, at_least=False),
        Mark("gb_driver", cost.peak / 1e9, MEMORY / 1e9, at_least=False),
    ]


def main() -> None:
    """Run one part, or all."""
    parser = argparse.ArgumentParser()
    parser.add_argument("part", nargs="?", default="all", choices=["all", "plan", "cluster"])
    parser.add_argument("--files", type=int, help="of one campaign, in place of all sizes")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, marks = Path(name), []
        if given.part in ("all", "plan"):
            marks += plan(folder, [given.files] if given.files else [1000, 10_000, 50_000])
        if given.part in ("all", "cluster"):
            marks += cluster(folder, given.files or 1000)
    conclude(marks)


if __name__ == "__main__":
    main()
