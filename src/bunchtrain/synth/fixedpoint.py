"""Fixed-point formats: what a core's wires hold, and the same rounding in numpy and in torch.

A format is named as HLS names it: `fixed<8,3>` has 8 bits of which 3, the sign included, stand before the binary point.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: Sums of products are exact in float64 up to this width.
EXACT_BITS = 53


@dataclass(frozen=True)
class Fixed:
    """A fixed-point format.

    Parameters
    ----------
    width : int
        Bits in all.
    integer : int
        Bits before the binary point, the sign included; it may be negative or exceed the width.
    signed : bool
        Two's complement or unsigned.
    rounding : str
        `TRN` cuts towards minus infinity, `RND` rounds to nearest, halves up.
    overflow : str
        `WRAP` keeps the low bits, `SAT` stops at the largest or smallest value.
    """

    width: int
    integer: int
    signed: bool = True
    rounding: str = "TRN"
    overflow: str = "WRAP"

    @classmethod
    def named(cls, text: str) -> Fixed:
        """Return the format of a name that `hls` gave.

        Raises
        ------
        ValueError
            If it is none.
        """
        found = re.fullmatch(r"(u?)fixed<(\d+),(-?\d+),(TRN|RND),(WRAP|SAT)>", text)
        if found is None:
            raise ValueError(f"no fixed-point format: {text}")
        unsigned, width, integer, rounding, overflow = found.groups()
        return cls(int(width), int(integer), not unsigned, rounding, overflow)

    @property
    def fractional(self) -> int:
        """Bits behind the binary point."""
        return self.width - self.integer

    @property
    def step(self) -> float:
        """Distance of neighbouring values."""
        return 2.0**-self.fractional

    @property
    def code_range(self) -> tuple[int, int]:
        """Smallest and largest code, the integer that the bits hold."""
        if self.signed:
            return -(1 << (self.width - 1)), (1 << (self.width - 1)) - 1
        return 0, (1 << self.width) - 1

    @property
    def low(self) -> float:
        """Smallest value."""
        return self.code_range[0] * self.step

    @property
    def high(self) -> float:
        """Largest value."""
        return self.code_range[1] * self.step

    @property
    def hls(self) -> str:
        """The name of the format in an hls4ml configuration."""
        return f"{'' if self.signed else 'u'}fixed<{self.width},{self.integer},{self.rounding},{self.overflow}>"

    @property
    def sign_integer_fraction(self) -> tuple[int, int, int]:
        """Sign bit, integer bits without the sign, fractional bits."""
        return int(self.signed), self.integer - int(self.signed), self.fractional

    def codes(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """Return the codes of values after rounding and overflow, same shape."""
        scaled = np.asarray(values, np.float64) / self.step
        codes = np.floor(scaled + 0.5 if self.rounding == "RND" else scaled)
        low, high = self.code_range
        if self.overflow == "SAT":
            return np.clip(codes, low, high).astype(np.int64)
        return ((codes.astype(np.int64) - low) & ((1 << self.width) - 1)) + low

    def quantize(self, values: NDArray[Any]) -> Array:
        """Return the values that the format holds in place of `values`, same shape."""
        return np.asarray(self.codes(values) * self.step, np.float64)

    def holds(self, values: NDArray[Any]) -> bool:
        """Whether every value is one of the format's own."""
        return bool(np.array_equal(self.quantize(values), np.asarray(values, np.float64)))


def fitted(values: NDArray[Any], width: int, *, signed: bool = True) -> Fixed:
    """Return the saturating format of `width` bits with the smallest mean squared error on `values`."""
    values = np.asarray(values, np.float64)
    largest = float(np.abs(values).max(initial=0.0))
    top = math.floor(math.log2(largest)) + 1 + int(signed) if largest > 0 else int(signed)
    options = [Fixed(width, integer, signed, "RND", "SAT") for integer in range(top + 1, top - 5, -1)]
    errors = [float(np.mean((option.quantize(values) - values) ** 2)) for option in options]
    return options[int(np.argmin(errors))]


def holding(values: NDArray[Any]) -> Fixed:
    """Return the narrowest signed format of at least two bits that holds every one of `values` as it is.

    Raises
    ------
    ValueError
        If one of them is not finite.
    """
    values = np.asarray(values, np.float64)
    if not np.isfinite(values).all():
        raise ValueError("no format holds a number that is not finite")
    fractional = max((_fractional(value) for value in values.flat if value), default=0)
    integer = 1
    while values.max(initial=0.0) >= 2.0 ** (integer - 1) or values.min(initial=0.0) < -(2.0 ** (integer - 1)):
        integer += 1
    while integer + fractional > 2 and Fixed(integer + fractional - 1, integer - 1, True, "RND", "SAT").holds(values):
        integer -= 1
    return Fixed(max(integer + fractional, 2), max(integer, 2 - fractional), True, "RND", "SAT")


def bits_needed(value: float) -> int:
    """Return the bits that a number other than zero needs: its sign, and the first to the last that is set."""
    numerator, _ = value.as_integer_ratio()
    return 1 + (abs(numerator) // (numerator & -numerator)).bit_length()


def _fractional(value: float) -> int:
    """Return the bits behind the binary point that a number needs; negative for a multiple of a higher power of two."""
    numerator, denominator = value.as_integer_ratio()
    return denominator.bit_length() - (numerator & -numerator).bit_length()


def exact_sum(weights_OI: NDArray[Any], bias_O: NDArray[Any], source: Fixed, fractional: int) -> Fixed:
    """Return the format that holds every possible value of `weights @ x + bias` without loss.

    Parameters
    ----------
    weights_OI, bias_O : [outputs, inputs] and [outputs]
        Quantised values.
    source : Fixed
        Format of the inputs x.
    fractional : int
        Fractional bits that all products and the bias have at most.
    """
    weights_OI = np.asarray(weights_OI, np.float64)
    positive, negative = np.maximum(weights_OI, 0).sum(1), np.minimum(weights_OI, 0).sum(1)
    high = float((positive * source.high + negative * source.low + bias_O).max())
    low = float((positive * source.low + negative * source.high + bias_O).min())
    integer = 1
    while high >= 2.0 ** (integer - 1) or low < -(2.0 ** (integer - 1)):
        integer += 1
    return Fixed(max(integer + fractional, 2), integer)
