"""Vertices of tracks in a solenoid: batched least squares, and an adaptive fit beside a known primary vertex.

n: fits, t: tracks of each. Arrays of tracks have the shape [n, t], or one that broadcasts to it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from bunchtrain.simulate.helix import Perigee, approach, curvature

Floats = NDArray[np.float64]

#: A vertex is within about so many mm of the beam: what keeps parallel tracks from meeting at infinity.
_LOOSE = 100.0

#: Smaller errors (mm) are taken for this one: beside `_LOOSE` the equations could not be solved.
_FINEST = 1e-4

#: χ² (two degrees of freedom) at which a track belongs to a vertex as much as to none.
CUT = 9.0

#: Temperatures of the annealing: the first lets tracks far away pull.
_TEMPERATURES = (16.0, 4.0, 2.0, 1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Lines:
    """Measured tracks, all float64: parameters at the perigee to the primary vertex (mm, rad), GeV, errors."""

    d0: Floats
    z0: Floats
    phi: Floats
    theta: Floats
    bend: Floats
    pt: Floats
    charge: Floats
    d0_error: Floats
    z0_sin_theta_error: Floats
    phi_error: Floats
    theta_error: Floats

    def at(self, index: object) -> Lines:
        """Return a part of the tracks."""
        return Lines(*(getattr(self, one.name)[index] for one in fields(self)))


def lines(columns: dict[str, Floats], field: float) -> Lines:
    """Return tracks by the fields of the file; the field of the solenoid in T."""
    pt = np.hypot(columns["px"], columns["py"])
    theta = np.arctan2(pt, columns["pz"])
    named = {one: columns[one] for one in ("d0", "d0_error", "z0_sin_theta_error", "phi_error", "theta_error")}
    return Lines(
        **named,
        z0=columns["z0_sin_theta"] / np.sin(theta),
        phi=np.arctan2(columns["py"], columns["px"]),
        theta=theta,
        bend=curvature(columns["charge"], pt, field),
        pt=pt,
        charge=np.asarray(columns["charge"], np.float64),
    )


@dataclass(frozen=True)
class Residuals:
    """Distances of tracks to points in units of their errors, and what they change by per mm that a point moves.

    Attributes
    ----------
    values : ndarray
        Across the beam and along it, shape [n, t, 2].
    slopes : ndarray
        By x, y, z, shape [n, t, 2, 3].
    here : Perigee
        Of the tracks with respect to the points.
    """

    values: Floats
    slopes: Floats
    here: Perigee

    @property
    def chi2(self) -> Floats:
        """χ² of each track, shape [n, t]."""
        return np.asarray(np.sum(self.values**2, axis=-1))


def residuals(tracks: Lines, points: Floats) -> Residuals:
    """Return how far tracks pass from points, [n, 3] in mm.

    The errors grow with the way from the perigee by those of the angles.
    """
    x, y, z = (points[..., None, number] for number in range(3))
    sin, cos = np.sin(tracks.theta), np.cos(tracks.theta)
    here = approach(Perigee(tracks.d0, tracks.z0, tracks.phi, np.zeros(1)), cos / sin, tracks.bend, x, y, z)
    across = np.maximum(np.hypot(tracks.d0_error, here.arc * tracks.phi_error), _FINEST)
    along = np.maximum(np.hypot(tracks.z0_sin_theta_error, here.arc * tracks.theta_error / sin), _FINEST)
    values = np.stack([here.d0 / across, here.z0 * sin / along], axis=-1)
    zero = np.zeros_like(here.d0)
    first = np.stack([np.sin(here.phi), -np.cos(here.phi), zero], axis=-1) / across[..., None]
    second = np.stack([cos * np.cos(here.phi), cos * np.sin(here.phi), zero - sin], axis=-1) / along[..., None]
    return Residuals(values, np.stack([first, second], axis=-2), here)


def step(found: Residuals, weights: Floats, points: Floats) -> tuple[Floats, Floats]:
    """Return the points after one step of Gauss and Newton, [n, 3], and their covariances, mm², [n, 3, 3]."""
    weighted = found.slopes * weights[..., None, None]
    normal = np.einsum("...tri,...trj->...ij", weighted, found.slopes) + np.eye(3) / _LOOSE**2
    gradient = np.einsum("...tri,...tr->...i", weighted, found.values) + points / _LOOSE**2
    covariance = np.linalg.inv(normal)
    return points - np.einsum("...ij,...j->...i", covariance, gradient), covariance


def fit(tracks: Lines, steps: int = 4) -> tuple[Floats, Floats]:
    """Return the vertex of all the tracks of each fit, [n, 3], and its χ², [n]."""
    points = np.zeros((*tracks.d0.shape[:-1], 3))
    everything = np.ones(tracks.d0.shape)
    for _ in range(steps):
        points, _ = step(residuals(tracks, points), everything, points)
    return points, residuals(tracks, points).chi2.sum(axis=-1)


def adaptive(tracks: Lines, allowed: NDArray[np.bool_], seeds: Floats) -> tuple[Floats, Floats, Floats]:
    """Fit one vertex from a seed, beside the primary vertex at the origin.

    The weight of a track is its share in this vertex against the primary one and none,
    w = e(χ²) / (e(χ²) + e(χ²_primary) + e(cut)) with e(χ²) = exp(-χ²/2T), T falling to 1 (R. Frühwirth,
    W. Waltenberger, "Adaptive multi-vertex fitting", CHEP 2004).

    Parameters
    ----------
    tracks : Lines
        Shape [n, t].
    allowed : ndarray of bool
        Which of them may take part, shape [n, t].
    seeds : ndarray
        Where to start, mm, [n, 3].

    Returns
    -------
    points : ndarray
        [n, 3], mm.
    covariances : ndarray
        [n, 3, 3], mm².
    weights : ndarray
        [n, t].
    """
    points, primary = seeds, residuals(tracks, np.zeros_like(seeds)).chi2
    covariance = np.zeros((*seeds.shape, 3))
    for temperature in _TEMPERATURES:
        found = residuals(tracks, points)
        points, covariance = step(found, _shares(found.chi2, primary, allowed, temperature), points)
    return points, covariance, _shares(residuals(tracks, points).chi2, primary, allowed, _TEMPERATURES[-1])


def _shares(chi2: Floats, primary: Floats, allowed: NDArray[np.bool_], temperature: float) -> Floats:
    """Return the weights: one over a sum that cannot underflow."""
    rivals = np.minimum(np.stack([primary, np.full_like(primary, CUT)]), 1e3)
    ratio = np.exp(np.minimum((chi2 - rivals) / (2 * temperature), 500.0)).sum(axis=0)
    return np.where(allowed, 1 / (1 + ratio), 0.0)
