"""Small events of hits made from random numbers, for tests that need graphs but no generator."""

import json
from pathlib import Path

import numpy as np
import torch

from bunchtrain.config.specs import PrepareSpec, TrainSpec
from bunchtrain.events.hitdata import Graphs, Places, graph_of
from bunchtrain.events.hitgraph import BEND, Windows
from bunchtrain.events.layout import Column, required
from bunchtrain.events.ragged import Events
from bunchtrain.events.writer import write_events
from bunchtrain.prepare.run import prepare

RADII = (30.0, 70.0, 120.0, 180.0, 260.0, 360.0)
GRAPH = {"pt_min": 0.5, "d0_max": 1.0, "z0_max": 100.0, "eta_max": 2.0, "skip": 1, "field": 2.0}


def toy_event(seed: int, particles: int = 8, noise: int = 6) -> dict[str, np.ndarray]:
    """Exact circles from near the beam line through six layers, and noise: columns of hits and particles."""
    random = np.random.default_rng(seed)
    pt, eta, phi = (random.uniform(*bounds, particles) for bounds in ((0.6, 3), (-1.2, 1.2), (-3, 3)))
    radius, charge = pt / (BEND * 2.0), random.choice([-1, 1], particles)
    layer = np.tile(np.arange(len(RADII)), particles)
    owner = np.repeat(np.arange(particles), len(RADII))
    r = np.tile(RADII, particles)
    turned = np.arcsin(r / (2 * radius[owner]))
    angle = phi[owner] - charge[owner] * turned
    z = random.normal(0, 20, particles)[owner] + 2 * radius[owner] * turned * np.sinh(eta[owner])
    extra = random.integers(0, len(RADII), noise)
    layer, r = np.append(layer, extra), np.append(r, np.array(RADII)[extra])
    angle, z = np.append(angle, random.uniform(-3.1, 3.1, noise)), np.append(z, random.uniform(-300, 300, noise))
    owner = np.append(owner, np.full(noise, -1))
    momenta = (pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta))
    places = (r * np.cos(angle), r * np.sin(angle), z)
    columns = {f"hits/{name}": values.astype("f4") for name, values in zip("xyz", places, strict=True)}
    columns |= {"hits/layer": layer.astype("i4"), "hits/particle": owner.astype("i4")}
    return columns | {f"particles/{name}": v.astype("f4") for name, v in zip(("px", "py", "pz"), momenta, strict=True)}


def toy_graph(seed: int, particles: int = 8, noise: int = 6) -> Graphs:
    """The graph of such an event."""
    event = toy_event(seed, particles, noise)
    places = Places(*(event[f"hits/{name}"] for name in "xyz"), event["hits/layer"].astype(np.int64))
    momenta = [event[f"particles/{name}"] for name in ("px", "py", "pz")]
    return graph_of(places, event["hits/particle"].astype(np.int64), momenta, Windows(**GRAPH))


def graph_inputs(graphs: Graphs) -> tuple[torch.Tensor, ...]:
    """What a network sees, float64: features of hits and edges near order 1, and the edges."""
    scales = np.array([100, 1, 100, 1, 3]), np.array([50, 0.1, 50, 0.5, 0.5, 30, 1e-3])
    nodes, features = graphs.nodes / scales[0], graphs.features / scales[1]
    return torch.from_numpy(nodes), torch.from_numpy(features), torch.from_numpy(graphs.edges)


def toy_shard(path: Path, events: list[dict[str, np.ndarray]], run: int = 1, drop: tuple[str, ...] = ()) -> Path:
    """Write a shard of such events, without the columns of `drop`."""
    number = len(events)
    columns = {
        "events/label": np.zeros(number, "i4"),
        "events/weight": np.ones(number, "f4"),
        "events/run_number": np.full(number, run, "u8"),
        "events/event_number": np.arange(number, dtype="u8"),
        "events/file_id": np.zeros(number, "i4"),
    }
    columns |= {name: np.concatenate([event[name] for event in events]) for name in events[0] if name not in drop}
    first = {"hits": "hits/x", "particles": "particles/px"}
    sizes = {name: np.array([len(one[key]) for one in events]) for name, key in first.items()}
    counts = {name: size for name, size in sizes.items() if any(key.startswith(f"{name}/") for key in columns)}
    known = required("events")
    more = {name: Column(name, values.dtype.str[1:], "1", "") for name, values in columns.items() if name not in known}
    source = {"path": f"{path.stem}.root", "sha256": f"{path.stem}-{run}"}
    about = {"sample": "minbias", "classes": json.dumps(["collision"]), "source_files": json.dumps([source])}
    write_events(path, Events(columns, counts), attributes=about, layout=more, rows="events")
    return path


def prepare_spec(**settings) -> PrepareSpec:
    return PrepareSpec(version=1, classes=["collision"], seed=1, settings={"graph": GRAPH, **settings})


def toy_dataset(folder: Path, events: int = 40, particles: int = 8) -> tuple[Path, Path]:
    """Write two shards and their index; return the paths of index and scaler."""
    shards = [
        toy_shard(folder / f"shards/{run}.h5", [toy_event(1000 * run + i, particles) for i in range(events // 2)], run)
        for run in (1, 2)
    ]
    prepare(prepare_spec(), shards, folder / "prepare")
    return folder / "prepare/dataset.h5", folder / "prepare/scaler.json"


def train_spec(model: dict | None = None, seed: int = 1, **settings) -> TrainSpec:
    model = model or {"kind": "edge_network", "hidden": 8, "layers": 1, "head": 8}
    small = {"ranks": 1, "epochs": 2, "batch_size": 4, "learning_rate": 1e-2, "tensorboard": False, **settings}
    return TrainSpec(version=1, seed=seed, task={"kind": "tracking"}, model=model, settings=small)
