"""Charged particles in a solenoid: exact helices to cylinders around the field's axis, and multiple scattering.

The field points along +z; a particle of charge q and transverse momentum pt turns by k = -0.2998 q B / pt rad per
metre of its way in the transverse plane (B in T, pt in GeV; PDG, Review of Particle Physics, section Particle
Detectors). Lengths in mm, momenta in GeV. Neither energy loss nor nuclear interactions are simulated.

n: particles.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bunchtrain.events.hitgraph import BEND

Array = NDArray[np.float64]

#: Highland's formula: PDG, section Passage of Particles Through Matter, equation 34.16 (2024).
_HIGHLAND_GEV = 0.0136
_HIGHLAND_LOG = 0.038

#: Smallest cosine of the angle between a particle and a layer's normal: the path in a thin layer is bounded.
_GRAZING = 0.05


@dataclass(frozen=True)
class Helices:
    """Particles at a point of their way.

    Attributes
    ----------
    x, y, z : [n]
        Place, mm.
    px, py, pz : [n]
        Momentum, GeV.
    charge : [n]
        Whole numbers of e, not 0.
    mass : [n]
        GeV.
    """

    x: Array
    y: Array
    z: Array
    px: Array
    py: Array
    pz: Array
    charge: Array
    mass: Array

    @property
    def pt(self) -> Array:
        """Transverse momentum, GeV."""
        return np.hypot(self.px, self.py)

    @property
    def radius(self) -> Array:
        """Distance from the axis, mm."""
        return np.hypot(self.x, self.y)

    @property
    def outwards(self) -> Array:
        """Scalar product of place and direction in the transverse plane, mm: above 0 where the distance grows."""
        return (self.x * self.px + self.y * self.py) / self.pt

    def curvature(self, field: float) -> Array:
        """Return the turn of the direction per length in the transverse plane, rad/mm, with its sign."""
        return -self.charge * BEND * field / self.pt

    def take(self, kept: NDArray[np.bool_]) -> Helices:
        """Return the particles where `kept`, bool [n], is true."""
        return Helices(*(getattr(self, name)[kept] for name in self.__dataclass_fields__))


def turn_to(tracks: Helices, radius: float, field: float) -> Array:
    """Return by which angle particles turn until they cross a cylinder from inside, rad [n]; NaN where they do not.

    On a circle of radius R, whose centre is at distance d from the axis, the distance ρ from the axis is
    ρ² = (R - d)² + 4 R d sin²(β / 2), with β the angle from the point that is nearest to the axis. That form keeps its
    digits where R is far larger than ρ.

    Parameters
    ----------
    tracks : Helices
        Where they are.
    radius : float
        Of the cylinder, mm.
    field : float
        T.
    """
    curvature = tracks.curvature(field)
    bend = 1 / np.abs(curvature)
    across = (tracks.x * tracks.py - tracks.y * tracks.px) / tracks.pt
    rho = tracks.radius
    centre = np.sqrt(np.maximum(bend**2 + rho**2 - 2 * across / curvature, 0))
    nearest = (2 * across / curvature - rho**2) / (bend + centre)  # R - d, without the difference of large numbers
    with np.errstate(divide="ignore", invalid="ignore"):
        here = np.arctan2(tracks.outwards / centre, 1 - (rho**2 - nearest**2) / (2 * centre * bend))
        share = (radius**2 - nearest**2) / (4 * centre * bend)
        there = 2 * np.arcsin(np.sqrt(share))  # NaN where the circle stays inside, or begins beyond
        turn = there - here
    return np.where((turn > 0) & (rho < radius), turn, np.nan)


def advanced(tracks: Helices, turn: Array, field: float) -> Helices:
    """Return particles further on their helices, where their direction has turned by `turn`, rad [n]."""
    curvature, pt = tracks.curvature(field), tracks.pt
    signed = np.sign(curvature) * turn
    way = turn / np.abs(curvature)
    chord = way * np.sinc(signed / (2 * np.pi))
    along = _turned(tracks, signed / 2)
    px, py = _turned(tracks, signed)
    x, y, z = tracks.x + chord * along[0] / pt, tracks.y + chord * along[1] / pt, tracks.z + way * tracks.pz / pt
    return Helices(x, y, z, px, py, tracks.pz, tracks.charge, tracks.mass)


def _turned(tracks: Helices, angle: Array) -> tuple[Array, Array]:
    cos, sin = np.cos(angle), np.sin(angle)
    return cos * tracks.px - sin * tracks.py, sin * tracks.px + cos * tracks.py


def highland(momentum: Array, mass: Array, charge: Array, thickness: Array) -> Array:
    """Return the width of the angle, projected on a plane, that multiple scattering gives, rad [n].

    The Gaussian core alone, after Highland as revised by Lynch and Dahl; see the PDG.

    Parameters
    ----------
    momentum, mass : [n]
        GeV.
    charge : [n]
        In e.
    thickness : [n]
        Path in the material, in radiation lengths; 0 scatters nothing.
    """
    beta = momentum / np.hypot(momentum, mass)
    squared = charge**2
    logarithm = np.log(np.maximum(thickness, 1e-30) * squared / beta**2)
    width = _HIGHLAND_GEV / (beta * momentum) * np.abs(charge) * np.sqrt(thickness) * (1 + _HIGHLAND_LOG * logarithm)
    return np.maximum(width, 0)  # the formula is below 0 for what is thinner than any layer


def scattered(tracks: Helices, material: float, random: np.random.Generator) -> Helices:
    """Return particles after a layer that they have just reached; their momentum's size stays as it is.

    Parameters
    ----------
    tracks : Helices
        On the layer.
    material : float
        Its thickness in radiation lengths, at normal incidence.
    random : numpy Generator
        Two normal numbers are drawn for each particle.
    """
    pt = tracks.pt
    momentum = np.hypot(pt, tracks.pz)
    incidence = np.abs(tracks.outwards / tracks.radius) * pt / momentum
    width = highland(momentum, tracks.mass, tracks.charge, material / np.maximum(incidence, _GRAZING))
    azimuthal, polar = random.normal(size=(2, len(pt))) * width * momentum
    # Two directions across the momentum: around the axis, and towards it.
    px = tracks.px - azimuthal * tracks.py / pt + polar * tracks.px * tracks.pz / (pt * momentum)
    py = tracks.py + azimuthal * tracks.px / pt + polar * tracks.py * tracks.pz / (pt * momentum)
    pz = tracks.pz - polar * pt / momentum
    scale = momentum / np.sqrt(px**2 + py**2 + pz**2)
    return Helices(tracks.x, tracks.y, tracks.z, px * scale, py * scale, pz * scale, tracks.charge, tracks.mass)
