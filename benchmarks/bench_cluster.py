"""A campaign of a thousand files through a real Slurm to its end: jobs, calls of Slurm, core-hours, driver's memory.

The cluster is slurm/testcluster on this machine, so its times are those of this machine's cores.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from bench_production import USUAL, Cost, lay_out, planned, planning, watched
from marks import Mark, conclude, table
from minicampaign import ROOT, Campaign

#: Clients of Slurm that a driver calls.
CLIENTS = ("sbatch", "sacct", "squeue", "scancel", "sinfo", "scontrol", "sacctmgr")

#: Stands before a client on the path, and notes each call that comes from no job.
WRAPPER = '#!/bin/sh\n[ -n "$SLURM_JOB_ID" ] || echo {name} >> {calls}\nexec {client} "$@"\n'

#: Bytes that a driver may take.
MEMORY = 1e9


class Job(NamedTuple):
    """A job as the accounting knows it; `rule` is what Snakemake's comment says, `seconds` those of all its cores."""

    rule: str
    state: str
    seconds: int


def cluster(box: Path) -> dict[str, str]:
    """Boot a cluster of four nodes and return what its clients need."""
    script = [ROOT / "slurm/testcluster", "--box", box]
    subprocess.run([script[0], "up", *script[1:], "--nodes", "4", "--cores", "4"], check=True)
    said = subprocess.run([script[0], "env", *script[1:]], check=True, capture_output=True, text=True).stdout
    lines = (shlex.split(line)[1].partition("=") for line in said.splitlines())
    return {name: os.path.expandvars(value) for name, _, value in lines}


def counted(folder: Path, campaign: Campaign) -> Path:
    """Put wrappers before the clients; return the file in which they note their calls."""
    calls, tools = folder / "calls", folder / "clients"
    tools.mkdir()
    for name in CLIENTS:
        if client := shutil.which(name, path=campaign.environment["PATH"]):
            (tools / name).write_text(WRAPPER.format(name=name, calls=calls, client=client))
            (tools / name).chmod(0o755)
    campaign.environment["PATH"] = f"{tools}:{campaign.environment['PATH']}"
    calls.touch()
    return calls


def accounted(campaign: Campaign) -> list[Job]:
    """Return the jobs of the cluster."""
    words = ["sacct", "-n", "-X", "-P", "-S", "now-1day", "-o", "comment%200,state,cputimeraw"]
    said = subprocess.run(words, env=campaign.environment, check=True, capture_output=True, text=True).stdout
    rows = [line.split("|") for line in said.splitlines()]
    return [Job(_rule(about), state.split()[0], int(seconds)) for about, state, seconds in rows]


def _rule(comment: str) -> str:
    return comment.removeprefix("rule_").partition("_wildcards_")[0] or "?"


def run(folder: Path, files: int) -> list[Mark]:
    """Run the campaign, and print what it came to."""
    alone = sum(planned(planning(lay_out(folder, files, 1)).said).values())
    shutil.rmtree(folder / "results", ignore_errors=True)
    campaign = lay_out(folder, files, USUAL)
    campaign.environment |= cluster(folder / "box")
    campaign.environment["SBATCH_ACCOUNT"] = "root"
    calls = counted(folder, campaign)
    try:
        command = [sys.executable, "-m", "bunchtrain", "campaign", "run", "campaign.yaml", "--profile"]
        cost = watched([*command, str(ROOT / "slurm/test")], campaign)
        jobs = accounted(campaign)
    finally:
        subprocess.run([ROOT / "slurm/testcluster", "down", "--box", folder / "box"], check=True)
    return told(jobs, Counter(calls.read_text().split()), cost, files, alone)


def told(jobs: list[Job], calls: Counter[str], cost: Cost, files: int, alone: int) -> list[Mark]:
    """Print the tables; return the marks."""
    rules = dict.fromkeys(job.rule for job in jobs)
    rows = []
    for rule in rules:
        own = [job.seconds for job in jobs if job.rule == rule]
        rows.append([rule, len(own), f"{sum(own) / 3600:.3f}", f"{sum(own) / len(own):.0f} s"])
    table(["rule", "jobs", "core-hours", "core-seconds a job"], rows)
    per_job = [[name, count, f"{count / len(jobs):.2f}"] for name, count in calls.most_common()]
    table(["client", "calls", "calls a job"], [*per_job, ["all", calls.total(), f"{calls.total() / len(jobs):.2f}"]])
    driver = [f"{cost.wall:.0f} s", f"{cost.cpu:.0f} s", f"{cost.peak / 1e6:.0f} MB"]
    table(
        ["files", "jobs", "jobs, a file each", "wall", "driver's CPU", "driver's memory"],
        [[files, len(jobs), alone, *driver]],
    )
    lost = sum(job.state != "COMPLETED" for job in jobs)
    return [
        Mark("jobs_that_did_not_complete", lost, 0, at_least=False),
        Mark("gb_of_the_driver", cost.peak / 1e9, MEMORY / 1e9, at_least=False),
    ]


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=int, default=1000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cluster-") as name:
        conclude(run(Path(name), given.files))


if __name__ == "__main__":
    main()
