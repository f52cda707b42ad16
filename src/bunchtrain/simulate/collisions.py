"""One shard of events: inelastic collisions of a bunch crossing, their charged particles, and the hits they leave.

An event has one collision of its own and a Poisson number of further ones, of mean `simulate.pileup`, drawn from a
pool as for jets. Each collision lies elsewhere in the beam spot.

e: events of a batch, n: their particles.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bunchtrain.config.barrel import Barrel
from bunchtrain.config.simulate import Simulate
from bunchtrain.config.specs import SimulateSpec
from bunchtrain.events.ragged import Columns
from bunchtrain.progress import track
from bunchtrain.simulate.barrel import Hits, hits
from bunchtrain.simulate.eventfile import event_file
from bunchtrain.simulate.generator import Generator, detector_seed, minimum_bias, pythia_seed, run_number
from bunchtrain.simulate.pileup import Pileup
from bunchtrain.simulate.solenoid import Helices

#: Events in memory at a time; of 200 collisions one has 50 000 hits.
_BATCH = 20

#: Collisions of the pool that are made at a time.
_POOL_BATCH = 500

#: Widths of the beam spot within which a collision is taken to lie, when particles that hit nothing are left out.
_WIDTHS = 6

_MOMENTA = ("px", "py", "pz")
_PLACE = ("x", "y", "z")


class Crossings(NamedTuple):
    """A batch of events.

    Attributes
    ----------
    weight : float64 [e]
        Event weights.
    particles : dict
        px, py, pz, mass (GeV), x, y, z (mm, where they are made), charge, id (PDG), hits, and vertex, which counts the
        collisions of an event from 0; each of shape [n]: those with a hit at least.
    counts : int64 [e]
        Particles of each event; they add up to n.
    hits : Hits
        Of all events; `particle` is a place in `particles`.
    """

    weight: NDArray[np.float64]
    particles: Columns
    counts: NDArray[np.int64]
    hits: Hits


def fill(spec: SimulateSpec, path: Path) -> dict[str, Any]:
    """Write the events of one shard to `path` and return the metadata."""
    source = Source(spec)
    total: dict[str, Any] = {"events": 0, "sum_of_weights": 0.0, "hits": 0}
    with event_file(path, run_number(spec)) as file:
        batches = source.batches(spec.jets)
        for batch in track(batches, spec.jets, f"simulate {spec.sample}", lambda batch: len(batch.weight)):
            file.write(batch, total["events"])
            total["events"] += len(batch.weight)
            total["sum_of_weights"] += float(batch.weight.sum())
            total["hits"] += len(batch.hits.x)
        metadata = {**_about(spec), **source.generator.facts(), **total}
        file.describe(metadata)
    found = f"{total['events']} events with {total['hits']} hits"
    print(f"[simulate] {spec.sample} shard {spec.shard} ({spec.process}): {found}", flush=True)
    return metadata


def _about(spec: SimulateSpec) -> dict[str, Any]:
    about = {"process": spec.process, "sample": spec.sample, "shard": spec.shard, "run_number": run_number(spec)}
    return {**about, "settings": spec.settings.model_dump(mode="json")}


class Source:
    """Where the events of one shard come from.

    Parameters
    ----------
    spec : SimulateSpec
        What the shard is to hold.
    """

    def __init__(self, spec: SimulateSpec) -> None:
        self.barrel = spec.settings.barrel or Barrel()
        self._settings = spec.settings
        seed = pythia_seed(spec)
        self.generator = Generator(spec, seed, minimum_bias(spec.settings, seed))
        self._random = np.random.default_rng(detector_seed(spec))
        self._pileup = Pileup(spec, self._pool(spec.settings)) if spec.settings.pileup > 0 else None

    def _pool(self, settings: Simulate) -> tuple[Columns, NDArray[np.int64]]:
        """Return the charged particles of the collisions that pile-up is drawn from, and how many each has."""
        found, pool = [], settings.pileup_pool
        for made in range(0, pool, _POOL_BATCH):
            found.append(self._charged(self.generator.batch(min(_POOL_BATCH, pool - made)).prt))
        columns = {name: np.concatenate([one[name] for one, _ in found]) for name in found[0][0]}
        return columns, np.concatenate([counts for _, counts in found])

    def batches(self, events: int) -> Iterator[Crossings]:
        """Yield so many events, a batch at a time."""
        while events > 0:
            batch = self.generator.batch(min(_BATCH, events))
            events -= len(batch)
            weight = np.asarray(batch.info.weights[:, 0], np.float64)
            yield self._seen(weight, *self._together(*self._charged(batch.prt)))

    def _charged(self, particles: Any) -> tuple[Columns, NDArray[np.int64]]:
        """Return the stable charged particles that may reach a layer, and how many each collision has."""
        import awkward as ak

        pt = np.hypot(particles.p.px, particles.p.py)
        far = self.barrel.half_length + _WIDTHS * self.barrel.beam_spot_z
        kept = particles.status > 0
        kept = kept & (pt > self.barrel.pt_min) & (abs(particles.p.pz) < pt * far / self.barrel.radii[0])
        chosen = particles[kept]
        charge = self.generator.charges(ak.to_numpy(ak.flatten(chosen.id)))
        counts = ak.num(chosen.id)
        chosen = chosen[ak.unflatten(charge != 0, counts)]
        flat = ak.flatten(chosen)
        columns = {name: ak.to_numpy(flat.p[name]) for name in _MOMENTA}
        columns |= {place: _places(flat.vProd, name) for place, name in zip(_PLACE, _MOMENTA, strict=True)}
        columns |= {"mass": ak.to_numpy(flat.m), "id": ak.to_numpy(flat.id), "charge": charge[charge != 0]}
        columns["vertex"] = np.zeros(len(flat), np.int32)
        return columns, ak.to_numpy(ak.num(chosen.id)).astype(np.int64)

    def _together(self, own: Columns, counts: NDArray[np.int64]) -> tuple[Columns, NDArray[np.int64]]:
        """Return the particles of all collisions of each event, moved into the beam spot, and each one's event."""
        event = np.repeat(np.arange(len(counts)), counts)
        if self._pileup is not None:
            others, more = self._pileup.columns(len(counts))
            event = np.concatenate([event, np.repeat(np.arange(len(counts)), more)])
            order = np.argsort(event, kind="stable")
            event = event[order]
            own = {name: np.concatenate([values, others[name]])[order] for name, values in own.items()}
        widths = (self.barrel.beam_spot_xy, self.barrel.beam_spot_xy, self.barrel.beam_spot_z)
        collisions = int(own["vertex"].max(initial=0)) + 1
        places = self._random.normal(size=(len(counts), collisions, 3)) * widths
        own |= {name: own[name] + places[event, own["vertex"], i] for i, name in enumerate(_PLACE)}
        return own, event

    def _seen(self, weight: NDArray[np.float64], particles: Columns, event: NDArray[np.int64]) -> Crossings:
        """Return the events with their hits, and the particles that have one."""
        tracks = Helices(*(particles[name].astype(np.float64) for name in (*_PLACE, *_MOMENTA, "charge", "mass")))
        found = hits(tracks, event, len(weight), self.barrel, self._random)
        number = np.bincount(found.particle[found.particle >= 0], minlength=len(event))
        kept = number > 0
        place = np.append(np.cumsum(kept) - 1, -1)  # the last stands for noise
        counts = np.bincount(event[kept], minlength=len(weight)).astype(np.int64)
        columns = {name: values[kept] for name, values in {**particles, "hits": number}.items()}
        seen = Hits(found.event, found.layer, place[found.particle], found.x, found.y, found.z)
        return Crossings(weight, columns, counts, seen)


def _places(vertices: Any, name: str) -> NDArray[np.float64]:
    """Return where particles are made along one axis, mm; at the collision where Pythia says nothing."""
    import awkward as ak

    values: NDArray[np.float64] = ak.to_numpy(ak.fill_none(vertices[name], 0.0))
    return values
