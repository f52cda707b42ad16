"""How well a student's single pass stands for the posterior of its tagger: agreement, and what either is good for.

A: answer, B: jet, C: class.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunchtrain.calibration import balanced, usefulness
from bunchtrain.synth.certainty import Said
from bunchtrain.synth.material import Material
from bunchtrain.synth.posterior import Scale

Floats = NDArray[np.float64]

TEACHER = "teacher"


def judged(stuff: Material, passes: int, said: Mapping[str, Said]) -> dict[str, Any] | None:
    """Return how the spreads of students agree with their tagger's; None where they have none.

    Parameters
    ----------
    stuff : Material
    passes : int
        Of the tagger.
    said : mapping
        Answers of students to the test jets, by name.

    Returns
    -------
    dict
        `rows` of the tagger, its mean answers ordered by its spread, and of every student, its own answers by its own
        spread: `accuracy` of all, `area` below the retention curve, `gain` and `of_best` (see
        `calibration.retention_area`), `error_detection` (AUROC), `retention`; of students further `correlation` with
        the tagger's log2 I, `deviation`, the mean absolute one, in powers of two, and the ratios `of_gain` and
        `of_area`, see `ratios`.
    """
    if stuff.spread is None or stuff.test.log2_spread_B is None:
        return None
    truth_B = stuff.test.log2_spread_B
    first = _useful(stuff, stuff.test.teacher_BC, truth_B)
    rows = [{"name": TEACHER, **first}]
    for name, one in said.items():
        log2_B = stuff.spread.log2(one.test_BA)
        row = _useful(stuff, one.test_BA, log2_B)
        agreement = {"correlation": _correlation(log2_B, truth_B), "deviation": float(np.abs(log2_B - truth_B).mean())}
        rows.append({"name": name, **row, **agreement, **ratios(row, first)})
    return {"passes": passes, "rows": rows}


def ratios(row: Mapping[str, Any], teacher: Mapping[str, Any]) -> dict[str, float | None]:
    """Return how much of what the tagger's uncertainty is good for a student has; None where it is good for nothing.

    `of_gain` compares the gains, each over keeping all of one's own answers: one with more wrong answers has more to
    gain. `of_area` takes the accuracy of all the tagger's answers for both, so that a student pays for those it gets
    wrong.
    """
    if teacher["gain"] <= 0:
        return {"of_gain": None, "of_area": None}
    above = row["area"] - teacher["accuracy"]
    return {"of_gain": row["gain"] / teacher["gain"], "of_area": above / teacher["gain"]}


def _useful(stuff: Material, answers_BA: NDArray[Any], log2_B: Floats) -> dict[str, Any]:
    test, classes = stuff.test, len(stuff.classes)
    right_B = answers_BA[:, :classes].argmax(1) == test.labels_B
    weights_B = balanced(test.weights_B, test.labels_B, classes)
    found = usefulness(log2_B, right_B, weights_B)
    return {**found, "error_detection": found.pop("auroc")}


def _correlation(one_B: Floats, other_B: Floats) -> float | None:
    """Return Pearson's coefficient; None where one of them does not vary."""
    if min(np.ptp(one_B), np.ptp(other_B)) == 0:
        return None
    return float(np.corrcoef(one_B, other_B)[0, 1])


def card(scale: Scale, passes: int, output: int) -> dict[str, Any]:
    """Return what the further answer means, for whoever reads the core."""
    return {"output": output, "offset": scale.offset, "passes": passes, "quantity": "log2 of mutual information (nats)"}
