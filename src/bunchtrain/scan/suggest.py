"""The next suggestion as a pure function of seed, number, and what is known."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from bunchtrain.scan.space import Space, Values

#: Values with their results: a number, several, or the reason of a failure.
Known = Sequence[tuple[Values, float | list[float] | str]]

#: Points at which the surrogate model is asked for each suggestion.
CANDIDATES = 1000

#: The best points near which most of them lie.
NEAREST = 10

#: The weight of the surrogate's uncertainty, from the first to the last of ten suggestions.
EXPLORATION = (3.0, 0.3)


def exploration(number: int, initial: int) -> float:
    """Return the weight of the surrogate's uncertainty in suggestion `number`.

    It falls by the same factor with every suggestion and starts again after ten: DeepHyper's periodic exponential
    decay, there the state of one search, here a function of the suggestion's number. With less of it searches of
    choices that matter together stayed at the first good combination (`make bench-search`).
    """
    first, last = EXPLORATION
    return first * math.pow(last / first, (number - 1 - initial) % 10 / 10)


def suggest(space: Space, number: int, known: Known, seed: int, folder: str, earlier: Known = ()) -> Values:
    """Return the values of evaluation `number`.

    First come the points that the campaign names, then `initial` evenly spread ones, or with earlier scans those that
    a surrogate model of theirs suggests; then the method decides. A suggestion depends on what is given here alone: a
    killed scan goes on with the very suggestions it would have made.

    Parameters
    ----------
    space : Space
        The points.
    number : int
        Which evaluation this is.
    known : sequence of (values, result)
        A result is a number, larger is better, or a reason that starts with `F_`. Of several numbers each is an
        objective; what is looked for is then the front, by Chebyshev's scalarisation with weights drawn anew each time.
    seed : int
        Of the scan.
    folder : str
        Where DeepHyper may write its logs.
    earlier : sequence of (values, result)
        Evaluations of earlier scans, their results on a scale of their own.
    """
    settings, given = space.settings, space.given()
    if number < len(given):
        return given[number]
    if settings.method == "random":
        return space.counting(space.drawn(np.random.default_rng([seed, number]), 1)[0])
    first = number < max(settings.initial, len(given)) or not _learnt(known)
    if settings.method == "quasi_random" or (first and not _learnt(earlier)):
        return space.counting(space.even(number - len(given), seed))
    return space.counting(_bayesian(space, number, earlier if first else known, seed, folder))


def _learnt(known: Known) -> bool:
    """Return whether there is a result to learn from."""
    return any(not _failed(result) for _, result in known)


def _bayesian(space: Space, number: int, known: Known, seed: int, folder: str) -> Values:
    """Return the suggestion of a fresh search by DeepHyper that is told everything and asked once."""
    from deephyper.hpo import CBO

    search = CBO(
        space.problem(seed + number, _best(known), [values for values, _ in known]),
        random_state=seed + number,
        log_dir=folder,
        checkpoint_history_to_csv=False,
        surrogate_model="ET",
        # DeepHyper's own default stops trees early and relaxes that while a search stands still: a state of the search.
        surrogate_model_kwargs={"min_impurity_decrease": 0.0},
        acq_func="UCBd",
        acq_func_kwargs={"kappa": exploration(number, space.settings.initial), "scheduler": {"type": "constant"}},
        acq_optimizer="sampling",
        acq_optimizer_kwargs={"max_total_failures": -1, "n_points": CANDIDATES},
        n_initial_points=1,  # what is known begins with more
    )
    search.tell([(space.full(values), result) for values, result in _of_one_length(known)])
    with warnings.catch_warnings():  # in a small space points come again; the loop does not evaluate them twice
        warnings.filterwarnings("ignore", "The objective has been evaluated", UserWarning)
        return {name: _plain(value) for name, value in search.ask(1)[0].items()}


def _best(known: Known) -> list[Values]:
    """Return the points near which to look: the best few, and none where there are several objectives.

    There the neighbourhood of what is best in one of them drew suggestions away from the front.
    """
    good = [(values, float(result)) for values, result in known if isinstance(result, int | float)]
    return [values for values, _ in sorted(good, key=lambda one: -one[1])[:NEAREST]]


def _failed(result: float | list[float] | str) -> bool:
    return isinstance(result, str)


def _of_one_length(known: Known) -> list[tuple[Values, Any]]:
    """Return what is known with a failure for every objective where there are several."""
    count = max((len(result) for _, result in known if isinstance(result, list)), default=0)
    return [(values, [result] * count if count and isinstance(result, str) else result) for values, result in known]


def _plain(value: Any) -> Any:
    """Return numpy scalars as Python's own."""
    return value.item() if hasattr(value, "item") else value
