"""Numbers as they are told: a value and its error are rounded together, to two digits of the error."""

from __future__ import annotations

import math


def rounded(value: float, error: float | None, *, sign: bool = False) -> tuple[str, str]:
    """Return value and error in words; without an error, or with one of zero, three digits of the value and "".

    Parameters
    ----------
    value, error : float
        In the same unit.
    sign : bool
        Whether a value above zero has a plus.
    """
    if error is None or not math.isfinite(error) or error <= 0:
        return alone(value, sign=sign), ""
    places = _places(error, 2)
    return _told(value, places, sign), _told(error, places)


def together(value: float, error: float | None, *, sign: bool = False) -> str:
    """Return a value and its error in words, as `1,420 ± 120`."""
    return " ± ".join(part for part in rounded(value, error, sign=sign) if part)


def alone(value: float, digits: int = 3, *, sign: bool = False) -> str:
    """Return a value with so many digits."""
    return _told(value, _places(abs(value), digits) if value and math.isfinite(value) else digits - 1, sign)


def _places(value: float, digits: int) -> int:
    """Return after how many decimal places a value has so many digits; below zero: before the point."""
    first = int(f"{value:.{digits - 1}e}".partition("e")[2])  # of the rounded one: 0.0996 is 0.10
    return min(digits - 1 - first, 8)


def _told(value: float, places: int, sign: bool = False) -> str:
    return f"{round(value, places):{'+' if sign else ''},.{max(places, 0)}f}"
