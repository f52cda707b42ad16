"""Our edge convolution and particle transformer beside weaver-core's ParticleNet and ParT: accuracy and throughput.

One generated sample of top and QCD jets, equal epochs, batches and optimizer, several seeds. The peers have the sizes
that their classes have by default and see the same node features and momenta; they are installed into an environment of
their own, under the cache folder.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from bunchtrain.config.specs import as_text
from bunchtrain.discrimination import Scores
from bunchtrain.events.reader import Dataset
from bunchtrain.events.scaling import Scaler
from bunchtrain.models.base import load_model
from marks import Mark, conclude, table
from toys import train_spec

CACHE = Path(os.environ.get("BUNCHTRAIN_CACHE") or Path.home() / ".cache/bunchtrain")
SEEDS = range(max(2, int(os.environ.get("BUNCHTRAIN_BENCH_SEEDS", "5"))))  # errors need two
EPOCHS, BATCH, RATE, DECAY = 3, 128, 1e-3, 1e-4
#: Training jets of both classes together.
JETS = 5000
#: Our kinds of networks, and their peers.
PEERS = {"edgeconv": "ParticleNet", "transformer": "ParT"}

PEER = """
import json, sys, time, numpy as np, torch
from weaver.nn.model.ParticleNet import ParticleNet
from weaver.nn.model.ParticleTransformer import ParticleTransformer
name, data, out = sys.argv[1:4]
seed, epochs, batch = (int(x) for x in sys.argv[4:7])
rate, decay = (float(x) for x in sys.argv[7:9])
torch.set_num_threads(1)
torch.manual_seed(seed)
parts = {key: torch.from_numpy(value) for key, value in np.load(data).items()}

def inputs(split):
    points, nodes, momenta, mask = (parts[f"{split}_{key}"] for key in ("points", "nodes", "momenta", "mask"))
    return points.mT.contiguous(), nodes.mT.contiguous(), momenta.mT.contiguous(), mask[:, None].float()

train, test, labels = inputs("train"), inputs("test"), parts["train_labels"]
if name == "ParticleNet":
    model = ParticleNet(input_dims=train[1].shape[1], num_classes=2)
    call = lambda points, nodes, momenta, mask: model(points, nodes, mask)
else:
    model = ParticleTransformer(input_dim=train[1].shape[1], num_classes=2)
    call = lambda points, nodes, momenta, mask: model(nodes, v=momenta, mask=mask)
optimizer = torch.optim.AdamW(model.parameters(), rate, weight_decay=decay)
speeds = []
for epoch in range(epochs):
    model.train()
    order, start = torch.randperm(len(labels)), time.perf_counter()
    for first in range(0, len(order), batch):
        rows = order[first : first + batch]
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(call(*(x[rows] for x in train)), labels[rows])
        loss.backward()
        optimizer.step()
    speeds.append(len(order) / (time.perf_counter() - start))
model.eval()
scores = []
with torch.no_grad():
    for first in range(0, len(test[0]), 512):
        scores.append(call(*(x[first : first + 512] for x in test)).softmax(1)[:, 1])
weights = sum(p.numel() for p in model.parameters())
json.dump({"scores": torch.cat(scores).tolist(), "speeds": speeds, "weights": weights}, open(out, "w"))
"""


def sample(folder: Path) -> tuple[Path, Path]:
    """Generate and prepare the jets; return the paths of index and scaler."""
    shards = -(-JETS // 2 // 1000)
    campaign = {
        "name": "models",
        "output": "models",
        "seed": 5,
        "samples": {
            name: {"label": name, "generate": {"process": name, "shards": shards + 2, "jets_per_shard": 1000}}
            for name in ("qcd", "top")
        },
        "simulate": {"radius": 0.8, "pt_min": 500, "pt_max": 1000, "eta_max": 2.0},
        "prepare": {"split": {"train": 0.6, "validation": 0.05, "test": 0.35}, "constituents": 40},
        "task": {"kind": "jet_tagging", "signal": "top", "background": "qcd"},
        "model": {"kind": "edgeconv"},
    }
    (folder / "models.yaml").write_text(yaml.safe_dump(campaign))
    command = ["bunchtrain", "campaign", "run", "models.yaml", "--until", "prepare", "--cores", "2"]
    subprocess.run(command, cwd=folder, check=True, stdout=sys.stderr)
    return folder / "models/prepare/dataset.h5", folder / "models/prepare/scaler.json"


def peer_python() -> Path:
    """Return the interpreter of the peers' environment, made if need be."""
    place = CACHE / "peers" / "weaver"
    python = place / "bin/python"
    if not (place / "ready").exists():
        version = torch.__version__.split("+")[0]
        subprocess.run([sys.executable, "-m", "venv", "--clear", place], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", f"torch=={version}", "numpy"], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", "weaver-core"], check=True)
        (place / "ready").touch()
    return python


