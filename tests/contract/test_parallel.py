"""Every backend trains as one process does on the joint batch."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bunchtrain.config.specs import as_text
from bunchtrain.errors import TrainingError
from bunchtrain.parallel import base, launched_ranks, place_on_node
from bunchtrain.parallel.base import Wire
from toys import train_spec

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
MODEL = {"kind": "gnn", "hidden": 8, "layers": 1, "neighbours": 4, "head": 16, "dropout": 0.2}

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


def losses(toy, folder: Path, backend: str, launcher: list[str], precision: str, stops=()) -> list[float]:
    """Train with dropout and averaged weights, a step in two pieces; return the losses of all epochs."""
    options = {"batch_size": 64, "ranks": 2 if backend != "serial" else 1, "clip_norm": 1.0, "ema": 0.9}
    options["accumulation"] = 2 // options["ranks"]
    options["fusion_mb"] = 0.002 if precision == "float64" else 128.0  # several messages, or one
    spec = train_spec(MODEL, backend=backend, precision=precision, **options).model_copy(update={"stops": [*stops]})
    command = [*launcher, sys.executable, "-m", "bunchtrain", "train", "--spec", as_text(spec)]
    command += ["--dataset", str(toy[0]), "--scaler", str(toy[1]), "--out", str(folder)]
    environment = {**os.environ, "MASTER_PORT": "29617", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads((folder / "history.json").read_text())["rows"]
    return [row[name] for row in rows for name in ("train_loss", "validation_loss")]


#: What the order of additions may do to a loss.
TOLERANCE = {"float64": {"rel": 1e-9, "abs": 1e-12}, "float32": {"rel": 1e-4}}


@pytest.fixture(scope="module")
def reference(toy, tmp_path_factory):
    return {name: losses(toy, tmp_path_factory.mktemp(name), "serial", [], name) for name in TOLERANCE}


@pytest.mark.mpi
@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize(("backend", "how"), [key for key in LAUNCHERS if key[0] != "serial"])
def test_two_ranks_equal_one_process(toy, reference, tmp_path, backend, how, precision):
    if shutil.which(LAUNCHERS[backend, how][0]) is None:
        pytest.fail(f"{LAUNCHERS[backend, how][0]} is missing: run make env")
    found = losses(toy, tmp_path, backend, LAUNCHERS[backend, how], precision)
    assert found == pytest.approx(reference[precision], **TOLERANCE[precision])


@pytest.mark.mpi
@pytest.mark.parametrize("backend", ["horovod", "ddp"])
def test_both_ranks_end_at_a_rung_that_their_training_does_not_reach(toy, reference, tmp_path, backend):
    found = losses(toy, tmp_path, backend, MPIRUN, "float64", stops=[(1, 1e-6)])
    assert found == pytest.approx(reference["float64"][:2], **TOLERANCE["float64"])


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


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        ({}, (0, 1)),
        ({"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_LOCAL_RANK": "1", "OMPI_COMM_WORLD_LOCAL_SIZE": "2"}, (1, 2)),
        ({"WORLD_SIZE": "8", "LOCAL_RANK": "3", "LOCAL_WORLD_SIZE": "4"}, (3, 4)),
        (
            {"PMIX_SIZE": "7", "SLURM_LOCALID": "0", "SLURM_NODEID": "3", "SLURM_STEP_TASKS_PER_NODE": "2(x3),1"},
            (0, 1),
        ),
        (
            {"PMIX_SIZE": "7", "SLURM_LOCALID": "1", "SLURM_NODEID": "2", "SLURM_STEP_TASKS_PER_NODE": "2(x3),1"},
            (1, 2),
        ),
    ],
)
def test_the_place_on_the_node_is_known(environment, place):
    assert place_on_node(environment) == place


def test_more_ranks_than_pieces_are_refused(toy, tmp_path):
    command = [*MPIRUN, sys.executable, "-m", "bunchtrain", "train", "--spec", as_text(train_spec(ranks=1))]
    command += ["--dataset", str(toy[0]), "--scaler", str(toy[1]), "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2 and "more ranks than pieces" in done.stderr and "Traceback" not in done.stderr


def test_serial_on_several_ranks_is_refused(monkeypatch):
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    with pytest.raises(TrainingError, match="several ranks"):
        base.start("serial")


@pytest.mark.parametrize(("fusion_mb", "groups"), [(128.0, [3]), (16 * 2**-20, [2, 1]), (0.0, [1, 1, 1])])
@pytest.mark.parametrize("compression", ["none", "fp16"])
def test_gradients_travel_in_messages_of_the_largest_size(fusion_mb, groups, compression):
    tensors = [torch.tensor([1.0, 2.0]), torch.tensor([[3.0], [4.0]]), torch.arange(5.0)]
    kept = [tensor.clone() for tensor in tensors]
    messages = Wire(compression, fusion_mb=fusion_mb).packed(tensors)
    assert [len(message.tensors) for message in messages] == groups
    assert {message.flat.dtype for message in messages} == {torch.float16 if compression == "fp16" else torch.float32}
    for message in messages:
        message.flat.mul_(2)
        message.unpack()
    assert all(torch.equal(tensor, 2 * before) for tensor, before in zip(tensors, kept, strict=True))


@pytest.mark.mpi
def test_under_torchrun_the_ranks_are_joined_without_being_told_how(toy, tmp_path):
    spec = train_spec(MODEL, backend="auto", ranks=2, epochs=1)
    command = [*LAUNCHERS["ddp", "torchrun"], sys.executable, "-m", "bunchtrain", "train", "--spec", as_text(spec)]
    command += ["--dataset", str(toy[0]), "--scaler", str(toy[1]), "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0 and "2 rank(s) of ddp" in done.stdout, done.stdout + done.stderr


def test_ranks_that_do_not_find_each_other_are_an_error(monkeypatch):
    class Alone:
        size = 1

        def __init__(self, wire):
            pass

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr("bunchtrain.registry.load", lambda *names: type("module", (), {"Parallel": Alone}))
    with pytest.raises(TrainingError, match="find each other"):
        base.start("horovod")


def test_more_ranks_than_pieces_are_refused_before_any_is_started(tmp_path):
    spec = train_spec(MODEL, ranks=2)
    command = [sys.executable, "-m", "bunchtrain", "train", "--spec", as_text(spec), "--launcher", "mpirun"]
    command += ["--ranks", "3", "--dataset", "a.h5", "--scaler", "s.json", "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 2 and "more ranks than pieces" in done.stderr and not (tmp_path / "out").exists()
