"""Charged particles in a solenoid: exact circles across the beam, so helices.

The field points along +z: a positive particle turns clockwise, seen against the beam direction z. The perigee is the
point of the circle closest to the reference, and d0 its distance, positive if the reference lies to the right of the
flight direction: the perigee is at (-d0 sin φ, d0 cos φ), as in ATLAS and CMS.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bunchtrain.events.hitgraph import BEND

Floats = NDArray[np.float64]


class Perigee(NamedTuple):
    """Parameters at the point of closest approach: mm, mm, rad; `arc` (mm) is the way from there across the beam."""

    d0: Floats
    z0: Floats
    phi: Floats
    arc: Floats


def curvature(charge: ArrayLike, pt: ArrayLike, field: float) -> Floats:
    """Return dφ/ds (1/mm) of particles: their charge (e), pt (GeV) and the field (T)."""
    return -np.asarray(charge, np.float64) * BEND * field / np.asarray(pt, np.float64)


def perigee(x: ArrayLike, y: ArrayLike, z: ArrayLike, phi: ArrayLike, cot_theta: ArrayLike, bend: ArrayLike) -> Perigee:
    """Return the perigee, with respect to the origin, of helices through given points.

    With the normal n = (-sin φ, cos φ) and the curvature ω the centre is at P + n/ω. The vector ωP + n = ω·centre
    gives d0 and the direction at the perigee without a difference of large numbers, and for ω = 0 the straight line.

    Parameters
    ----------
    x, y, z : array_like
        A point of each, mm.
    phi : array_like
        Direction there, rad.
    cot_theta : array_like
        Cotangent of the polar angle.
    bend : array_like
        Curvature, 1/mm, from `curvature`.
    """
    x, y, z, phi, cot_theta, bend = (np.asarray(one, np.float64) for one in (x, y, z, phi, cot_theta, bend))
    cos, sin = np.cos(phi), np.sin(phi)
    along, across = x * cos + y * sin, y * cos - x * sin
    squared = x**2 + y**2
    norm = np.sqrt(np.maximum(1 + 2 * bend * across + bend**2 * squared, 0))
    d0 = (bend * squared + 2 * across) / (1 + norm)
    turn = np.arctan2(bend * along, 1 + bend * across)
    bent = np.abs(turn) > 1e-9
    straight = along / np.maximum(norm, 1e-12)
    arc = np.where(bent, turn / np.where(bent, bend, 1.0), straight)
    return Perigee(d0, z - arc * cot_theta, _wrapped(phi - turn), arc)


def approach(tracks: Perigee, cot_theta: ArrayLike, bend: ArrayLike, x: Floats, y: Floats, z: Floats) -> Perigee:
    """Return the perigee of helices, given theirs to the origin, with respect to other points (mm)."""
    px, py = -tracks.d0 * np.sin(tracks.phi), tracks.d0 * np.cos(tracks.phi)
    return perigee(px - x, py - y, tracks.z0 - z, tracks.phi, cot_theta, bend)


def _wrapped(angle: Floats) -> Floats:
    """Return angles in [-π, π)."""
    return (angle + np.pi) % (2 * np.pi) - np.pi
