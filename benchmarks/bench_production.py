"""Campaigns of thousands of small files: what planning costs.

`bunchtrain campaign run FILE -n` of so many files, grouped as usual and a job for each: with --quiet what passes before
the first job starts, and with the list of all jobs. `--files 1000` takes one size alone. See bench_cluster.py for a
campaign that runs.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
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

#: Files of one job when nothing is said.
USUAL = Convert().files_per_job


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


def main() -> None:
    """Run one part, or all."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=int, help="of one campaign, in place of all sizes")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        conclude(plan(Path(name), [given.files] if given.files else [1000, 10_000, 50_000]))


if __name__ == "__main__":
    main()
