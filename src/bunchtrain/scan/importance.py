"""How much each hyperparameter matters to each objective, by a model of the finished evaluations.

N: evaluation, D: hyperparameter, R: repeat.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunchtrain.config.scan import Choice, Dimension, Scan
from bunchtrain.scan.journal import Trial
from bunchtrain.scan.objective import larger_is_better
from bunchtrain.scan.results import finished
from bunchtrain.scan.space import Space, Values

Floats = NDArray[np.float64]

#: Finished evaluations below which no model says anything.
FEWEST = 10

#: Parts of the evaluations, each of which is predicted by a model of the others; and shuffles of every hyperparameter.
_FOLDS, _REPEATS = 5, 20


def importance(settings: Scan, trials: Sequence[Trial], own: Values, seed: int) -> dict[str, Any]:
    """Return the permutation importance of every hyperparameter for every objective.

    A model (extremely randomised trees) predicts evaluations that it has not seen. Its importance for a hyperparameter
    is what its squared error grows by when that one's values are shuffled among them, as a share of the objective's
    variance: 0 for one that does not matter, up to 2.

    Parameters
    ----------
    settings : Scan
    trials : sequence of Trial
        Of which the finished ones with values of their own count.
    own : dict
        The campaign's own values, for hyperparameters that do not count in an evaluation.
    seed : int

    Returns
    -------
    dict
        By objective `explained`, the share of its variance that the model predicts, and `hyperparameters`: by name the
        `importance` and its `spread` over shuffles. Or only `absent`, why there is none.
    """
    done = [trial for trial in finished(trials) if "same_as" not in trial.facts]
    if len(done) < FEWEST:
        return {"absent": f"{len(done)} evaluations with values of their own were finished, and it takes {FEWEST}"}
    whole = [Space(settings, own).full(trial.values) for trial in done]
    rows = [[_number(dimension, values[name]) for name, dimension in settings.space.items()] for values in whole]
    found: dict[str, Any] = {}
    for name in settings.objectives:
        values = [larger_is_better(name, trial.facts[name]) for trial in done]
        found[name] = _of_one(settings, rows, values, seed) if len(set(values)) > 1 else {"absent": "all are equal"}
    return found


def _of_one(settings: Scan, rows: Sequence[Sequence[float]], values: Sequence[float], seed: int) -> dict[str, Any]:
    from sklearn.model_selection import KFold

    x_ND, y_N = np.array(rows), (np.array(values) - np.mean(values)) / np.std(values)
    random = np.random.default_rng(seed)
    errors, grown = [], []
    for train, test in KFold(_FOLDS, shuffle=True, random_state=seed % 2**32).split(x_ND):
        model = _model(settings, seed).fit(x_ND[train], y_N[train])
        errors.append(np.mean((model.predict(x_ND[test]) - y_N[test]) ** 2))
        grown.append(_shuffled(model, x_ND[test], y_N[test], random) - errors[-1])
    mean_DR = np.mean(grown, axis=0)  # over the folds
    found = {
        name: {"importance": float(row.mean()), "spread": float(row.std(ddof=1))}
        for name, row in zip(settings.space, mean_DR, strict=True)
    }
    return {"explained": 1 - float(np.mean(errors)), "hyperparameters": found}


def _shuffled(model: Any, x_ND: Floats, y_N: Floats, random: np.random.Generator) -> Floats:
    """Return the squared error [D, R] of a model when a hyperparameter's values are shuffled, in every repeat."""
    count, axes = x_ND.shape
    x_DRND = np.tile(x_ND, (axes, _REPEATS, 1, 1))
    for axis in range(axes):
        for repeat in range(_REPEATS):
            x_DRND[axis, repeat, :, axis] = random.permutation(x_ND[:, axis])
    said_DRN = model.predict(x_DRND.reshape(-1, axes)).reshape(axes, _REPEATS, count)  # all at once: it has many trees
    found: Floats = np.mean((said_DRN - y_N) ** 2, axis=-1)
    return found


def _model(settings: Scan, seed: int) -> Any:
    """Return trees that see words as a column for each of them; shuffled together, as one hyperparameter."""
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import ExtraTreesRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    words = [place for place, dimension in enumerate(settings.space.values()) if _is_of_words(dimension)]
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    columns = make_column_transformer((encoder, words), remainder="passthrough")
    return make_pipeline(columns, ExtraTreesRegressor(100, random_state=seed % 2**32))


def _is_of_words(dimension: Dimension) -> bool:
    return isinstance(dimension, Choice) and isinstance(dimension.choices[0], str)


def _number(dimension: Dimension, value: Any) -> float:
    """Return a value as a number: its logarithm on a logarithmic range, the place of a word among the choices."""
    if isinstance(dimension, Choice):
        return float(dimension.choices.index(value)) if _is_of_words(dimension) else float(value)
    return math.log(value) if dimension.log else float(value)
