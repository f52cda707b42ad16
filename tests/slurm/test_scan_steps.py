"""A scan inside a real Slurm job uses all its nodes, and leaves no step behind."""

import json
import re
import subprocess
import sys
import time

import pytest

from bunchtrain.config.specs import ScanSpec, as_text
from toys import train_spec

pytestmark = [pytest.mark.slurm, pytest.mark.mpi, pytest.mark.usefixtures("cluster")]

SPACE = {"train.learning_rate": {"low": 1e-3, "high": 1e-2, "log": True}}


@pytest.fixture
def submit(toy, tmp_path):
    """Give what submits a scan on two nodes of four cores, and end what is left."""
    jobs = []

    def submitted(**settings):
        asked = {"method": "random", "ranks": 2, "max_jets": 200, "space": SPACE, **settings}
        spec = as_text(ScanSpec(version=1, settings=asked, training=train_spec(device="cpu")))
        (tmp_path / "spec.json").write_text(spec)
        words = f"--dataset {toy[0]} --scaler {toy[1]} --spec {tmp_path}/spec.json --out {tmp_path}/scan"
        (tmp_path / "job.sh").write_text(
            f"#!/bin/bash\n{sys.executable} -m bunchtrain scan {words} &\necho pid $!\nwait\n"
        )
        command = ["sbatch", "--parsable", "-N2", "--ntasks-per-node=1", "-c4", "--mem=3500", "--time=20"]
        done = subprocess.run(
            [*command, f"--output={tmp_path}/log", str(tmp_path / "job.sh")], capture_output=True, text=True, check=True
        )
        jobs.append(done.stdout.strip())
        return jobs[-1]

    yield submitted
    for job in jobs:
        subprocess.run(["scancel", job], check=False)


def until(true, told, seconds=400):
    """Wait until something is true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, told()
        time.sleep(0.5)


def steps(job):
    """The steps of a job that run, but for its script."""
    listed = subprocess.run(["squeue", "-s", "-h", "-j", job, "-o", "%i"], capture_output=True, text=True, check=True)
    return [step for step in listed.stdout.split() if not step.endswith(".batch")]


def state(job):
    shown = subprocess.run(["scontrol", "show", "job", job], capture_output=True, text=True, check=True).stdout
    return re.search(r"JobState=(\w+)", shown)[1]


def ended(tmp_path):
    """What the journal says of the evaluations that have ended."""
    lines = [json.loads(line) for line in (tmp_path / "scan/journal.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] == "end"]


def said(tmp_path):
    return (tmp_path / "log").read_text() if (tmp_path / "log").exists() else "the job has not started"


def test_evaluations_of_two_ranks_use_all_nodes(submit, tmp_path):
    job = submit(trials=4, parallel=4, epochs=1)
    until(lambda: state(job) not in ("PENDING", "RUNNING", "COMPLETING"), lambda: said(tmp_path))
    assert state(job) == "COMPLETED", said(tmp_path)
    found = ended(tmp_path)
    assert sorted(line["facts"]["slot"] for line in found) == [0, 1, 2, 3]
    names = [line["facts"]["node"] for line in found]
    assert sorted(names.count(name) for name in set(names)) == [2, 2]
    for line in found:
        log = (tmp_path / f"scan/trials/{line['trial']:04d}/train.log").read_text()
        assert isinstance(line["result"], float) and "2 rank(s) of horovod" in log


def test_an_evaluation_over_its_time_leaves_no_step(submit, tmp_path):
    job = submit(trials=2, parallel=2, epochs=100000, timeout=30)
    until(lambda: state(job) not in ("PENDING", "RUNNING", "COMPLETING"), lambda: said(tmp_path))
    assert [line["result"] for line in ended(tmp_path)] == ["F_timeout"] * 2, said(tmp_path)
    assert steps(job) == []


def test_a_killed_scan_leaves_no_step(submit, tmp_path):
    job = submit(trials=2, parallel=2, epochs=100000)
    logs = [tmp_path / f"scan/trials/{number:04d}/train.log" for number in range(2)]
    until(lambda: all(log.exists() and "epoch 2/" in log.read_text() for log in logs), lambda: said(tmp_path))
    assert len(steps(job)) == 2
    subprocess.run(["kill", "-KILL", re.search(r"pid (\d+)", said(tmp_path))[1]], check=True)
    until(lambda: not steps(job), lambda: steps(job), seconds=60)
