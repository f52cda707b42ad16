"""Whether the combinations of a search's space fit: conditions, what is forbidden, where it starts."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bunchtrain.config import points
from bunchtrain.config.points import Point
from bunchtrain.config.scan import Between, Choice, Dimension, Floats, Trials, Wanted
from bunchtrain.errors import CampaignError

#: Points that are tried before a space is taken for one without an allowed point.
TRIED = 20_000


def check_combinations(settings: Trials, own: Point, key: str, file: str | Path) -> None:
    """Check `when`, `forbid` and `start` of a search.

    Parameters
    ----------
    settings : Trials
        The section.
    own : dict
        The campaign's own value of every dimension.
    key : str
        Where the section stands, e.g. `scan`.
    file : path
        The campaign's file.

    Raises
    ------
    CampaignError
        Naming the key.
    """
    space = settings.space
    for name, dimension in space.items():
        _check_wanted(space, dimension.when, f"{key}.space.{name}.when", file, never="so it would never count")
    if circle := sorted(set(space) - set(points.in_order(space))):
        problem = "dimensions depend on one another in a circle"
        raise CampaignError(problem, file=file, key=f"{key}.space.{circle[0]}.when", found=", ".join(circle))
    for place, one in enumerate(settings.forbid):
        _check_wanted(space, one, f"{key}.forbid[{place}]", file, never="so this forbids nothing")
    if not _allowed(settings):
        problem = "the forbidden combinations leave no point of the space"
        raise CampaignError(problem, file=file, key=f"{key}.forbid", mend="forbid less, or widen the space")
    if settings.trials and points.forbidden(settings, own):
        raise CampaignError(
            "the search starts from the campaign's own values, which are forbidden",
            file=file,
            key=f"{key}.forbid",
            found=", ".join(f"{name} = {value}" for name, value in points.active(space, own).items()),
            mend="change these values, or forbid less",
        )
    for place, start in enumerate(settings.start):
        _check_start(settings, own, start, f"{key}.start[{place}]", file)


def _check_wanted(
    space: Mapping[str, Dimension], wanted: Mapping[str, Wanted], key: str, file: str | Path, *, never: str
) -> None:
    """Check that what is wanted of dimensions is something they can have."""
    for name, one in wanted.items():
        _check_known(space, name, key, file)
        if not _possible(space[name], one):
            expected = f"{described(space[name])}, as the space says: {never} otherwise"
            raise CampaignError("no such value", file=file, key=f"{key}.{name}", found=_told(one), expected=expected)


def _check_known(space: Mapping[str, Dimension], name: str, key: str, file: str | Path) -> None:
    if name not in space:
        raise CampaignError(
            "the space has no such dimension", file=file, key=f"{key}.{name}", found=name, choices=list(space)
        )


def _check_start(settings: Trials, own: Point, start: Point, key: str, file: str | Path) -> None:
    """Check a point to start from: known dimensions, values that they hold, allowed together, and all of them count."""
    space = settings.space
    for name, value in start.items():
        _check_known(space, name, key, file)
        if not lies_in(value, space[name]):
            raise CampaignError(
                "a point to start from lies outside the space",
                file=file,
                key=f"{key}.{name}",
                found=value,
                expected=described(space[name]),
            )
    whole = {**own, **start}
    if idle := sorted(set(start) - set(points.active(space, whole))):
        expected = f"none, or what `when` of {key.partition('.start')[0]}.space.{idle[0]} asks for"
        raise CampaignError("a value does not count there", file=file, key=f"{key}.{idle[0]}", expected=expected)
    if points.forbidden(settings, whole):
        raise CampaignError("a point to start from is forbidden", file=file, key=key, found=start)
    outside = [name for name, value in points.active(space, whole).items() if not lies_in(value, space[name])]
    if outside:
        found, mend = f"the campaign's own {whole[outside[0]]}", "give a value there"
        expected = described(space[outside[0]])
        problem = "a point to start from lies outside the space"
        raise CampaignError(problem, file=file, key=f"{key}.{outside[0]}", found=found, expected=expected, mend=mend)


def _possible(dimension: Dimension, wanted: Wanted) -> bool:
    """Return whether a dimension has a value that meets what is wanted."""
    if isinstance(dimension, Choice):
        return any(points.meets(choice, wanted) for choice in dimension.choices)
    if not isinstance(wanted, Between):
        return all(lies_in(one, dimension) for one in (wanted if isinstance(wanted, list) else [wanted]))
    low = max(dimension.low, -math.inf if wanted.low is None else wanted.low)
    high = min(dimension.high, math.inf if wanted.high is None else wanted.high)
    return low <= high if isinstance(dimension, Floats) else math.ceil(low) <= math.floor(high)


def _allowed(settings: Trials) -> bool:
    """Return whether some point of the space is allowed: of all where they are few, else of many at random."""
    if not settings.forbid:
        return True
    space = settings.space
    values = [_all_values(dimension) for dimension in space.values()]
    if all(values) and math.prod(map(len, values)) <= TRIED:
        tried = (dict(zip(space, one, strict=True)) for one in itertools.product(*values))
    else:
        source = random.Random(0)
        tried = (points.place(space, [source.random() for _ in space]) for _ in range(TRIED))
    return any(not points.forbidden(settings, point) for point in tried)


def _all_values(dimension: Dimension) -> list[Any]:
    """Return the values of a dimension that has few; none of others."""
    if isinstance(dimension, Choice):
        return list(dimension.choices)
    few = not isinstance(dimension, Floats) and dimension.high - dimension.low < TRIED
    return list(range(int(dimension.low), int(dimension.high) + 1)) if few else []


def lies_in(value: Any, dimension: Dimension) -> bool:
    """Return whether a dimension has a value."""
    if isinstance(dimension, Choice):
        return any(points.same(value, one) for one in dimension.choices)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return dimension.low <= value <= dimension.high and (isinstance(dimension, Floats) or value == int(value))


def described(dimension: Dimension) -> str:
    """Return a dimension in words."""
    if isinstance(dimension, Choice):
        return "one of " + ", ".join(map(str, dimension.choices))
    kind = "a number" if isinstance(dimension, Floats) else "a whole number"
    return f"{kind} from {dimension.low} to {dimension.high}"


def _told(wanted: Wanted) -> str:
    if isinstance(wanted, Between):
        ends = ((f"low {wanted.low}", wanted.low), (f"high {wanted.high}", wanted.high))
        return ", ".join(text for text, value in ends if value is not None)
    return ", ".join(map(str, wanted)) if isinstance(wanted, list) else str(wanted)
