"""Pile-up: further collisions of the same bunch crossing, drawn from a pool of minimum-bias events."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunchtrain.config.simulate import Simulate
from bunchtrain.config.specs import SimulateSpec
from bunchtrain.config.tracks import Tracks
from bunchtrain.events.ragged import Columns, starts, total, within
from bunchtrain.simulate.flavour import PILEUP
from bunchtrain.simulate.generator import Generator, minimum_bias, pileup_seed
from bunchtrain.simulate.jets import visible_particles

#: Minimum-bias events made at a time.
_BATCH = 500


class Pileup:
    """A pool of collisions; each time one is used it is turned by another angle around the beam.

    Making every collision anew would take longer than all else: with a pool, as the experiments have it, a shard makes
    `pileup_pool` of them and uses each many times.

    Parameters
    ----------
    spec : SimulateSpec
        What the shard is to hold.
    pool : tuple, optional
        Particles of collisions, one after the other, by column, and how many each has; without it, what is visible of
        collisions made for the purpose.
    """

    def __init__(self, spec: SimulateSpec, pool: tuple[Columns, NDArray[np.int64]] | None = None) -> None:
        seed = pileup_seed(spec)
        self._mean = spec.settings.pileup
        self._spot = spec.settings.tracks
        self._rng = np.random.default_rng(seed)
        self._places = np.random.default_rng([seed, 1])  # apart: what is drawn of collisions does not depend on tracks
        self._columns, self._sizes = pool or _pool(spec, seed)
        self._starts = starts(self._sizes)[:-1]

    def draw(self, events: int) -> Any:
        """Return the visible particles of the pile-up of so many events: px, py, pz, energy (GeV), id, vertex."""
        import awkward as ak

        parts, counts = self.columns(events)
        return ak.unflatten(ak.zip(parts), counts)

    def columns(self, events: int) -> tuple[Columns, NDArray[np.int64]]:
        """Return the particles of the pile-up of so many events, and how many each event has.

        The number of collisions of an event is a Poisson number; `vertex` counts them from 1.
        """
        collisions = self._rng.poisson(self._mean, events)
        used = self._rng.integers(0, len(self._sizes), collisions.sum())
        angles = self._rng.uniform(0, 2 * np.pi, len(used))
        sizes = self._sizes[used]
        places = within(self._starts[used], sizes)
        parts = {name: values[places] for name, values in self._columns.items()}
        cos, sin = np.repeat(np.cos(angles), sizes), np.repeat(np.sin(angles), sizes)
        for x, y in (("px", "py"), ("x", "y")):
            if x in parts:
                parts[x], parts[y] = cos * parts[x] - sin * parts[y], sin * parts[x] + cos * parts[y]
        if self._spot is not None:
            for name, shift in self._shifts(self._spot, collisions).items():
                parts[name] = parts[name] + np.repeat(shift, sizes)
        numbers = within(np.ones(events, np.int64), collisions)
        parts["vertex"] = np.repeat(numbers, sizes).astype(np.int32)
        return parts, total(sizes, collisions)

    def _shifts(self, spot: Tracks, collisions: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
        """Return where each collision is relative to that of the hard process, mm: both lie in the beam spot."""
        widths = {"x": spot.beam_spot_width, "y": spot.beam_spot_width, "z": spot.beam_spot_length}
        shifts = {}
        for name, width in widths.items():
            primary = self._places.normal(0, width, len(collisions))
            shifts[name] = self._places.normal(0, width, collisions.sum()) - np.repeat(primary, collisions)
        return shifts


def _pool(spec: SimulateSpec, seed: int) -> tuple[dict[str, NDArray[Any]], NDArray[np.int64]]:
    """Return the visible particles of the pool's collisions, one after the other, and how many each has."""
    import awkward as ak

    generator = Generator(spec, seed, minimum_bias(spec.settings, seed))
    found, pool = [], spec.settings.pileup_pool
    for made in range(0, pool, _BATCH):
        batch = visible_particles(generator.batch(min(_BATCH, pool - made)).prt, spec.settings)
        found.append(batch[_reaches(batch, spec.settings)])
    parts = ak.concatenate(found)
    flat = ak.flatten(parts)
    names = [name for name in ak.fields(flat) if name != "vertex"]
    columns = {name: ak.to_numpy(flat[name]) for name in names}
    if "origin" in columns:
        columns["origin"][:] = PILEUP
    return columns, ak.to_numpy(ak.num(parts)).astype(np.int64)


def _reaches(parts: Any, settings: Simulate) -> Any:
    """Return which particles can be in a jet, or in one that takes something from it."""
    return abs(np.arcsinh(parts.pz / np.hypot(parts.px, parts.py))) < settings.eta_max + 2 * settings.radius
