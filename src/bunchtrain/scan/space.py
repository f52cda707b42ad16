"""From the campaign's space to DeepHyper, and the next suggestion as a pure function of what is known."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bunchtrain.config.scan import Choice, Trials

if TYPE_CHECKING:
    from deephyper.hpo import HpProblem

Values = dict[str, Any]

#: Values with their results: a number, several, or the reason of a failure.
Known = Sequence[tuple[Values, float | list[float] | str]]

#: Points at which the surrogate model is asked for each suggestion.
CANDIDATES = 1000


def defaults(settings: Trials, sections: Mapping[str, Mapping[str, Any]]) -> Values:
    """Return the campaign's own values of the dimensions: the scan's first evaluation."""
    found = {}
    for name in settings.space:
        section, _, key = name.partition(".")
        found[name] = sections[section][key]
    return found


def problem(settings: Trials) -> HpProblem:
    """Return the space as DeepHyper's problem."""
    from deephyper.hpo import HpProblem

    space = HpProblem()
    for name, dimension in settings.space.items():
        if isinstance(dimension, Choice):
            space.add_hyperparameter(list(dimension.choices), name)
        else:
            prior = "log-uniform" if dimension.log else "uniform"
            space.add_hyperparameter((dimension.low, dimension.high, prior), name)
    return space


def exploration(number: int, initial: int) -> float:
    """Return the weight of the surrogate's uncertainty in suggestion `number`.

    It falls by the same factor with every suggestion and starts again after ten: DeepHyper's periodic exponential
    decay, there the state of one search, here a function of the suggestion's number.
    """
    return 1.96 * math.exp(-math.log(1.96 / 0.01) / 10 * ((number - 1 - initial) % 10))


def suggest(settings: Trials, space: HpProblem, number: int, known: Known, seed: int, folder: str) -> Values:
    """Return the values of evaluation `number`, by centralised Bayesian optimisation.

    A fresh search is told everything and asked once, so that a suggestion depends on seed, number and known results
    alone: a killed scan goes on with the very suggestions it would have made.

    Parameters
    ----------
    settings, space
        The campaign's section and its DeepHyper problem.
    number : int
        Which evaluation this is.
    known : sequence of (values, result)
        A result is a number, larger is better, or a reason that starts with `F_`. Of several numbers each is an
        objective; what is looked for is then the front, by Chebyshev's scalarisation with weights drawn anew each time.
    seed : int
        Of the scan.
    folder : str
        Where DeepHyper may write its logs.
    """
    from deephyper.hpo import CBO

    search = CBO(
        space,
        random_state=seed + number,
        log_dir=folder,
        checkpoint_history_to_csv=False,
        surrogate_model="ET",
        acq_func="UCBd",
        acq_func_kwargs={"kappa": exploration(number, settings.initial), "scheduler": {"type": "constant"}},
        acq_optimizer="sampling",
        acq_optimizer_kwargs={"max_total_failures": -1, "n_points": CANDIDATES},
        n_initial_points=settings.initial,
    )
    if known:
        search.tell(_of_one_length(known))
    with warnings.catch_warnings():  # in a small space points come again; the loop does not evaluate them twice
        warnings.filterwarnings("ignore", "The objective has been evaluated", UserWarning)
        return {name: _plain(value) for name, value in search.ask(1)[0].items()}


def _of_one_length(known: Known) -> list[tuple[Values, Any]]:
    """Return what is known with a failure for every objective where there are several."""
    count = max((len(result) for _, result in known if isinstance(result, list)), default=0)
    return [(values, [result] * count if count and isinstance(result, str) else result) for values, result in known]


def _plain(value: Any) -> Any:
    """Return numpy scalars as Python's own."""
    return value.item() if hasattr(value, "item") else value
