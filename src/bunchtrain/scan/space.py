"""The space of a search: its points, and as DeepHyper's problem."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bunchtrain.config import points
from bunchtrain.config.combinations import lies_in
from bunchtrain.config.scan import Choice, Dimension, Trials
from bunchtrain.errors import TrainingError

if TYPE_CHECKING:
    from deephyper.hpo import HpProblem

Values = dict[str, Any]

#: Draws after which a space is taken for one without an allowed point.
DRAWS = 100_000


def defaults(settings: Trials, sections: Mapping[str, Mapping[str, Any]]) -> Values:
    """Return the campaign's own values of the dimensions: the scan's first evaluation."""
    found = {}
    for name in settings.space:
        section, _, key = name.partition(".")
        found[name] = sections[section][key]
    return found


class Space:
    """The points of a search.

    An evaluation has the values that count: a dimension whose `when` is not met is left out, and the campaign's own
    value stands. Models see every dimension, one that does not count at a fixed value.

    Parameters
    ----------
    settings : Trials
        The campaign's section.
    own : dict
        The campaign's own value of every dimension.
    """

    def __init__(self, settings: Trials, own: Values) -> None:
        self.settings, self.own = settings, own
        self._rest = {
            name: own[name] if lies_in(own[name], one) else _first(one) for name, one in settings.space.items()
        }

    def counting(self, values: Values) -> Values:
        """Return the values that count."""
        return points.active(self.settings.space, values)

    def full(self, values: Values) -> Values:
        """Return a value for every dimension."""
        return points.full(self.settings.space, values, self._rest)

    def given(self) -> list[Values]:
        """Return the points that the campaign names: its own, then those to start from."""
        return [self.counting({**self.own, **one}) for one in ({}, *self.settings.start)]

    def drawn(self, source: np.random.Generator, count: int) -> list[Values]:
        """Return allowed points, all dimensions of each.

        Raises
        ------
        TrainingError
            If hardly any point is allowed.
        """
        found: list[Values] = []
        tried = 0
        while len(found) < count:
            if tried > DRAWS and not found:
                raise TrainingError("the forbidden combinations leave hardly a point of the space", key="forbid")
            found += self._allowed(source.random((count, len(self.settings.space))))
            tried += count
        return found[:count]

    def near(self, source: np.random.Generator, count: int, around: Sequence[Values]) -> list[Values]:
        """Return at most so many allowed points near others: some of their values are others, most of them close by.

        Three in ten begin with the values of two of the others, mixed.
        """
        if not around:
            return []
        cubes = np.array([points.unit(self.settings.space, self.full(values)) for values in around])
        moved, partner = (cubes[source.integers(len(cubes), size=count)] for _ in range(2))
        mixed = (source.random((count, 1)) < 0.3) & (source.random(moved.shape) < 0.5)
        moved = np.where(mixed, partner, moved)
        changed = source.random(moved.shape) < source.random((count, 1))
        changed[np.arange(count), source.integers(moved.shape[1], size=count)] = True
        width = 10 ** source.uniform(-2, -0.5, (count, 1))
        moved = np.where(changed, moved + width * source.normal(size=moved.shape), moved)
        # Choices have no neighbours: another one is drawn.
        choices = [isinstance(self.settings.space[name], Choice) for name in sorted(self.settings.space)]
        moved = np.where(changed & np.array(choices), source.random(moved.shape), moved)
        # The very ends are left out: on its way through DeepHyper's logarithms one would lie beyond its range.
        return self._allowed(np.clip(moved, 1e-6, 1 - 1e-6))

    def even(self, number: int, seed: int) -> Values:
        """Return point `number` of a scrambled Sobol sequence over the allowed points, all its dimensions."""
        from scipy.stats import qmc

        sequence = qmc.Sobol(len(self.settings.space), seed=np.random.default_rng(seed))
        found: list[Values] = []
        size, tried = 1 << number.bit_length(), 0  # a power of two, as the sequence wants it
        while len(found) <= number:
            if tried > DRAWS and not found:
                raise TrainingError("the forbidden combinations leave hardly a point of the space", key="forbid")
            found += self._allowed(sequence.random(size))
            tried += size
        return found[number]

    def _allowed(self, units: np.typing.NDArray[np.float64]) -> list[Values]:
        placed = (points.place(self.settings.space, unit) for unit in units.tolist())
        return [self.full(point) for point in placed if not points.forbidden(self.settings, point)]

    def problem(self, seed: int, around: Sequence[Values] = (), known: Sequence[Values] = ()) -> HpProblem:
        """Return the space as DeepHyper's problem, whose candidates are allowed points that follow from a seed.

        Four in five lie near the points `around`, but for those that are `known`; the others anywhere.
        """
        from deephyper.hpo import HpProblem

        problem = HpProblem()
        for name, dimension in sorted(self.settings.space.items()):
            if isinstance(dimension, Choice):
                problem.add_hyperparameter(list(dimension.choices), name)
            else:
                prior = "log-uniform" if dimension.log else "uniform"
                problem.add_hyperparameter((dimension.low, dimension.high, prior), name)
        source = np.random.default_rng(seed)
        seen = {tuple(self.full(values).values()) for values in known}

        def sample(size: int) -> list[Values]:
            close = [point for point in self.near(source, size * 4 // 5, around) if tuple(point.values()) not in seen]
            # Of candidates that the surrogate takes for equal the first is chosen: not one close to the best.
            return self.drawn(source, size - len(close)) + close

        problem.set_sampling_fn(sample)
        return problem


def _first(dimension: Dimension) -> Any:
    return dimension.choices[0] if isinstance(dimension, Choice) else dimension.low
