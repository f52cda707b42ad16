"""Every backend trains as one process does on the joint batch."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bunchtrain.config.specs import as_text
from bunchtrain.errors import TrainingError
from bunchtrain.parallel import base, launched_ranks
from toys import train_spec

#: Trains in float64 without dropout and prints the epochs' losses and a digest of the weights.
CODE = """
import json, sys, torch
torch.set_default_dtype(torch.float64)
import bunchtrain.train.batches as batches
original = batches.BatchSource.__init__
batches.BatchSource.__init__ = lambda self, data, scaler, indices: original(self, data, scaler, indices, torch.float64)
from pathlib import Path
from bunchtrain.config.specs import TrainSpec, parse_spec
from bunchtrain.train.run import train
train(parse_spec(TrainSpec, sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4]))
"""
MPIRUN = [
    "mpirun",
    "--oversubscribe",
    "--bind-to",
    "none",
    "--mca",
    "mpi_yield_when_idle",
    "1",
    "--mca",
    "btl",
    "self,vader,tcp",
    "-n",
    "2",
]
MODEL = {"kind": "gnn", "hidden": 8, "layers": 1, "neighbours": 4, "head": 16, "dropout": 0.0}

LAUNCHERS = {
    ("serial", "one process"): [],
    ("horovod", "mpirun"): MPIRUN,
    ("horovod", "horovodrun with gloo"): [
        "horovodrun",
        "--gloo",
        "--network-interface",
        "lo",
        "-np",
        "2",
        "-H",
        "localhost:2",
    ],
    ("ddp", "mpirun"): MPIRUN,
    ("ddp", "torchrun"): [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--no-python"],
}


def losses(toy, folder: Path, backend: str, launcher: list[str], batch: int) -> list[float]:
    # One rate for both: the rule that multiplies it by the number of ranks is tested elsewhere.
    rate = 3e-3 / (2 if launcher else 1)
    spec = train_spec(MODEL, backend=backend, batch_size=batch, learning_rate=rate, warmup_epochs=0)
    command = [*launcher, sys.executable, "-c", CODE, as_text(spec), *map(str, toy), str(folder)]
    environment = {**os.environ, "MASTER_PORT": "29617", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads((folder / "history.json").read_text())["rows"]
    return [row[name] for row in rows for name in ("train_loss", "validation_loss")]


@pytest.fixture(scope="module")
def reference(toy, tmp_path_factory):
    return losses(toy, tmp_path_factory.mktemp("serial"), "serial", [], batch=64)


@pytest.mark.mpi
@pytest.mark.parametrize(("backend", "how"), [key for key in LAUNCHERS if key[0] != "serial"])
def test_two_ranks_equal_one_process_on_the_joint_batch(toy, reference, tmp_path, backend, how):
    if shutil.which(LAUNCHERS[backend, how][0]) is None:
        pytest.fail(f"{LAUNCHERS[backend, how][0]} is missing: run make env")
    found = losses(toy, tmp_path, backend, LAUNCHERS[backend, how], batch=32)
    assert found == pytest.approx(reference, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(
    ("environment", "ranks"),
    [
        ({}, 1),
        ({"OMPI_COMM_WORLD_SIZE": "4"}, 4),
        ({"HOROVOD_SIZE": "2"}, 2),
        ({"WORLD_SIZE": "8"}, 8),
        ({"SLURM_NTASKS": "16"}, 1),
        ({"PMIX_RANK": "0", "SLURM_STEP_NUM_TASKS": "3"}, 3),
    ],
)
def test_launchers_are_recognised(environment, ranks):
    assert launched_ranks(environment) == ranks


def test_serial_on_several_ranks_is_refused(monkeypatch):
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    with pytest.raises(TrainingError, match="several ranks"):
        base.start("serial")
