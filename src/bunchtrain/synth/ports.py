"""How numbers stand on the core's bus, and which of their bits the pipeline takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bunchtrain.synth.fixedpoint import Fixed


@dataclass(frozen=True)
class Port:
    """One direction of the core's stream: `size` numbers of one format, each in a whole number of bytes.

    Number 0 has the lowest bits. Inputs use the low bits of their bytes; outputs are sign-extended.
    """

    size: int
    form: Fixed

    @property
    def lane(self) -> int:
        """Bits that one number takes on the bus."""
        return -(-self.form.width // 8) * 8

    @property
    def bits(self) -> int:
        """Width of the bus."""
        return self.size * self.lane


@dataclass(frozen=True)
class Place:
    """Where one number stands: its bits in the pipeline's packed word, and those bits on the bus.

    Parameters
    ----------
    start, width : int
        First bit and number of bits in the packed word; no bits for a number that the pipeline does not use.
    low : int
        First of these bits on the bus.
    pad : int
        Bits of the lane below them.
    signed : bool
        Whether the uppermost is a sign.
    """

    start: int
    width: int
    low: int
    pad: int
    signed: bool


def taken(port: Port, fields: Sequence[Any]) -> list[Place]:
    """Return the place of every number of a port.

    Parameters
    ----------
    port : Port
    fields : sequence
        What the pipeline keeps of each number: signed, integer bits, fractional bits.
    """
    places, start = [], 0
    for number, (signed, integer, fraction) in enumerate(fields):
        width, pad = max(int(signed) + integer + fraction, 0), port.form.fractional - fraction
        places.append(Place(start, width, number * port.lane + pad, pad, bool(signed)))
        start += width
    return places
