"""One shard of probes of a magnet's field.

The magnet follows from the campaign's seed and the sample's name, the same for all shards; places and noise of the
probes from the shard, too.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunchtrain.config.magnet import WITHIN, Magnet
from bunchtrain.config.specs import SimulateSpec
from bunchtrain.provenance import versions_of
from bunchtrain.simulate import coils
from bunchtrain.simulate.generator import detector_seed, run_number
from bunchtrain.simulate.rootfile import METADATA, new_file

Array = NDArray[np.float64]

TREE = "responses"

#: The correction coil: its axis, its place in radii and half lengths of the magnet, and its radius in theirs.
_AXIS, _ASIDE, _BEYOND, _SIZE = (0.6, 0.2, 1.0), 0.5, 1.6, 0.8


def magnet(settings: Magnet, random: np.random.Generator) -> coils.Wires:
    """Return the wires, with currents that make the field in the middle as strong as it should be."""
    parts = []
    for z in np.linspace(-0.5, 0.5, settings.coils) * settings.length:
        shift_3, tilt_2 = np.clip(random.normal(size=3), -WITHIN, WITHIN), random.normal(size=2)
        axis = np.array([*(settings.tilt * np.clip(tilt_2, -WITHIN, WITHIN)), 1.0])
        centre = np.array([0, 0, z]) + settings.shift * shift_3
        parts.append(coils.coil(centre, axis, settings.radius, settings.segments))
    if settings.correction:
        centre = np.array([_ASIDE * settings.radius, 0, _BEYOND * settings.length / 2])
        size = _SIZE * settings.radius
        parts.append(coils.coil(centre, np.array(_AXIS), size, settings.segments, settings.correction))
    wires = coils.joined(parts)
    middle = np.linalg.norm(coils.field(wires, np.zeros((1, 3))))
    return wires._replace(currents_S=wires.currents_S * settings.central_field / middle)


def places(settings: Magnet, number: int, random: np.random.Generator) -> Array:
    """Return places, even in the volume, as float32 has them, [number, 3]."""
    radius, turn, along = random.random((3, number))
    radius, turn = settings.probe_radius * np.sqrt(radius), 2 * np.pi * turn
    found = np.stack([radius * np.cos(turn), radius * np.sin(turn), settings.probe_length * (along - 0.5)], 1)
    return found.astype(np.float32).astype(np.float64)


def fill(spec: SimulateSpec, path: Path) -> dict[str, Any]:
    """Write the probes of one shard to `path` and return the metadata."""
    settings, started = spec.settings.magnet or Magnet(), time.monotonic()
    seeds = np.random.SeedSequence(detector_seed(spec)).spawn(2)
    where, noise = (np.random.default_rng(one) for one in seeds)
    wires = magnet(settings, np.random.default_rng(run_number(spec) - spec.shard))
    par = places(settings, spec.jets, where)
    true = coils.field(wires, par)
    quantities = true + settings.noise * settings.central_field * noise.normal(size=true.shape)
    columns: dict[str, NDArray[Any]] = {
        "run_number": np.full(spec.jets, run_number(spec), np.uint64),
        "event": np.arange(spec.jets, dtype=np.uint64),
        "weight": np.ones(spec.jets, np.float32),
        "par": par.astype(np.float32),
        "quantities": quantities.astype(np.float32),
        "true": true.astype(np.float32),
    }
    metadata = _about(spec, settings)
    with new_file(path, run_number(spec)) as file:
        kinds = {name: np.dtype((one.dtype, one.shape[1:])) for name, one in columns.items()}
        file.mktree(TREE, kinds, title="one entry per probe; mm, T").extend(columns)
        file[METADATA] = json.dumps(metadata, sort_keys=True)
    took = time.monotonic() - started
    print(f"[simulate] {spec.sample} shard {spec.shard} (field): {spec.jets} probes in {took:.1f} s", flush=True)
    return metadata


def _about(spec: SimulateSpec, settings: Magnet) -> dict[str, Any]:
    return {
        "generator": "bunchtrain, law of Biot and Savart for straight wires",
        "versions": versions_of("bunchtrain", "numpy", "uproot"),
        "process": spec.process,
        "sample": spec.sample,
        "shard": spec.shard,
        "run_number": run_number(spec),
        "seed": detector_seed(spec),
        "probes": spec.jets,
        "events": spec.jets,
        "sum_of_weights": float(spec.jets),
        "settings": {"magnet": settings.model_dump(mode="json")},
    }
