"""Training: what the loop adds to bare torch, how two ranks compare with one, and how long the network waits for data.

Ratios of medians within one run, on jets made from random numbers.
"""

from __future__ import annotations

import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from operator import truediv
from pathlib import Path

import torch

from bunchtrain.events.reader import Dataset
from bunchtrain.events.scaling import Scaler
from bunchtrain.models.base import Shape, build
from bunchtrain.parallel import LAUNCHER
from bunchtrain.parallel.serial import Parallel
from bunchtrain.tasks import base as tasks
from bunchtrain.train.batches import BatchSource
from bunchtrain.train.checkpoint import Checkpoints
from bunchtrain.train.loop import Split, Trainer
from bunchtrain.train.memory import keep_freed
from bunchtrain.train.optimise import Optimisation
from bunchtrain.train.sampler import rank_steps, steps_per_epoch
from bunchtrain.train.tracking import Tracker
from marks import Mark, conclude, table
from ranks_in_turn import BATCH, DDP, HOROVOD, MODEL, ONE, TASK
from toys import CLASSES, toy_dataset, train_spec

EPOCHS = 60
#: Jets of an epoch of the comparison with bare torch: short ones in turn, as the machine's own speed drifts.
SHORT = 16 * BATCH


def bare_epoch(data: Dataset, scaler: Scaler) -> float:
    """CPU seconds of one epoch of plain torch on batches that are ready in memory."""
    torch.manual_seed(0)
    model = build(MODEL, Shape(7, 3, 2)).train()
    task = tasks.build(TASK, CLASSES)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    indices = data.indices("train")[:SHORT]
    source = BatchSource(data, scaler, indices)
    steps = rank_steps(indices, seed=1, epoch=0, batch=BATCH, pieces=1)
    ready = [batch for step in steps for piece in step.mine for batch in source(piece.jets)]
    start = time.process_time()
    for batch in ready:
        optimizer.zero_grad()
        loss = task.loss(model(*batch.inputs), batch.targets) / len(batch.targets.labels_B)
        torch.autograd.backward(loss)
        optimizer.step()
        loss.item()
    return time.process_time() - start


def our_epoch(data: Dataset, scaler: Scaler, folder: Path) -> float:
    """CPU seconds of one epoch of the project's loop, data included, validation left out."""
    torch.manual_seed(0)
    settings = train_spec(MODEL, batch_size=BATCH, epochs=1).settings
    model, task = build(MODEL, Shape(7, 3, 2)), tasks.build(TASK, CLASSES)
    state = Optimisation(model, task, Parallel(), settings, torch.device("cpu"))
    options = {"seed": 1, "say": lambda text: None}
    trainer = Trainer(state, Checkpoints(folder, {}), Tracker(folder, settings.log_every), **options)
    indices = data.indices("train")[:SHORT]
    train = Split(indices, BatchSource(data, scaler, indices))
    trainer._steps = steps_per_epoch(len(indices), BATCH)
    start = time.process_time()
    trainer._run_steps(train)
    return time.process_time() - start


def ranks(toy: tuple[Path, Path], folder: Path) -> dict[str, list[list[float]]]:
    """Return for each way of training, epoch by epoch, jets per second, and time waiting for data and for ranks."""
    out = folder / "ranks.json"
    script = Path(__file__).with_name("ranks_in_turn.py")
    command = [*shlex.split(LAUNCHER), "-n", "2", sys.executable, str(script), *map(str, toy), str(out)]
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    found: dict[str, list[list[float]]] = json.loads(out.read_text())
    return found


def main() -> None:
    torch.set_num_threads(1)
    keep_freed()  # as every training does
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        toy = toy_dataset(folder, jets=3000)
        data, scaler = Dataset(toy[0]), Scaler.load(toy[1])
        epochs = {"bare": lambda: bare_epoch(data, scaler), "ours": lambda: our_epoch(data, scaler, folder)}
        seconds: dict[str, list[float]] = {"bare": [], "ours": []}
        for repeat in range(EPOCHS):  # now the one first, now the other: the machine's own speed drifts
            for which in ("bare", "ours") if repeat % 2 else ("ours", "bare"):
                seconds[which].append(epochs[which]())
        bare, ours = (statistics.median(values) for values in seconds.values())
        found = ranks(toy, folder)
    medians = {name: [statistics.median(column) for column in zip(*rows, strict=True)] for name, rows in found.items()}
    waiting = max(wait for rows in found.values() for _, wait, _ in rows)

    def ratio(of: str, to: str) -> float:
        """Compare what ran one after the other, epoch by epoch: the machine's own speed drifts."""
        return statistics.median(a / b for (a, *_), (b, *_) in zip(found[of], found[to], strict=True))

    rows = [
        (name, f"{speed:.0f}", f"{ratio(name, ONE) / (1 if name == ONE else 2):.2f}", f"{data:.1%}", f"{others:.1%}")
        for name, (speed, data, others) in medians.items()
    ]
    table(("training", "jets/s", "efficiency", "for data", "for ranks"), rows)
    table(
        ("one epoch", "CPU s"), [("bare torch, batches in memory", f"{bare:.2f}"), ("bunchtrain's loop", f"{ours:.2f}")]
    )
    conclude(
        [
            Mark(
                "loop_overhead",
                statistics.median(map(truediv, seconds["ours"], seconds["bare"])) - 1,
                0.03,
                at_least=False,
            ),
            Mark("efficiency_horovod_2_ranks", ratio(HOROVOD, ONE) / 2, 0.85),
            Mark("horovod_over_ddp", ratio(HOROVOD, DDP), 1.0),
            Mark("waiting_for_data", waiting, 0.05, at_least=False),
        ]
    )


if __name__ == "__main__":
    main()
