"""The barrel tracking detector: from charged particles to hits, with scattering, resolution, efficiency and noise.

A particle is followed from layer to layer, as long as its distance from the beam grows: what turns back in the field,
beyond the first half turn, leaves no more hits. Every layer scatters, also where it gives no hit. Hits never merge.

n: particles, h: hits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bunchtrain.config.barrel import Barrel
from bunchtrain.simulate.solenoid import Helices, advanced, scattered, turn_to

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Hits:
    """Hits of a batch of events, event after event, in an event by layer and azimuth: their order tells no particle.

    Attributes
    ----------
    event : int64 [h]
        Place of the event in the batch.
    layer : int32 [h]
        From 0, inside out.
    particle : int64 [h]
        Place of the particle among all of the batch; -1: noise.
    x, y, z : float64 [h]
        mm, on the layer's cylinder.
    """

    event: NDArray[np.int64]
    layer: NDArray[np.int32]
    particle: NDArray[np.int64]
    x: Array
    y: Array
    z: Array


def crossings(tracks: Helices, barrel: Barrel, random: np.random.Generator) -> list[tuple[NDArray[np.int64], Helices]]:
    """Return for each layer which particles cross it, int64 [crossing], and they themselves where they do.

    A particle that begins outside a layer does not cross it.
    """
    found = []
    alive = np.arange(len(tracks.x))
    for radius in barrel.radii:
        beyond = tracks.radius >= radius
        turn = turn_to(tracks, radius, barrel.field)
        reached = turn < np.pi  # not where it is NaN
        there = advanced(tracks.take(reached), turn[reached], barrel.field)
        inside = np.abs(there.z) <= barrel.half_length
        place, there = alive[reached][inside], there.take(inside)
        found.append((place, there))
        there = scattered(there, barrel.material, random) if barrel.material else there
        onward = there.outwards > 0
        alive = np.concatenate([alive[beyond], place[onward]])
        tracks = _joined(tracks.take(beyond), there.take(onward))
    return found


def _joined(one: Helices, other: Helices) -> Helices:
    return Helices(*(np.concatenate([getattr(one, n), getattr(other, n)]) for n in one.__dataclass_fields__))


def hits(tracks: Helices, event: NDArray[np.int64], events: int, barrel: Barrel, random: np.random.Generator) -> Hits:
    """Return the hits of a batch of events.

    Parameters
    ----------
    tracks : Helices
        All charged particles of the batch, where they are made.
    event : int64 [n]
        Place of each one's event in the batch.
    events : int
        How many there are.
    barrel : Barrel
        The detector.
    random : numpy Generator
        For scattering, efficiency, resolution and noise.
    """
    parts = []
    for layer, (place, there) in enumerate(crossings(tracks, barrel, random)):
        seen = random.random(len(place)) < barrel.efficiency
        azimuth, z = np.arctan2(there.y, there.x)[seen], there.z[seen]
        azimuth = azimuth + random.normal(size=len(z)) * barrel.resolution_rphi / barrel.radii[layer]
        z = z + random.normal(size=len(z)) * barrel.resolution_z
        parts.append((event[place[seen]], layer, place[seen], azimuth, z))
        owner = np.repeat(np.arange(events), random.poisson(barrel.noise_hits, events))
        azimuth = random.uniform(-np.pi, np.pi, len(owner))
        z = random.uniform(-barrel.half_length, barrel.half_length, len(owner))
        parts.append((owner, layer, np.full(len(owner), -1), azimuth, z))
    return _ordered(parts, np.asarray(barrel.radii))


def _ordered(parts: list[tuple[NDArray[np.int64], int, NDArray[np.int64], Array, Array]], radii: Array) -> Hits:
    """Return hits of all layers, put together and in order."""
    event, particle, azimuth, z = (np.concatenate([one[i] for one in parts]) for i in (0, 2, 3, 4))
    layer = np.repeat(np.array([one[1] for one in parts], np.int32), [len(one[0]) for one in parts])
    azimuth = (azimuth + np.pi) % (2 * np.pi) - np.pi
    order = np.lexsort((azimuth, layer, event))
    radius, azimuth = radii[layer[order]], azimuth[order]
    x, y = radius * np.cos(azimuth), radius * np.sin(azimuth)
    return Hits(event[order], layer[order], particle[order], x, y, z[order])
