"""One shard of electromagnetic showers in a calorimeter of cells.

A particle is an electron or a photon. Dead material, of what the calorimeter is made of, lies directly before the front
face; there the shower starts, a photon's after an exponential depth. What is deposited before the front face, behind or
beside the cells is lost; deposits and what is lost add up to the energy of the particle.

n: showers, t: steps of depth, s: spots.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bunchtrain.calorimeter import Geometry, readout
from bunchtrain.config.calorimeter import Calorimeter
from bunchtrain.config.specs import SimulateSpec
from bunchtrain.progress import track
from bunchtrain.provenance import versions_of
from bunchtrain.simulate import electromagnetic
from bunchtrain.simulate.electromagnetic import CONVERSION, Medium
from bunchtrain.simulate.generator import detector_seed, run_number
from bunchtrain.simulate.showerfile import shower_file

Array = NDArray[np.float64]

#: Length of a step of depth, radiation lengths.
_STEP = 0.25

#: Depth, in radiation lengths, at which no shower has anything left.
_END = 120.0

#: Spots, or cells, in memory at a time, and most showers.
_SPOTS, _SHOWERS = 1_500_000, 250


class Particles(NamedTuple):
    """What enters, as the file has it (`par`, rounded to float32), each [n].

    Attributes
    ----------
    ln_energy : float
        Logarithm of the energy in GeV.
    x, y : float
        Where the particle meets the front face if it comes from the nominal vertex, cm.
    theta, phi : float
        Its direction, rad.
    dead_material : float
        Thickness in front of the calorimeter, radiation lengths.
    is_photon : float
        1 for photons, 0 for electrons.
    noise : float
        Of the readout, GeV.
    vertex : float
        How much farther before the front face than the nominal vertex it starts, mm.
    stochastic_term : float
        Of the readout: its resolution at 1 GeV.
    """

    ln_energy: Array
    x: Array
    y: Array
    theta: Array
    phi: Array
    dead_material: Array
    is_photon: Array
    noise: Array
    vertex: Array
    stochastic_term: Array

    @property
    def energy(self) -> Array:
        """In GeV."""
        return np.exp(self.ln_energy)

    @property
    def impact(self) -> tuple[Array, Array]:
        """Where the particle meets the front face, x and y in mm: the longer way of a displaced vertex shifts it."""
        shift = self.vertex * np.tan(self.theta)
        return 10 * self.x + shift * np.cos(self.phi), 10 * self.y + shift * np.sin(self.phi)

    def part(self, start: int, stop: int) -> Particles:
        """Return some of them."""
        return Particles(*(one[start:stop] for one in self))


class Showers(NamedTuple):
    """Showers in the calorimeter, GeV.

    Attributes
    ----------
    deposits : float64 [n, layers, rows, columns]
        In the cells.
    lost : float64 [n, 2]
        Before the front face, and behind or beside the cells.
    """

    deposits: Array
    lost: Array


def geometry(settings: Calorimeter) -> Geometry:
    """Return the cells that the settings describe."""
    return Geometry(*(getattr(settings, name) for name in Geometry._fields))


def medium(settings: Calorimeter) -> Medium:
    """Return what the calorimeter is made of."""
    critical = settings.critical_energy * 1e-3
    return Medium(settings.radiation_length, settings.moliere_radius, critical, settings.atomic_number)


def particles(settings: Calorimeter, number: int, random: np.random.Generator) -> Particles:
    """Draw what enters: the energy even in its logarithm, all else even between its ends."""
    drawn = dict(zip(Particles._fields, random.random((len(Particles._fields), number)), strict=True))
    ends = {name: getattr(settings, name) for name in Particles._fields if name not in ("ln_energy", "is_photon")}
    ends |= {"ln_energy": np.log(settings.energy), "x": np.array(settings.x) / 10, "y": np.array(settings.y) / 10}
    for name, (low, high) in ends.items():
        drawn[name] = low + (high - low) * drawn[name]
    drawn["is_photon"] = drawn["is_photon"] < settings.photons
    return Particles(**{name: one.astype(np.float32).astype(np.float64) for name, one in drawn.items()})


def showers(entering: Particles, settings: Calorimeter, random: np.random.Generator) -> Showers:
    """Let showers grow, all at once.

    A photon's shower is that of an electron of its energy, from where the photon converts: an approximation, for the
    two of a pair share the energy.
    """
    cells, stuff = geometry(settings), medium(settings)
    energy, number = entering.energy, len(entering.energy)
    start = np.where(entering.is_photon > 0, random.exponential(CONVERSION, number), 0.0)
    start -= entering.dead_material / np.cos(entering.theta)  # which the axis crosses aslant
    profile = electromagnetic.longitudinal(energy, stuff, random)
    steps = np.linspace(_STEP / 2, _END - _STEP / 2, int(_END / _STEP))
    within = steps[: _reach(entering, cells)]
    share = electromagnetic.shares(profile.maximum, profile.alpha, steps)[:, : len(within)]
    count = electromagnetic.spots(profile, energy, stuff.atomic_number, steps)[:, : len(within)]
    core, tail, inner = electromagnetic.radial(within / profile.scale[:, None], energy, stuff.atomic_number)

    step = np.repeat(np.arange(count.size), count.ravel())
    owner = step // len(within)
    depth = start[owner] + within[step % len(within)] + _STEP * (random.random(len(step)) - 0.5)
    depth *= stuff.radiation_length
    radius = electromagnetic.radii(core.ravel()[step], tail.ravel()[step], inner.ravel()[step], random)
    radius *= stuff.moliere_radius
    place = cells.places(*where_spots_lie(entering, owner, depth, radius, random))
    carried = (energy[:, None] * share / count).ravel()[step]
    bins = cells.cells + 2
    filled = np.bincount(owner * bins + place, carried, number * bins).astype(np.float64)
    return _accounted(filled.reshape(number, bins), energy, cells)


def _reach(entering: Particles, cells: Geometry) -> int:
    """Return how many steps are looked at: what lies deeper is behind the cells."""
    depth = (entering.dead_material + cells.depths[-1]) / np.cos(entering.theta)
    return int(min(np.ceil(depth.max() / _STEP) + 4, _END / _STEP))


def where_spots_lie(
    entering: Particles, owner: NDArray[np.int64], depth: Array, radius: Array, random: np.random.Generator
) -> tuple[Array, Array, Array]:
    """Return x, y, z of spots at `depth` along the axes of their showers and `radius` from them, all mm, each [s].

    Depth counts from where the axis meets the front face.
    """
    sine, cosine = np.sin(entering.theta), np.cos(entering.theta)
    sine_phi, cosine_phi = np.sin(entering.phi), np.cos(entering.phi)
    turn = random.random(len(depth)) * 2 * np.pi
    outwards, across = radius * np.cos(turn), radius * np.sin(turn)
    x, y = entering.impact
    sideways = depth * sine[owner] + outwards * cosine[owner]
    return (
        x[owner] + sideways * cosine_phi[owner] - across * sine_phi[owner],
        y[owner] + sideways * sine_phi[owner] + across * cosine_phi[owner],
        depth * cosine[owner] - outwards * sine[owner],
    )


def _accounted(filled: Array, energy: Array, cells: Geometry) -> Showers:
    """Split sums by cell, [n, cells + 2], as numbers of a float32 file: what no spot carries is lost behind."""
    rounded = filled[:, : cells.cells + 1].astype(np.float32).astype(np.float64)
    behind = np.maximum(energy - rounded.sum(axis=1), 0)
    deposits = rounded[:, :-1].reshape(len(energy), *cells.shape)
    return Showers(deposits, np.stack([rounded[:, -1], behind], axis=1))


def fill(spec: SimulateSpec, path: Path) -> dict[str, Any]:
    """Write the showers of one shard to `path` and return the metadata."""
    settings = spec.settings.calorimeter or Calorimeter()
    started, total = time.monotonic(), {"deposited": 0.0, "lost": 0.0}
    with shower_file(path, run_number(spec), geometry(settings).shape) as file:
        batches = _batches(spec, settings)
        for one in track(batches, spec.jets, f"simulate {spec.sample}", lambda one: len(one[-1])):
            first, entering, made, cells = one
            file.write(first, np.stack(entering, axis=1), cells, made.deposits, made.lost)
            total["deposited"] += float(made.deposits.sum())
            total["lost"] += float(made.lost.sum())
        metadata = {**_about(spec, settings), **total}
        file.describe(metadata)
    took = time.monotonic() - started
    print(f"[simulate] {spec.sample} shard {spec.shard} (showers): {spec.jets} showers in {took:.1f} s", flush=True)
    return metadata


def _about(spec: SimulateSpec, settings: Calorimeter) -> dict[str, Any]:
    return {
        "generator": "bunchtrain, after Grindhammer and Peters, hep-ex/0001020",
        "versions": versions_of("bunchtrain", "numpy", "uproot"),
        "process": spec.process,
        "sample": spec.sample,
        "shard": spec.shard,
        "run_number": run_number(spec),
        "seed": detector_seed(spec),
        "showers": spec.jets,
        "events": spec.jets,
        "sum_of_weights": float(spec.jets),
        "settings": {"calorimeter": settings.model_dump(mode="json")},
    }


def _batches(spec: SimulateSpec, settings: Calorimeter) -> Iterator[tuple[int, Particles, Showers, Array]]:
    """Yield showers and what is read of them, a batch at a time, with the number of the first.

    Particles, showers and readout draw from streams of their own: another noise leaves the showers as they are.
    """
    seeds = np.random.SeedSequence(detector_seed(spec)).spawn(3)
    entering, grown, read = (np.random.default_rng(one) for one in seeds)
    every = particles(settings, spec.jets, entering)
    most = electromagnetic.number_of_spots(np.array(settings.energy[1:]), settings.atomic_number)[0]
    size = int(np.clip(_SPOTS // max(int(most), geometry(settings).cells), 1, _SHOWERS))
    for first in range(0, spec.jets, size):
        some = every.part(first, first + size)
        made = showers(some, settings, grown)
        yield first, some, made, readout(made.deposits, some.stochastic_term, some.noise, read)
