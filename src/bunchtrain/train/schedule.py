"""The learning rate of every step: a rise, then one of several ways down."""

from __future__ import annotations

import math

from bunchtrain.config.train import Train

#: One cycle (arXiv:1708.07120): share of the training in which the rate rises, and by what it starts and ends lower.
RISE, START, END = 0.3, 25.0, 1e4


def learning_rate(settings: Train, step: int, steps: int, factor: float = 1.0) -> float:
    """Return the rate of a step, counted from the start of the training.

    Parameters
    ----------
    settings : Train
        Schedule, rates and lengths.
    step, steps : int
        The step, and the steps of an epoch.
    factor : float
        What the schedule `plateau` has made of the rate so far.
    """
    peak, total = settings.peak_rate, settings.epochs * steps
    if settings.schedule == "one_cycle":
        return _one_cycle(peak, step / total)
    warmup = settings.warmup_epochs * steps
    if step < warmup:
        start = settings.learning_rate if peak > settings.learning_rate else 0.0
        return start + (peak - start) * min((step + 1) / warmup, 1.0)
    if settings.schedule == "cosine":
        return peak * _falling((step - warmup) / max(total - warmup, 1))
    return peak * factor


def _falling(done: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def _one_cycle(peak: float, done: float) -> float:
    if done < RISE:
        low = peak / START
        return low + (peak - low) * (1 - _falling(done / RISE))
    low = peak / END
    return low + (peak - low) * _falling((done - RISE) / (1 - RISE))
