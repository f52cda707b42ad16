"""Training on a GPU: jets or events per second and share of the card's peak, by precision, compiled or not.

Not a test of the project's speed against others: figures of one machine, for docs/performance.md. A step is the
training loop's own, its batch made from what is kept on the device, with dropout, and the exchange of a single rank.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from bunchtrain.config.specs import TrainSpec
from bunchtrain.models import base as models
from bunchtrain.parallel.serial import Parallel
from bunchtrain.tasks import base as tasks
from bunchtrain.train import rows
from bunchtrain.train.optimise import Optimisation
from bunchtrain.train.sampler import Step, rank_steps
from graphtoys import toy_dataset as toy_events
from graphtoys import train_spec as events_spec
from marks import table
from toys import toy_dataset as toy_jets
from toys import train_spec as jets_spec

GPU = torch.cuda.is_available()
JETS, BATCH = (40_000, 4096) if GPU else (3000, 512)
EVENTS, PARTICLES, EVENT_BATCH = (64, 400, 16) if GPU else (8, 100, 4)
SECONDS = 1.5
#: Dense products of the card, TFLOP/s, from its data sheet: H100 SXM. float32 is that of the ordinary units.
PEAK = {"float32": 67.0, "bf16": 989.0, "fp16": 989.0}
PRECISIONS = ("float32", "bf16")
#: Networks of jets, as they are by default, and larger; and whether they are compiled here, which takes its time.
MODELS: dict[str, tuple[dict[str, Any], bool]] = {
    "deepsets": ({"kind": "deepsets"}, False),
    "deepsets, wide": ({"kind": "deepsets", "hidden": 512, "head": 512}, True),
    "jedi_linear": ({"kind": "jedi_linear"}, False),
    "interaction": ({"kind": "interaction"}, False),
    "gnn": ({"kind": "gnn"}, True),
    "edgeconv": ({"kind": "edgeconv"}, True),
    "lorentz": ({"kind": "lorentz"}, False),
    "transformer": ({"kind": "transformer"}, True),
}
GRAPHS: dict[str, tuple[dict[str, Any], bool]] = {
    "edge_network": ({"kind": "edge_network"}, False),
    "edge_network, wide": ({"kind": "edge_network", "hidden": 128, "head": 128}, False),
}


class Course:
    """The steps of one training, over and over, as its loop takes them."""

    def __init__(self, seen: rows.Jets | rows.Events, spec: TrainSpec, device: torch.device) -> None:
        task = tasks.build(spec.task, seen.data.classes)
        torch.manual_seed(0)
        network = models.build(spec.model, seen.shape(task.widths))
        self.state = Optimisation(network, task, Parallel(), spec.settings, device)
        self.state.model.train()
        self.weights = sum(p.numel() for p in network.parameters())
        indices, batch = seen.data.indices("train"), spec.settings.batch_size
        self.source = seen.source(indices, (torch.float32, device), spec.settings.padding, task)
        self.steps = [
            step
            for step in rank_steps(indices, seed=1, epoch=0, batch=batch, pieces=1, sizes=self.source.sizes)
            if step.jets == batch
        ]
        self._next: Iterator[tuple[int, Step]] = cycle(enumerate(self.steps))

    def step(self) -> int:
        """Take one step; return its constituents, or edges."""
        number, step = next(self._next)
        packs = [self.source(piece.jets) for piece in step.mine]
        self.state.step(step, packs, 1e-3, 1, number, False, meanwhile=lambda: None, watched=False)
        return sum(batch.constituents for pack in packs for batch in pack)


def settled(device: torch.device) -> float:
    """Return the time once the device has done all it was told to."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def measure(course: Course, device: torch.device) -> tuple[float, float]:
    """Return seconds of a step and constituents, or edges, per second."""
    for _ in range(2 * len(course.steps)):
        course.step()
    started, count, size = settled(device), 0, 0
    while time.perf_counter() - started < SECONDS:
        size += course.step()
        count += 1
    seconds = settled(device) - started
    return seconds / count, size / seconds


def operations(course: Course) -> float:
    """Return the floating-point operations of a step's products, forward and backward, in the mean."""
    with FlopCounterMode(display=False) as counter:
        for _ in course.steps:
            course.step()
    return counter.get_total_flops() / len(course.steps)


def figures(
    name: str, opened: Callable[[], Any], spec: Callable[..., TrainSpec], model: dict, compiled: bool, batch: int
) -> Iterator[list[str]]:
    """Yield the rows of one network."""
    device = torch.device("cuda" if GPU else "cpu")
    for precision in PRECISIONS:
        flops = 0.0
        for compile_ in (False, True) if compiled else (False,):
            started = time.perf_counter()
            course = Course(opened(), spec(model, batch_size=batch, precision=precision, compile=compile_), device)
            flops = flops or operations(course)
            seconds, size = measure(course, device)
            took = time.perf_counter() - started - SECONDS
            mode = f"compiled ({took:.0f} s)" if compile_ else "eager"
            share = flops / seconds / 1e12 / PEAK[precision]
            yield [name, f"{course.weights}", precision, mode, f"{batch / seconds:.0f}", f"{size:.3g}", f"{share:.2%}"]


def main() -> None:
    """Measure all and print; with an argument, also write JSON there."""
    name = torch.cuda.get_device_name() if GPU else "CPU"
    found: list[list[str]] = []
    with tempfile.TemporaryDirectory() as folder:
        jets = toy_jets(Path(folder) / "jets", JETS // 4, constituents=32)
        events = toy_events(Path(folder) / "events", EVENTS, PARTICLES)
        for title, networks, spec, data, task, batch in (
            ("jets", MODELS, jets_spec, jets, "jet_tagging", BATCH),
            ("events", GRAPHS, events_spec, events, "tracking", EVENT_BATCH),
        ):
            print(f"{title}: {batch} a step, {name}, torch {torch.__version__}", flush=True)
            for label, (model, compiled) in networks.items():

                def opened(task=task, model=model, data=data):
                    return rows.opened(task, model["kind"], *data)

                for row in figures(label, opened, spec, model, compiled, batch):
                    print(*row, flush=True)
                    found.append(row)
    print()
    columns = ["network", "weights", "precision", "mode", "rows/s", "constituents or edges/s", "share of peak"]
    table(columns, found)
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(json.dumps({"device": name, "torch": torch.__version__, "rows": found}))


if __name__ == "__main__":
    main()