def exported(data: Dataset, scaler: Scaler, folder: Path) -> dict[str, Any]:
    """Write what the peers see; return it."""
    arrays: dict[str, Any] = {}
    for split in ("train", "test"):
        indices = data.indices(split)[: JETS if split == "train" else None]
        features = scaler(data.features(indices))
        px, py, pz, _ = np.moveaxis(features.momenta_BP4, -1, 0)
        eta = np.arcsinh(pz / np.maximum(np.hypot(px, py), 1e-6))
        arrays |= {
            f"{split}_points": np.stack([eta, np.arctan2(py, px)], -1),
            f"{split}_nodes": features.nodes_BPF,
            f"{split}_momenta": features.momenta_BP4,
            f"{split}_mask": features.mask_BP,
            f"{split}_labels": data.column("label", indices).astype(np.int64),
        }
    np.savez(folder / "jets.npz", **arrays)
    return arrays


def ours(name: str, seed: int, paths: tuple[Path, Path], folder: Path) -> dict[str, Any]:
    """Train one of our networks as a campaign does; return its scores of the test jets, its speed and size."""
    settings = {"batch_size": BATCH, "epochs": EPOCHS, "patience": EPOCHS, "max_jets": JETS}
    # The same course as the peers': a campaign's own rises and falls.
    course = {"learning_rate": RATE, "weight_decay": DECAY, "schedule": "constant", "warmup_epochs": 0}
    spec = train_spec({"kind": name}, seed=seed, backend="serial", **settings, **course)
    out = folder / f"{name}-{seed}"
    command = [sys.executable, "-m", "bunchtrain", "train", "--spec", as_text(spec), "--dataset", str(paths[0])]
    command += ["--scaler", str(paths[1]), "--out", str(out)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    model, card = load_model(out)
    data, scaler = Dataset(paths[0]), Scaler(**card["scaler"])
    scores = []
    indices = data.indices("test")
    for start in range(0, len(indices), 512):
        features = scaler(data.features(indices[start : start + 512]))
        with torch.no_grad():
            scores += model(*map(torch.from_numpy, features)).graph_BC.softmax(1)[:, 1].tolist()
    rows = json.loads((out / "history.json").read_text())["rows"]
    weights = sum(p.numel() for p in model.parameters())
    return {"scores": scores, "speeds": [row["jets_per_second"] for row in rows], "weights": weights}


def peer(name: str, seed: int, folder: Path) -> dict[str, Any]:
    """Train a peer."""
    out = folder / f"{PEERS[name]}-{seed}.json"
    numbers = [str(x) for x in (seed, EPOCHS, BATCH, RATE, DECAY)]
    command = [peer_python(), "-c", PEER, PEERS[name], folder / "jets.npz", out, *numbers]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def figures(results: list[dict[str, Any]], labels: Any) -> dict[str, tuple[float, float]]:
    """Return mean over seeds and its error of AUC, rejection at 50 % and jets per second."""
    rows = []
    for result in results:
        values = np.asarray(result["scores"])
        scores = Scores(values[labels == 1], values[labels == 0])
        rows.append((scores.auc(), scores.rejection(0.5)["rejection"], statistics.median(result["speeds"])))
    columns = zip(*rows, strict=True)
    names = ("auc", "rejection", "speed")
    spread = [(statistics.mean(x), statistics.stdev(x) / math.sqrt(len(x))) for x in columns]
    return dict(zip(names, spread, strict=True))


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        paths = sample(folder)
        labels = exported(Dataset(paths[0]), Scaler.load(paths[1]), folder)["test_labels"]
        peer_python()
        jobs: dict[str, Callable[[int], dict[str, Any]]] = {}
        for name in PEERS:
            jobs[name] = lambda seed, name=name: ours(name, seed, paths, folder)
            jobs[PEERS[name]] = lambda seed, name=name: peer(name, seed, folder)
        with ThreadPoolExecutor(2) as pool:  # one thread each, two at a time: all have the same company
            started = {(name, seed): pool.submit(job, seed) for seed in SEEDS for name, job in jobs.items()}
            found = {name: [started[name, seed].result() for seed in SEEDS] for name in jobs}
    rows, marks = [], []
    all_figures = {name: figures(results, labels) for name, results in found.items()}
    for name, one in all_figures.items():
        shown = [f"{one['auc'][0]:.4f} ± {one['auc'][1]:.4f}", f"{one['rejection'][0]:.0f} ± {one['rejection'][1]:.0f}"]
        rows.append((name, found[name][0]["weights"], *shown, f"{one['speed'][0]:.0f}"))
    course = f"{EPOCHS} epochs of {BATCH} jets a step, AdamW at {RATE}, weight decay {DECAY}"
    print(f"{JETS} training jets, {course}, {len(SEEDS)} seeds\n")
    table(("network", "weights", "AUC", "1/ε_B at ε_S = 50 %", "jets/s of training, one core"), rows)
    for name, other in PEERS.items():
        mine, theirs = all_figures[name], all_figures[other]
        for key in ("auc", "rejection"):
            error = math.hypot(mine[key][1], theirs[key][1])
            marks.append(Mark(f"{name}_{key}_less_{other}_in_errors", (mine[key][0] - theirs[key][0]) / error, -2))
        marks.append(Mark(f"{name}_over_{other}_throughput", mine["speed"][0] / theirs["speed"][0], 1.3))
    conclude(marks)


if __name__ == "__main__":
    main()
