"""A rank is killed: seconds until the next step, by a new start of all ranks and by Horovod's elastic mode.

The figures of docs/decisions/0008. Both train the demo's network on 2 ranks; elastic mode goes on with the survivor.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bunchtrain.config.specs import as_text
from bunchtrain.parallel import LAUNCHER
from marks import table
from toys import toy_dataset, train_spec

MODEL = {"kind": "gnn", "hidden": 32, "layers": 2, "neighbours": 8, "head": 64, "dropout": 0.1}
REPEATS, KILLED_AFTER = 3, 30

ELASTIC = f"""
import os, sys, time, torch, horovod.torch as hvd
from bunchtrain.models.base import Shape, build
hvd.init()
torch.set_num_threads(1)
model = build({MODEL!r}, Shape(7, 3, 2))
optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
optimizer = hvd.DistributedOptimizer(optimizer, named_parameters=model.named_parameters())
inputs = torch.randn(64, 16, 7), torch.randn(64, 16, 4), torch.randn(64, 3), torch.ones(64, 16, dtype=torch.bool)
labels = torch.randint(0, 2, (64,))
log = open(sys.argv[1], "a", buffering=1)

@hvd.elastic.run
def train(state):
    while True:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(*inputs).graph_BC, labels).backward()
        optimizer.step()
        state.step += 1
        print(time.time(), hvd.rank(), hvd.size(), os.getpid(), state.step, file=log)
        if state.step % 10 == 0:
            state.commit()

train(hvd.elastic.TorchState(model, optimizer, step=0))
"""


def wait(condition: Callable[[], object], seconds: float = 120) -> None:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise SystemExit("the training did not come so far in time")
        time.sleep(0.02)


def ranks_below(parent: int) -> list[int]:
    """Return the processes of ranks that a launcher started."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            environ = (place / "environ").read_bytes()
            state = (place / "stat").read_text().rpartition(")")[2].split()
            words = (place / "cmdline").read_bytes()
        except OSError:
            continue
        a_rank = f"BUNCHTRAIN_BENCH={parent}".encode() in environ and b"OMPI_COMM_WORLD_RANK=" in environ
        if a_rank and b"bunchtrain" in words and state[0] != "Z":
            found.append(int(place.name))
    return sorted(found)


def restarted(toy: tuple[Path, Path], folder: Path) -> float:
    """Return the seconds from the kill of a rank to the next step of ranks that were started again."""
    spec = train_spec(MODEL, ranks=2, batch_size=128, epochs=1000, patience=1000, log_every=1, checkpoint_minutes=1e-3)
    command = [sys.executable, "-m", "bunchtrain", "train", "--spec", as_text(spec), "--dataset", str(toy[0])]
    command += ["--scaler", str(toy[1]), "--out", str(folder), "--launcher", LAUNCHER, "--ranks", "2"]
    environ = {**os.environ, "BUNCHTRAIN_BENCH": str(os.getpid())}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environ)
    steps = folder / "steps.csv"
    try:
        wait(lambda: steps.exists() and len(steps.read_text().splitlines()) > KILLED_AFTER)
        victim = ranks_below(os.getpid())[-1]
        os.kill(victim, signal.SIGKILL)
        killed = time.time()
        wait(lambda: victim not in ranks_below(os.getpid()))
        wait(lambda: len(ranks_below(os.getpid())) == 2)
        restart = time.time()
        wait(
            lambda: steps.stat().st_mtime > restart and int(steps.read_text().split()[-1].split(",")[0]) > KILLED_AFTER
        )
        return time.time() - killed
    finally:
        process.terminate()
        process.wait()


def elastic(folder: Path) -> float:
    """Return the seconds from the kill of a worker to the survivor's next step."""
    folder.mkdir()
    discover, script, log = folder / "discover.sh", folder / "train.py", folder / "log"
    discover.write_text("#!/bin/sh\necho localhost:1\necho 127.0.0.1:1\n")
    discover.chmod(0o755)
    script.write_text(ELASTIC)
    command = ["horovodrun", "--gloo", "-np", "2", "--min-np", "1", "--host-discovery-script", str(discover)]
    process = subprocess.Popen(
        [*command, sys.executable, str(script), str(log)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )

    def rows() -> list[list[str]]:
        return [line.split() for line in log.read_text().splitlines()] if log.exists() else []

    try:
        wait(lambda: len(rows()) > 2 * KILLED_AFTER)
        victim = next(int(row[3]) for row in reversed(rows()) if row[1] == "1")
        os.kill(victim, signal.SIGKILL)
        killed = time.time()
        wait(lambda: rows()[-1][2] == "1")
        return next(float(row[0]) for row in rows() if row[2] == "1" and float(row[0]) > killed) - killed
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        toy = toy_dataset(folder, jets=3000)
        again = [restarted(toy, folder / f"restart{repeat}") for repeat in range(REPEATS)]
        survivor = [elastic(folder / f"elastic{repeat}") for repeat in range(REPEATS)]
    rows = [
        ("all ranks started again from the last checkpoint", again, "2"),
        ("hvd.elastic, the survivor goes on", survivor, "1"),
    ]
    table(
        ("a rank is killed", "s to the next step", "all", "ranks then"),
        [(what, f"{statistics.median(t):.2f}", ", ".join(f"{x:.2f}" for x in t), n) for what, t, n in rows],
    )


if __name__ == "__main__":
    main()
