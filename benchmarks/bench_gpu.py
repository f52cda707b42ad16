"""Training on a GPU: jets per second and share of the card's peak, by precision, compiled or not, on random jets.

Not a test of the project's speed against others: figures of one machine, for docs/performance.md.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from bunchtrain.events.reader import Dataset
from bunchtrain.events.scaling import Scaler
from bunchtrain.models.base import Shape, build
from bunchtrain.parallel.serial import Parallel
from bunchtrain.tasks import base as tasks
from bunchtrain.train.batches import BatchSource
from bunchtrain.train.optimise import Optimisation
from bunchtrain.train.sampler import rank_steps
from marks import table
from toys import CLASSES, toy_dataset, train_spec

TASK = {"kind": "jet_tagging", "signal": "top", "background": "qcd"}
MODELS = {
    "gnn, hidden 32": {"kind": "gnn", "hidden": 32, "layers": 2, "neighbours": 8, "head": 64},
    "gnn, hidden 256": {"kind": "gnn", "hidden": 256, "layers": 4, "neighbours": 8, "head": 256},
    "deepsets, hidden 256": {"kind": "deepsets", "hidden": 256, "head": 256},
}
#: Dense products of the card, TFLOP/s, from its data sheet: H100 SXM.
PEAK = {"float32": 67.0, "bf16": 989.0, "fp16": 989.0}
BATCH, SECONDS = 4096, 4.0


def measure(
    model: dict, precision: str, compiled: bool, source: BatchSource, device: torch.device
) -> tuple[float, float]:
    """Return jets per second and TFLOP/s of steps of training, data included."""
    settings = train_spec(model, batch_size=BATCH, precision=precision, compile=compiled).settings
    torch.manual_seed(0)
    state = Optimisation(build(model, Shape(7, 3, 2)), tasks.build(TASK, CLASSES), Parallel(), settings, device)
    state.model.train()
    indices = source._indices
    steps = [step for step in rank_steps(indices, seed=1, epoch=0, batch=BATCH, pieces=1) if step.jets == BATCH]

    def run(number: int) -> None:
        step = steps[number % len(steps)]
        state.step(step, [source(piece.jets) for piece in step.mine], 1e-3, 1, number, False)

    flops = 0
    if not compiled:
        with FlopCounterMode(display=False) as counter:
            run(0)
        flops = counter.get_total_flops()
    for number in range(10):
        run(number)
    if device.type == "cuda":
        torch.cuda.synchronize()
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < SECONDS:
        run(count)
        count += 1
    if device.type == "cuda":
        torch.cuda.synchronize()
    seconds = (time.perf_counter() - started) / count
    return BATCH / seconds, flops / seconds / 1e12


def main() -> None:
    """Measure all and print; with an argument, also write JSON there."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        toy = toy_dataset(Path(folder), jets=12_000)
        data, scaler = Dataset(toy[0]), Scaler.load(toy[1])
        source = BatchSource(data, scaler, data.indices("train"), device=device)
        for label, model in MODELS.items():
            eager = 0.0
            for precision in ("float32", "bf16", *(["fp16"] if device.type == "cuda" else [])):
                for compiled in (False, True):
                    speed, teraflops = measure(model, precision, compiled, source, device)
                    eager = eager if compiled else teraflops / speed
                    share = eager * speed / PEAK[precision]
                    row = [label, precision, "compiled" if compiled else "eager", f"{speed:.0f}", f"{share:.2%}"]
                    rows.append(row)
                    print(*row, flush=True)
    print(f"\n{name}, torch {torch.__version__}, {BATCH} jets a step, {data.particles} constituents")
    table(["network", "precision", "mode", "jets/s", "share of peak"], rows)
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(json.dumps({"device": name, "torch": torch.__version__, "rows": rows}))


if __name__ == "__main__":
    main()
