"""Kills at random moments, full disks, lost ranks: the result is that of the training nobody disturbed."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from bunchtrain.config.specs import as_text
from bunchtrain.errors import BunchtrainError, MissingDependency, TrainingError
from bunchtrain.models.base import load_weights
from bunchtrain.train import launch, run
from toys import train_spec

MPIRUN = "mpirun --oversubscribe --bind-to none --mca mpi_yield_when_idle 1 --mca btl self,vader,tcp"

#: A training that forks before each of its lives: torch is imported once. Prints the step before each step.
LIVES = """
import os, sys
from pathlib import Path
from bunchtrain.config.specs import TrainSpec, parse_spec
from bunchtrain.errors import BunchtrainError
from bunchtrain.train import run
from bunchtrain.train.optimise import Optimisation
import torch
torch.set_num_threads(1)
spec = parse_spec(TrainSpec, sys.argv[1])
paths = [Path(name) for name in sys.argv[2:5]]
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        status = 0
        try:
            run.train(spec, *paths)
        except BunchtrainError as error:
            status = error.exit_code
        sys.stdout.flush()
        os._exit(status)
    print("child", child, flush=True)
    _, status = os.waitpid(child, 0)
    print("ended", os.waitstatus_to_exitcode(status), flush=True)
"""


@pytest.mark.parametrize("schedule", ["cosine", "plateau"])
def test_twenty_kills_at_random_moments_change_no_bit(toy, tmp_path, schedule):
    spec = train_spec(
        epochs=8, patience=9, deterministic=True, ema=0.8, schedule=schedule, checkpoint_minutes=1e-4, log_every=3
    )
    run.train(spec, *toy, tmp_path / "whole")
    chance, kills = random.Random(schedule), 0
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", LIVES, as_text(spec), *map(str, toy), str(tmp_path / "killed")]
    lives = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    ended = ""
    while ended != "ended 0":
        lives.stdin.write("again\n")
        lives.stdin.flush()
        child = next(int(line.split()[1]) for line in lives.stdout if line.startswith("child"))
        if kills < 10:
            time.sleep(
                chance.uniform(0.02, 0.35)
            )  # also in the middle of a checkpoint: one is written every step or two
            os.kill(child, chance.choice([signal.SIGKILL, signal.SIGTERM]))
        ended = next(line.strip() for line in lives.stdout if line.startswith("ended"))
        kills += ended != "ended 0"
    lives.communicate(timeout=60)
    assert kills == 10
    whole, killed = (load_weights(tmp_path / name / "model.safetensors") for name in ("whole", "killed"))
    assert all(whole[name].equal(killed[name]) for name in whole)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a file system needs root")
def test_a_disk_full_at_a_checkpoint_loses_nothing(toy, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(small)], check=False).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        (small / "filler").write_bytes(bytes(60_000))
        spec = train_spec(epochs=4, checkpoint_minutes=1e-4)
        with pytest.raises((BunchtrainError, OSError)) as caught:
            run.train(spec, *toy, small)
        if isinstance(caught.value, BunchtrainError):
            assert "full" in str(caught.value)
        shutil.copytree(small / "checkpoints", tmp_path / "roomy/checkpoints")
    finally:
        subprocess.run(["umount", str(small)], check=True)
    assert list((tmp_path / "roomy").rglob("*.safetensors")) and not list((tmp_path / "roomy").rglob("*.tmp"))
    run.train(spec, *toy, tmp_path / "roomy")
    run.train(spec, *toy, tmp_path / "whole")
    whole, full = (load_weights(tmp_path / name / "model.safetensors") for name in ("whole", "roomy"))
    assert all(whole[name].equal(full[name]) for name in whole)


def started(spec, toy, out, *extra):
    command = [sys.executable, "-m", "bunchtrain", "train", "--launcher", MPIRUN, "--spec", as_text(spec)]
    command += ["--dataset", str(toy[0]), "--scaler", str(toy[1]), "--out", str(out), *extra]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )


def ranks_of(out):
    listed = subprocess.run(["ps", "-ww", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    lines = [line.split() for line in listed.splitlines() if str(out) in line and "--launcher" not in line]
    return [int(line[0]) for line in lines if "mpirun" not in line and "setpriv" not in line]


def until(process, words):
    seen = []
    for line in process.stdout:
        seen.append(line)
        if words in line:
            return
    raise AssertionError("".join(seen))


@pytest.mark.mpi
def test_a_lost_rank_is_started_again_and_another_number_of_ranks_goes_on(toy, tmp_path):
    spec = train_spec(epochs=5, patience=9, ranks=2, precision="float64", checkpoint_minutes=1e-3)
    run.train(spec, *toy, tmp_path / "whole")
    process = started(spec, toy, tmp_path / "killed")
    until(process, "epoch 1/5")
    os.kill(ranks_of(tmp_path / "killed")[0], signal.SIGKILL)
    until(process, "starts them again")
    until(process, "goes on from epoch")
    until(process, "epoch 3/5")
    process.send_signal(signal.SIGTERM)  # as Slurm before the time limit
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 85, said
    one = started(spec, toy, tmp_path / "killed", "--ranks", "1")
    said, _ = one.communicate(timeout=240)
    assert one.returncode == 0 and "goes on from epoch" in said, said
    whole, killed = (load_weights(tmp_path / name / "model.safetensors") for name in ("whole", "killed"))
    assert all(whole[name].allclose(killed[name], rtol=1e-7, atol=1e-9) for name in whole)


@pytest.mark.slow
@pytest.mark.mpi
def test_twenty_kills_of_two_ranks_change_nothing_but_rounding(toy, tmp_path):
    spec = train_spec(epochs=40, patience=99, ranks=2, precision="float64", checkpoint_minutes=1e-4, restarts=5)
    run.train(spec, *toy, tmp_path / "whole")
    chance, kills, out = random.Random(4), 0, tmp_path / "killed"
    process = started(spec, toy, out)
    while kills < 20:
        until(process, "goes on from epoch" if kills else "epoch 1/40")
        time.sleep(chance.uniform(0, 1))
        how = chance.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM])
        if how == signal.SIGKILL:
            os.kill(chance.choice(ranks_of(out)), how)
        else:  # to all, by way of what started them
            process.send_signal(how)
            said, _ = process.communicate(timeout=120)
            assert process.returncode == 85, said
            process = started(spec, toy, out)
        kills += 1
    said, _ = process.communicate(timeout=600)
    assert process.returncode == 0, said
    whole, killed = (load_weights(tmp_path / name / "model.safetensors") for name in ("whole", "killed"))
    assert all(whole[name].allclose(killed[name], rtol=1e-7, atol=1e-9) for name in whole)


def fails(tmp_path, status, restarts=2):
    code = f"import sys, pathlib; p = pathlib.Path({str(tmp_path / 'count')!r}); "
    code += f"p.write_text(p.read_text() + 'x' if p.exists() else 'x'); sys.exit({status})"
    try:
        # A shell stands for a launcher: it takes no notice of -n and its number.
        return launch.supervise(
            "true" if status is None else 'sh -c \'"$3" -c "$5"\' sh',
            1,
            [sys.executable, "-c", code],
            tmp_path,
            restarts,
        )
    finally:
        fails.starts = len((tmp_path / "count").read_text())


@pytest.mark.parametrize("status", [0, 2, 85, 86])
def test_ends_that_a_new_start_does_not_mend_are_final(tmp_path, status):
    assert fails(tmp_path, status) == status and fails.starts == 1


def test_a_loss_that_comes_again_and_again_is_an_error(tmp_path):
    with pytest.raises(TrainingError, match="again and again") as caught:
        fails(tmp_path, 137)
    assert fails.starts == 3 and "137" in caught.value.details["found"]


def test_a_new_checkpoint_counts_whatever_others_lie_beside_it(tmp_path):
    others, own = (tmp_path / "checkpoints" / (16 * letter) for letter in "fa")
    others.mkdir(parents=True)
    own.mkdir()
    (others / "000000001.safetensors").write_text("")
    code = f"import sys, pathlib; p = pathlib.Path({str(own)!r}); n = len(list(p.iterdir())); "
    code += "(p / f'{n:09d}.safetensors').write_text(''); sys.exit(0 if n == 5 else 137)"
    launcher = 'sh -c \'"$3" -c "$5"\' sh'
    assert launch.supervise(launcher, 1, [sys.executable, "-c", code], tmp_path, restarts=1) == 0


@pytest.mark.parametrize("launcher", ["mpirunn -x", "", "mpirun 'open"])
def test_a_launcher_that_is_none_is_refused(tmp_path, launcher):
    with pytest.raises((MissingDependency, TrainingError)):
        launch.supervise(launcher, 2, ["true"], tmp_path, 1)
