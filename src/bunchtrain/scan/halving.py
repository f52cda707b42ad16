"""Stopping hopeless trainings early: successive halving, decided before a training starts.

At a rung, some epochs into the training, one goes on if its best validation loss so far is among the best 1/η of all
that have come there (Li et al., arXiv:1810.05934, for trainings that do not wait for one another). What it has to reach
follows from evaluations that ended before it starts. So nothing is polled or killed, and a repeated scan stops the same
trainings after the same epochs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from bunchtrain.scan.journal import Trial


class Stop(NamedTuple):
    """A training ends after an epoch if its best validation loss is above a number."""

    epoch: int
    loss: float


def stops(curves: Iterable[Sequence[float]], rungs: Sequence[int], eta: float) -> list[Stop]:
    """Return what a training has to reach at each rung.

    With n losses known at a rung, the training's own is the n+1st, and the best k = ⌊(n+1)/η⌋, at least one, go on: it
    does if fewer than k of the known are below its own. So the k-th smallest of them is the limit, and an equal loss
    goes on. A rung at which fewer than η losses are known has no limit.

    Parameters
    ----------
    curves : iterable of sequences
        Validation losses after each epoch, of the trainings that are known. One that ended before a rung has no say
        there; one that ended at it has.
    rungs : sequence of int
        Epochs after which a training may end.
    eta : float
        The reduction factor, above 1.
    """
    known, found = list(curves), []
    for rung in rungs:
        losses = sorted(min(curve[:rung]) for curve in known if len(curve) >= rung)
        if len(losses) >= eta:
            found.append(Stop(rung, losses[max(1, math.floor((len(losses) + 1) / eta)) - 1]))
    return found


def known_curves(trials: Iterable[Trial]) -> list[list[float]]:
    """Return the validation curves of the evaluations that have one of their own.

    A failed training counts not at all: it says nothing of the losses at a rung, and as the worst it would let others
    go on that are no good. One whose student failed has a curve like any other. A repetition of earlier values was not
    trained, and adds nothing.
    """
    return [trial.facts["curve"] for trial in trials if trial.facts.get("curve") and "same_as" not in trial.facts]
