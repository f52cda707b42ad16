"""Trainings under a real Slurm that are requeued go on where they were."""

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bunchtrain.config.specs import as_text
from bunchtrain.models.base import load_weights
from bunchtrain.train import run
from toys import train_spec

pytestmark = [pytest.mark.slurm, pytest.mark.mpi, pytest.mark.usefixtures("cluster")]

PAGE = Path(__file__).parents[2] / "docs/training.md"


def script(names):
    """The job script of docs/training.md, with this test's paths and two ranks."""
    (text,) = re.findall(r"```bash\n(#!/bin/bash.*?)```", PAGE.read_text(), re.DOTALL)
    for shown, here in names.items():
        assert shown in text
        text = text.replace(shown, str(here))
    return text


def submitted(toy, folder):
    """Submit a training of two ranks and return the number of its job."""
    spec = train_spec(epochs=60, patience=99, ranks=2, precision="float64", checkpoint_minutes=1e-3)
    (folder / "spec.json").write_text(as_text(spec))
    names = {"bunchtrain train": f"{sys.executable} -m bunchtrain train", "train.yaml": folder / "spec.json"}
    names |= {"dataset.h5": toy[0], "scaler.json": toy[1], "seed0": folder / "train", "--ranks 8": "--ranks 2"}
    (folder / "job.sh").write_text(script(names))
    command = ["sbatch", "--parsable", "--requeue", "--open-mode=append", f"--output={folder}/log", "-n", "2"]
    command += ["--mem-per-cpu=900", "--time=10", str(folder / "job.sh")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder)
    return spec, done.stdout.strip()


def said(folder, words, seconds=180):
    """Wait until a job's log has some words."""
    log, end = folder / "log", time.monotonic() + seconds
    while not (log.exists() and re.search(words, log.read_text())):
        assert time.monotonic() < end, log.read_text() if log.exists() else "the job has not started"
        time.sleep(0.2)


def state(job):
    """Return a job's state, once it has ended."""
    end = time.monotonic() + 300
    while time.monotonic() < end:
        shown = subprocess.run(["scontrol", "show", "job", job], capture_output=True, text=True, check=True).stdout
        found = re.search(r"JobState=(\w+)", shown)[1]
        if found not in ("PENDING", "RUNNING", "COMPLETING", "REQUEUED"):
            return found, int(re.search(r"Restarts=(\d+)", shown)[1])
        time.sleep(0.5)
    raise AssertionError(shown)


@pytest.mark.parametrize("how", [["scontrol", "requeue"], ["scancel", "--signal=USR1"]], ids=["requeue", "signal"])
def test_a_requeued_training_goes_on_and_ends_as_if_nothing_had_been(toy, tmp_path, how):
    spec, job = submitted(toy, tmp_path)
    said(tmp_path, "epoch 2/60")
    subprocess.run([*how, job], check=True)
    said(tmp_path, "goes on from epoch")
    assert state(job) == ("COMPLETED", 1), (tmp_path / "log").read_text()
    run.train(spec, *toy, tmp_path / "whole")
    whole, again = (load_weights(tmp_path / name / "model.safetensors") for name in ("whole", "train"))
    assert all(whole[name].allclose(again[name], rtol=1e-7, atol=1e-9) for name in whole)
