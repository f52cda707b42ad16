"""Small samples made from random numbers, for tests that need jets but no generator."""

import json
from pathlib import Path

import numpy as np

from bunchtrain.config.specs import PrepareSpec, TrainSpec
from bunchtrain.events.ragged import Events
from bunchtrain.events.writer import write_events
from bunchtrain.prepare.run import prepare

CLASSES = ["qcd", "top"]


def toy_jets(label: int, jets: int, seed: int) -> tuple[dict, dict, np.ndarray]:
    """Jets of one prong (label 0) or three (label 1): jets [N], flat constituents, constituents per jet [N]."""
    random = np.random.default_rng([seed, label])
    counts = random.integers(3, 30, jets)
    total = int(counts.sum())
    jet_of = np.repeat(np.arange(jets), counts)
    width = 0.05 if label == 0 else 0.1
    prongs = random.normal(0, 0.3 if label else 0.02, (jets, 3, 2))
    prong = random.integers(0, 3, total)
    eta, phi = (prongs[jet_of, prong] + random.normal(0, width, (total, 2))).T
    pt = random.exponential(20, total) + 1
    order = np.lexsort((-pt, jet_of))
    eta, phi, pt = eta[order], phi[order], pt[order]
    p4 = np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), pt * np.cosh(eta)], -1).astype("f4")
    sums = np.add.reduceat(p4.astype("f8"), np.concatenate([[0], np.cumsum(counts)[:-1]]), axis=0)
    jet_pt = np.hypot(sums[:, 0], sums[:, 1])
    columns = {
        "pt": jet_pt.astype("f4"),
        "eta": np.arcsinh(sums[:, 2] / jet_pt).astype("f4"),
        "phi": np.arctan2(sums[:, 1], sums[:, 0]).astype("f4"),
        "mass": np.sqrt(np.maximum(sums[:, 3] ** 2 - (sums[:, :3] ** 2).sum(1), 0)).astype("f4"),
        "label": np.full(jets, label, "i4"),
        "weight": np.ones(jets, "f4"),
        "run_number": np.full(jets, seed + 1, "u8"),
        "event_number": (np.arange(jets) // 2).astype("u8"),
        "file_id": np.zeros(jets, "i4"),
    }
    constituents = {name: np.ascontiguousarray(p4[:, place]) for place, name in enumerate(("px", "py", "pz", "energy"))}
    return columns, constituents, counts


def as_events(jets: dict, constituents: dict, counts: np.ndarray) -> Events:
    """Put jets [N] and their constituents under the names of the event contract."""
    columns = {f"jets/{name}": values for name, values in jets.items()}
    columns |= {f"constituents/{name}": values for name, values in constituents.items()}
    return Events(columns, {"constituents": np.asarray(counts)})


def toy_shard(path: Path, label: int, jets: int, seed: int, classes: list[str] = CLASSES) -> Path:
    """Write one shard under the event contract."""
    columns, constituents, counts = toy_jets(label, jets, seed)
    source = {"path": f"{path.stem}.root", "sha256": f"{label}-{seed}"}
    attributes = {"sample": classes[label], "classes": json.dumps(classes), "source_files": json.dumps([source])}
    write_events(path, as_events(columns, constituents, counts), attributes=attributes)
    return path


def prepare_spec(**settings) -> PrepareSpec:
    return PrepareSpec(version=1, classes=CLASSES, seed=1, settings={"constituents": 16, **settings})


def toy_dataset(folder: Path, jets: int = 400, **settings) -> tuple[Path, Path]:
    """Write shards and index, with settings of `prepare`; return the paths of index and scaler."""
    shards = [
        toy_shard(folder / "shards" / f"{label}-{seed}.h5", label, jets, seed) for label in (0, 1) for seed in (0, 1)
    ]
    prepare(prepare_spec(**settings), shards, folder / "prepare")
    return folder / "prepare" / "dataset.h5", folder / "prepare" / "scaler.json"


def train_spec(model: dict | None = None, seed: int = 1, **settings) -> TrainSpec:
    model = model or {"kind": "gnn", "hidden": 8, "layers": 1, "neighbours": 4, "head": 16, "dropout": 0.1}
    small = {
        "ranks": 1,
        "epochs": 2,
        "patience": 5,
        "batch_size": 64,
        "learning_rate": 3e-3,
        "tensorboard": False,
        **settings,
    }
    task = {"kind": "jet_tagging", "signal": "top", "background": "qcd"}
    return TrainSpec(version=1, seed=seed, task=task, model=model, settings=small)
