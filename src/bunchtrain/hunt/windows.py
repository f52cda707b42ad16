"""Windows of the dijet mass: where they lie, and who is inside and beside.

N: events.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bunchtrain.config.hunt import Hunt
from bunchtrain.errors import InputError
from bunchtrain.hunt.spectrum import Floats, edges


class Window(NamedTuple):
    """A window from `low` to `high`, GeV, on edges of bins; its neighbours are as wide, in the logarithm."""

    low: float
    high: float

    @property
    def centre(self) -> float:
        """The geometric centre."""
        return float(np.sqrt(self.low * self.high))

    def inside(self, mass_N: Floats) -> NDArray[np.bool_]:
        """Return which events are inside."""
        found: NDArray[np.bool_] = (mass_N >= self.low) & (mass_N < self.high)
        return found

    def below(self, mass_N: Floats) -> NDArray[np.bool_]:
        """Return which events are in the neighbour below."""
        return Window(self.low**2 / self.high, self.low).inside(mass_N)

    def above(self, mass_N: Floats) -> NDArray[np.bool_]:
        """Return which events are in the neighbour above."""
        return Window(self.high, self.high**2 / self.low).inside(mass_N)


def bins(settings: Hunt) -> Floats:
    """Return the edges of the spectrum's bins, GeV.

    Raises
    ------
    InputError
        If settings that were written by hand say nothing of the range.
    """
    for key, value in (("low", settings.low), ("high", settings.high)):
        if value is None:
            problem, expected = "a hunt has no range of masses", "a mass, GeV; a campaign fills it in"
            raise InputError(problem, key=f"hunt.{key}", found="null", expected=expected)
    assert settings.low is not None and settings.high is not None
    return edges(settings.low, settings.high, settings.bin)


def windows(settings: Hunt, mass_N: Floats) -> list[Window]:
    """Return the windows in which, and on both sides of which, there are events enough.

    Raises
    ------
    InputError
        If there is none.
    """
    grid = bins(settings)
    width, step = (max(1, round(one / float(np.log(grid[1] / grid[0])))) for one in (settings.window, settings.step))
    found = [Window(float(grid[at]), float(grid[at + width])) for at in range(step, len(grid) - width - step, step)]
    enough = [one for one in found if min(_held(one, mass_N)) >= settings.fewest]
    if not enough:
        most = max((min(_held(one, mass_N)) for one in found), default=0)
        raise InputError(
            "there are too few events to search",
            key="hunt.fewest",
            found=f"{len(mass_N)} events, at most {most} in a window and on either side of it",
            expected=f"{settings.fewest} of them in one window at least",
            mend="give the box more events_per_shard or shards, or lower hunt.fewest",
        )
    return enough


def _held(window: Window, mass_N: Floats) -> tuple[int, int, int]:
    return (
        int(window.inside(mass_N).sum()),
        int(window.below(mass_N).sum()),
        int(window.above(mass_N).sum()),
    )
