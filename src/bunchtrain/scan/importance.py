"""How much each hyperparameter matters to each objective, by a model of the finished evaluations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from bunchtrain.config.scan import Choice, Dimension, Scan
from bunchtrain.scan.journal import Trial
from bunchtrain.scan.objective import larger_is_better
from bunchtrain.scan.results import finished
from bunchtrain.scan.space import Space, Values

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
    whole = Space(settings, own).full
    rows = [[_number(settings.space[name], value) for name, value in whole(trial.values).items()] for trial in done]
    found: dict[str, Any] = {}
    for name in settings.objectives:
        values = [larger_is_better(name, trial.facts[name]) for trial in done]
        found[name] = _of_one(settings, rows, values, seed) if len(set(values)) > 1 else {"absent": "all are equal"}
    return found


def _of_one(settings: Scan, rows: Sequence[Sequence[float]], values: Sequence[float], seed: int) -> dict[str, Any]:
    import numpy as np
    from sklearn.inspection import permutation_importance
    from sklearn.model_selection import KFold

    x, y = np.array(rows), (np.array(values) - np.mean(values)) / np.std(values)
    errors, shuffled = [], []
    for train, test in KFold(_FOLDS, shuffle=True, random_state=seed % 2**32).split(x):
        model = _model(settings, seed).fit(x[train], y[train])
        errors.append(np.mean((model.predict(x[test]) - y[test]) ** 2))
        options: dict[str, Any] = {"n_repeats": _REPEATS, "random_state": seed % 2**32}
        grown = permutation_importance(model, x[test], y[test], scoring="neg_mean_squared_error", **options)
        shuffled.append(grown.importances)
    mean_DR = np.mean(shuffled, axis=0)  # over the folds: hyperparameter, repeat
    found = {
        name: {"importance": float(row.mean()), "spread": float(row.std(ddof=1))}
        for name, row in zip(settings.space, mean_DR, strict=True)
    }
    return {"explained": 1 - float(np.mean(errors)), "hyperparameters": found}


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
