"""Two ranks, started once, that train alone, side by side, and together, one short epoch after the other.

`mpirun -n 2 python ranks_in_turn.py DATASET SCALER OUT` writes to OUT, of every epoch, the jets per second and the
shares of time in waiting for data and for other ranks. A virtual machine's speed drifts, and differs from process to
process: only what the same processes do one after the other can be compared.
"""

from __future__ import annotations

import json
import os
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch

from bunchtrain.events.reader import Dataset
from bunchtrain.events.scaling import Scaler
from bunchtrain.models.base import Shape, build
from bunchtrain.parallel import base, pin
from bunchtrain.parallel.serial import Parallel as Alone
from bunchtrain.tasks import base as tasks
from bunchtrain.train.batches import BatchSource
from bunchtrain.train.checkpoint import Checkpoints
from bunchtrain.train.loop import Split, Trainer
from bunchtrain.train.memory import keep_freed
from bunchtrain.train.optimise import Figures, Optimisation
from bunchtrain.train.sampler import steps_per_epoch
from bunchtrain.train.tracking import Clock, Tracker
from toys import CLASSES, train_spec

if TYPE_CHECKING:
    from mpi4py import MPI

MODEL = {"kind": "gnn", "hidden": 32, "layers": 2, "neighbours": 8, "head": 64, "dropout": 0.1}
TASK = {"kind": "jet_tagging", "signal": "top", "background": "qcd"}
BATCH, STEPS, REPEATS = 128, 24, 40
ONE, APART, LOCKSTEP, HOROVOD, DDP = (
    "one process",
    "two processes that share nothing",
    "the same, if each step waited for the slower",
    "Horovod, 2 ranks",
    "torch.distributed (Gloo), 2 ranks",
)
BACKENDS = {HOROVOD: "horovod", DDP: "ddp"}


class Steps(Tracker):
    """Notes when each step ended."""

    def __init__(self) -> None:
        super().__init__(None)
        self.ends: list[float] = []

    def step(self, number: int, epoch: int, figures: Figures, rate: float, clock: Clock) -> bool:
        """Note a step."""
        self.ends.append(time.perf_counter())
        return False


class Epoch(NamedTuple):
    """Jets per second of a rank's group, shares of time for data and for ranks, seconds of each step but the first."""

    speed: float
    waiting: float
    communication: float
    seconds: list[float]


def epoch(data: Dataset, scaler: Scaler, backend: str | None) -> Epoch:
    """Train an epoch, of a group of ranks or as one process."""
    parallel = Alone() if backend is None else base.start(backend)
    torch.manual_seed(0)
    batch = BATCH * parallel.size
    settings = train_spec(MODEL, batch_size=batch, ranks=parallel.size, epochs=1).settings
    model, task = build(MODEL, Shape(7, 3, 2)), tasks.build(TASK, CLASSES)
    state = Optimisation(model, task, parallel, settings, torch.device("cpu"))
    checkpoints, steps = Checkpoints(Path(os.devnull), {}), Steps()
    trainer = Trainer(state, checkpoints, steps, seed=1, say=lambda text: None)
    indices = data.indices("train")[: STEPS * batch]
    train = Split(indices, BatchSource(data, scaler, indices, padding=settings.padding))
    trainer._steps = steps_per_epoch(len(indices), batch)
    parallel.barrier()
    rates = trainer._run_steps(train).rates()
    parallel.shutdown()
    seconds = [after - before for before, after in pairwise(steps.ends)]
    return Epoch(rates["jets_per_second"], rates["waiting_for_data"], rates["communication"], seconds)


def wait(group: MPI.Comm) -> None:
    """Wait for the other rank asleep: a spinning wait would take a core from it."""
    request = group.Ibarrier()
    while not request.Test():
        time.sleep(0.001)


def in_turn(data: Dataset, scaler: Scaler, group: MPI.Comm) -> dict[str, list[tuple[float, float, float]]]:
    """Return for every way of training, epoch by epoch, jets per second of all ranks and the shares of waiting."""
    found: dict[str, list[tuple[float, float, float]]] = {}
    for repeat in range(REPEATS + 1):
        for name in (ONE, APART, HOROVOD, DDP):
            wait(group)
            mine = epoch(data, scaler, BACKENDS.get(name)) if name != ONE or group.rank == repeat % 2 else None
            both = [each for each in group.allgather(mine) if each is not None]
            if repeat == 0:  # for warming up
                continue
            waiting = max(each.waiting for each in both), max(each.communication for each in both)
            speed = (min if name in BACKENDS else sum)(each.speed for each in both)
            found.setdefault(name, []).append((speed, *waiting))
            if name == APART:
                seconds = sum(map(max, *(each.seconds for each in both)))
                found.setdefault(LOCKSTEP, []).append((2 * BATCH * len(both[0].seconds) / seconds, *waiting))
    return found


def main() -> None:
    # Not above: bench_training imports this file, and a process that has MPI started cannot run mpirun.
    from mpi4py import MPI

    dataset, scaler, out = map(Path, sys.argv[1:])
    pin(1)
    torch.set_num_threads(1)
    keep_freed()  # as every training does
    group = MPI.COMM_WORLD
    found = in_turn(Dataset(dataset), Scaler.load(scaler), group)
    if group.rank == 0:
        out.write_text(json.dumps(found))


if __name__ == "__main__":
    main()
