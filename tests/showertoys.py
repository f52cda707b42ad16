"""Small samples of showers made from random numbers, for tests of surrogates."""

import json
from pathlib import Path

import numpy as np

from bunchtrain.config.specs import PrepareSpec, TrainSpec
from bunchtrain.events.layout import Column
from bunchtrain.events.ragged import Events
from bunchtrain.events.writer import write_events
from bunchtrain.prepare.run import prepare

SHAPE = (3, 4, 4)
PARAMETERS = {"energy": "log", "x": "linear", "phi": "angle"}
PHYSICS = {"total": "energy", "conserved": "construction", "positive": "construction", "groups": "layer"}


def toy_showers(showers: int, seed: int) -> dict[str, np.ndarray]:
    """Showers that are deeper with their energy, sidewards with x; a share of it is lost. All in equal spots."""
    random = np.random.default_rng([seed, 7])
    energy = np.exp(random.uniform(0, 3, showers))
    x, phi = random.uniform(-1, 1, showers), random.uniform(-np.pi, np.pi, showers)
    depth = np.clip(0.3 + 0.1 * np.log(energy) + random.normal(0, 0.05, showers), 0.05, 0.9)
    layers = np.stack([1 - depth, depth * (1 - depth), depth**2], -1) * 0.9
    places = np.arange(4) - 1.5
    row = np.exp(-((places - 0.3 * np.cos(phi)[:, None]) ** 2))
    column = np.exp(-((places - x[:, None]) ** 2))
    shape = row[:, None, :, None] * column[:, None, None, :] * layers[:, :, None, None]
    shape *= (layers / shape.sum((2, 3)))[:, :, None, None]
    mean = np.concatenate([shape.reshape(showers, -1), np.full((showers, 1), 0.1)], 1)
    spots = random.multinomial(300, mean / mean.sum(1, keepdims=True)) / 300 * energy[:, None]
    return {"energy": energy, "x": x, "phi": phi, "cells": spots[:, :-1], "lost": spots[:, -1]}


def toy_shard(path: Path, showers: int, seed: int) -> Path:
    """Write one shard under the event contract."""
    made = toy_showers(showers, seed)
    cells = int(np.prod(SHAPE))
    layer, row, column = (np.tile(one, showers).astype("i4") for one in np.unravel_index(np.arange(cells), SHAPE))
    columns = {f"showers/{name}": made[name].astype("f4") for name in ("energy", "x", "phi", "lost")}
    columns |= {
        "showers/label": np.zeros(showers, "i4"),
        "showers/weight": np.ones(showers, "f4"),
        "showers/run_number": np.full(showers, seed + 1, "u8"),
        "showers/event_number": np.arange(showers, dtype="u8"),
        "showers/file_id": np.zeros(showers, "i4"),
        "cells/energy": made["cells"].ravel().astype("f4"),
        "cells/layer": layer,
        "cells/row": row,
        "cells/column": column,
    }
    source = {"path": f"{path.stem}.root", "sha256": f"showers-{seed}"}
    attributes = {"sample": "shower", "classes": '["shower"]', "source_files": json.dumps([source])}
    events = Events(columns, {"cells": np.full(showers, cells)})
    more = {f"showers/{name}": Column(name, "f4", "1", name) for name in ("energy", "x", "phi", "lost")}
    more |= {f"cells/{name}": Column(name, "i4", "1", name) for name in ("layer", "row", "column")}
    write_events(path, events, attributes=attributes, layout=more, rows="showers")
    return path


def toy_dataset(folder: Path, showers: int = 600) -> tuple[Path, Path]:
    """Two shards and their preparation; returns index and scaler."""
    folder.mkdir(parents=True, exist_ok=True)
    shards = [toy_shard(folder / f"shower-{seed}.h5", showers, seed) for seed in range(2)]
    settings = {"parameters": PARAMETERS, "quantities": ["lost"]}
    prepare(PrepareSpec(version=1, classes=["shower"], seed=1, settings=settings), shards, folder / "prepare")
    return folder / "prepare/dataset.h5", folder / "prepare/scaler.json"


def train_spec(model: dict, physics: dict | None = None, **settings) -> TrainSpec:
    """Return the spec of a short training."""
    few = {"ranks": 1, "epochs": 3, "batch_size": 64, "tensorboard": False, **settings}
    asked = PHYSICS if physics is None else physics
    return TrainSpec(version=1, seed=1, task={"kind": "calorimeter"}, model=model, settings=few, physics=asked)
