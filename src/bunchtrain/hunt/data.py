"""Events as a hunt sees them, from an index of pairs of jets."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bunchtrain.config.hunt import Hunt
from bunchtrain.errors import InputError
from bunchtrain.events import finite
from bunchtrain.events.reader import Dataset
from bunchtrain.hunt.search import Events


def events(dataset: Dataset, settings: Hunt, energy: float) -> Events:
    """Return the events of an index: mass of the pair, and features.

    Raises
    ------
    InputError
        If a column is missing, or holds a value that is no number, or a mass that is none.
    """
    if settings.high is not None and not settings.high < energy:
        expected = f"below the energy of the collisions, {energy:g} GeV"
        problem = "the spectrum reaches the energy of the collisions"
        raise InputError(problem, key="hunt.high", found=f"{settings.high:g} GeV", expected=expected)
    mass = finite.column(dataset, settings.mass)
    if len(mass) and mass.min() <= 0:
        found = f"{mass.min():g} GeV"
        raise InputError("a mass is not above zero", file=dataset.path, key=f"jets/{settings.mass}", found=found)
    if not len(mass):
        raise InputError("there are no events to search", file=dataset.path, found=0)
    columns = [finite.column(dataset, name) / (mass if name in settings.scaled else 1.0) for name in settings.features]
    return Events(mass, np.stack(columns, 1), energy)


def opened(path: Path) -> Dataset:
    """Open an index."""
    return Dataset(path)
