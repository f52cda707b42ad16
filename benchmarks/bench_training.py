"""Training: what the loop adds to bare torch, how two ranks compare with one, and how long the network waits for data.

Ratios of medians within one run, on jets made from random numbers.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from bunchtrain.config.specs import as_text
from bunchtrain.events.reader import Dataset
from bunchtrain.events.scaling import Scaler
from bunchtrain.models.base import Shape, build
from bunchtrain.parallel.serial import Parallel
from bunchtrain.tasks import base as tasks
from bunchtrain.train.batches import BatchSource
from bunchtrain.train.checkpoint import Checkpoints
from bunchtrain.train.loop import Split, Trainer
from bunchtrain.train.optimise import Optimisation
from bunchtrain.train.sampler import rank_steps, steps_per_epoch
from bunchtrain.train.tracking import Tracker
from marks import Mark, conclude, table
from toys import CLASSES, toy_dataset, train_spec

MODEL = {"kind": "gnn", "hidden": 32, "layers": 2, "neighbours": 8, "head": 64, "dropout": 0.1}
TASK = {"kind": "jet_tagging", "signal": "top", "background": "qcd"}
BATCH = 128
REPEATS = 7
MPIRUN = ["mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "-n", "2"]
MPIRUN += ["--mca", "mpi_yield_when_idle", "1", "--mca", "btl", "self,vader,tcp"]


def bare_epoch(data: Dataset, scaler: Scaler) -> float:
    """CPU seconds of one epoch of plain torch on batches that are ready in memory."""
    torch.manual_seed(0)
    model = build(MODEL, Shape(7, 3, 2)).train()
    task = tasks.build(TASK, CLASSES)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    indices = data.indices("train")
    source = BatchSource(data, scaler, indices)
    steps = rank_steps(indices, seed=1, epoch=0, batch=BATCH, pieces=1)
    ready = [source(piece.jets) for step in steps for piece in step.mine]
    start = time.process_time()
    for batch in ready:
        optimizer.zero_grad()
        loss = task.loss(model(*batch.inputs), batch.labels_B, batch.weights_B) / len(batch.labels_B)
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
    indices = data.indices("train")
    train = Split(indices, BatchSource(data, scaler, indices))
    trainer._steps = steps_per_epoch(len(indices), BATCH)
    start = time.process_time()
    trainer._run_steps(train)
    return time.process_time() - start


def throughput(toy: tuple[Path, Path], folder: Path, backend: str, ranks: int) -> tuple[float, float]:
    """Jets per second and share of time waiting for data, of the later epochs of a training in its own processes."""
    spec = train_spec(MODEL, backend=backend, batch_size=BATCH * ranks, ranks=ranks, epochs=4)
    command = [*(MPIRUN if ranks > 1 else []), sys.executable, "-m", "bunchtrain", "train", "--spec", as_text(spec)]
    command += ["--dataset", str(toy[0]), "--scaler", str(toy[1]), "--out", str(folder)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
    rows = json.loads((folder / "history.json").read_text())["rows"][1:]
    speeds, waits = ([row[name] for row in rows] for name in ("jets_per_second", "waiting_for_data"))
    return statistics.median(speeds), statistics.median(waits)


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        toy = toy_dataset(folder, jets=3000)
        data, scaler = Dataset(toy[0]), Scaler.load(toy[1])
        pairs = [(bare_epoch(data, scaler), our_epoch(data, scaler, folder)) for _ in range(REPEATS)]
        bare, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
        found: dict[tuple[str, int], list[tuple[float, float]]] = {}
        for repeat in range(REPEATS):
            for backend, ranks in (("serial", 1), ("horovod", 2), ("ddp", 2)):
                result = throughput(toy, folder / f"{backend}{repeat}", backend, ranks)
                found.setdefault((backend, ranks), []).append(result)
    speed = {key: statistics.median(value for value, _ in rows) for key, rows in found.items()}
    waiting = max(wait for rows in found.values() for _, wait in rows)
    one = speed["serial", 1]

    def ratio(of: tuple[str, int], to: tuple[str, int]) -> float:
        """Compare what ran one after the other, repeat by repeat: the machine's own speed drifts."""
        return statistics.median(a / b for (a, _), (b, _) in zip(found[of], found[to], strict=True))

    rows = [
        (f"{backend}, {ranks} rank(s)", f"{value:.0f}", f"{value / one / ranks:.2f}")
        for (backend, ranks), value in speed.items()
    ]
    table(("training", "jets/s", "efficiency"), rows)
    table(
        ("one epoch", "CPU s"), [("bare torch, batches in memory", f"{bare:.2f}"), ("bunchtrain's loop", f"{ours:.2f}")]
    )
    conclude(
        [
            Mark("loop_overhead", statistics.median(b / a for a, b in pairs) - 1, 0.03, at_least=False),
            Mark("efficiency_horovod_2_ranks", ratio(("horovod", 2), ("serial", 1)) / 2, 0.85),
            Mark("horovod_over_ddp", ratio(("horovod", 2), ("ddp", 2)), 1.0),
            Mark("waiting_for_data", waiting, 0.05, at_least=False),
        ]
    )


if __name__ == "__main__":
    main()
