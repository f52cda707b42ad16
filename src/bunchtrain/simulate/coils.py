"""The field of coils: closed polygons of straight wires, by the law of Biot and Savart.

P: place, S: straight wire.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: Places times wires in memory at a time.
_AT_ONCE = 500_000


class Wires(NamedTuple):
    """Straight wires; mm, and currents in a unit of its own.

    Attributes
    ----------
    starts_S3, ends_S3 : float64 [S, 3]
    currents_S : float64 [S]
    """

    starts_S3: Array
    ends_S3: Array
    currents_S: Array


def coil(centre: Array, axis: Array, radius: float, segments: int, current: float = 1.0) -> Wires:
    """Return a regular polygon whose corners lie on a circle about `centre`; the current turns about `axis`."""
    along = axis / np.linalg.norm(axis)
    aside = np.cross(along, [0.0, 1.0, 0.0] if abs(along[1]) < 0.9 else [1.0, 0.0, 0.0])
    aside /= np.linalg.norm(aside)
    turn = np.linspace(0, 2 * np.pi, segments + 1)[:, None]
    corners = centre + radius * (np.cos(turn) * aside + np.sin(turn) * np.cross(along, aside))
    corners[-1] = corners[0]
    return Wires(corners[:-1], corners[1:], np.full(segments, current))


def joined(parts: list[Wires]) -> Wires:
    """Return the wires of several coils."""
    return Wires(*(np.concatenate(one) for one in zip(*parts, strict=True)))


def field(wires: Wires, places_P3: Array) -> Array:
    """Return the field, [P, 3], in units of μ0 / 4π times the unit of current over mm.

    A wire's field is that of Hanson and Hirshman, Phys. Plasmas 9 (2002) 4410, whose form keeps its precision far from
    the wire and near the line that it lies on.
    """
    found = np.empty_like(places_P3)
    step = max(_AT_ONCE // len(wires.currents_S), 1)
    for first in range(0, len(places_P3), step):
        found[first : first + step] = _field(wires, places_P3[first : first + step])
    return found


def _field(wires: Wires, places_P3: Array) -> Array:
    length_S = np.linalg.norm(wires.ends_S3 - wires.starts_S3, axis=1)
    along_S3 = (wires.ends_S3 - wires.starts_S3) / length_S[:, None]
    from_start_PS3 = places_P3[:, None] - wires.starts_S3
    start_PS = np.linalg.norm(from_start_PS3, axis=2)
    end_PS = np.linalg.norm(places_P3[:, None] - wires.ends_S3, axis=2)
    share_PS = length_S / (start_PS + end_PS)
    size_PS = wires.currents_S * 2 * share_PS / ((1 - share_PS**2) * start_PS * end_PS)
    found: Array = np.einsum("ps,psi->pi", size_PS, np.cross(along_S3, from_start_PS3))
    return found
