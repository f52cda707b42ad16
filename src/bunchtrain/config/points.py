"""Points of a search's space: which dimensions count in them, which are forbidden, and how one is drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from bunchtrain.config.scan import Between, Choice, Dimension, Floats, Trials, Wanted

Point = dict[str, Any]

#: A number between the ends of a range that is no whole one: it tells keys that take whole numbers alone.
_BETWEEN = 0.3719


def meets(value: Any, wanted: Wanted) -> bool:
    """Return whether a value is the one wanted, one of them, or between two."""
    if isinstance(wanted, Between):
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return (wanted.low is None or wanted.low <= value) and (wanted.high is None or value <= wanted.high)
    return any(same(value, one) for one in (wanted if isinstance(wanted, list) else [wanted]))


def same(value: Any, other: Any) -> bool:
    """Return whether two values are equal; true is not 1."""
    return bool(value == other) and isinstance(value, bool) == isinstance(other, bool)


def active(space: Mapping[str, Dimension], point: Point) -> Point:
    """Return the values that count: those whose `when` is met by values that count themselves."""
    if not any(dimension.when for dimension in space.values()):
        return {name: point[name] for name in sorted(space) if name in point}
    found: Point = {}
    for name in in_order(space):
        when = space[name].when
        if name in point and all(other in found and meets(found[other], wanted) for other, wanted in when.items()):
            found[name] = point[name]
    return {name: found[name] for name in sorted(found)}


def in_order(space: Mapping[str, Dimension]) -> list[str]:
    """Return the dimensions, each after those that it depends on; those of a circle are left out."""
    found: list[str] = []
    waiting = list(space)
    while ready := [name for name in waiting if set(space[name].when) <= set(found)]:
        found += ready
        waiting = [name for name in waiting if name not in ready]
    return found


def forbidden(settings: Trials, point: Point) -> bool:
    """Return whether a combination of values that count is forbidden."""
    if not settings.forbid:
        return False
    counting = active(settings.space, point)
    return any(
        all(name in counting and meets(counting[name], wanted) for name, wanted in one.items())
        for one in settings.forbid
    )


def place(space: Mapping[str, Dimension], unit: Sequence[float]) -> Point:
    """Return the point of a space at a point of the unit cube, whose axes are the dimensions by their names' order."""
    return {name: _value(space[name], share) for name, share in zip(sorted(space), unit, strict=True)}


def _value(dimension: Dimension, share: float) -> Any:
    if isinstance(dimension, Choice):
        return dimension.choices[min(int(share * len(dimension.choices)), len(dimension.choices) - 1)]
    if isinstance(dimension, Floats):
        return _between(dimension.low, dimension.high, share, log=dimension.log)
    # Every whole number is as wide as its neighbours, also at the ends.
    found = _between(dimension.low - 0.5, dimension.high + 0.5, share, log=dimension.log)
    return min(max(math.floor(found + 0.5), dimension.low), dimension.high)


def _between(low: float, high: float, share: float, *, log: bool) -> float:
    """Return a number between two, evenly or by its logarithm; never beyond them by rounding."""
    found = math.exp(math.log(low) + share * math.log(high / low)) if log else low + share * (high - low)
    return min(max(found, low), high)


def unit(space: Mapping[str, Dimension], point: Point) -> list[float]:
    """Return where in the unit cube a point with a value for every dimension lies: what `place` makes that point of."""
    return [_share(space[name], point[name]) for name in sorted(space)]


def _share(dimension: Dimension, value: Any) -> float:
    if isinstance(dimension, Choice):
        place = next(place for place, one in enumerate(dimension.choices) if same(one, value))
        return (place + 0.5) / len(dimension.choices)
    wide = 0.0 if isinstance(dimension, Floats) else 0.5
    low, high = dimension.low - wide, dimension.high + wide
    return math.log(value / low) / math.log(high / low) if dimension.log else (value - low) / (high - low)


def full(space: Mapping[str, Dimension], point: Point, own: Point) -> Point:
    """Return a value for every dimension: where one does not count, the campaign's own."""
    counting = active(space, point)
    return {name: counting.get(name, own[name]) for name in sorted(space)}


def ends(dimension: Dimension) -> list[Any]:
    """Return values that show whether all fit: every choice, or the ends of a range, and what lies between numbers."""
    if isinstance(dimension, Choice):
        return list(dimension.choices)
    between = [dimension.low + _BETWEEN * (dimension.high - dimension.low)] if isinstance(dimension, Floats) else []
    return [dimension.low, *between, dimension.high]
