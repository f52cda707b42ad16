"""Splines through the probes of a field: what a network has to be better than.

T: row of the training, M: row.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bunchtrain.events.responses import ResponseDataset

Floats = NDArray[np.float64]

#: Polyharmonic splines in three dimensions, by scipy's name.
_KERNELS = {"thin-plate spline": "thin_plate_spline", "quintic spline": "quintic"}

#: What is tried for the smoothing; probes above which each place has the nearest ones alone.
_SMOOTHING, _ALL, _NEAREST = (0.0, 1e-6, 1e-4, 1e-2), 3000, 300


def splines(data: ResponseDataset, places_MA: Floats) -> dict[str, Floats]:
    """Return the field of splines at some places, [M, 3], by the name of the spline."""
    from scipy.interpolate import RBFInterpolator

    train, validation = data.indices("train"), data.indices("validation")
    given, known = data.given(train), data.known(train)
    centre, width = given.mean(0), float(given.std(0).max()) or 1.0
    neighbours = None if len(train) <= _ALL else _NEAREST
    found = {}
    for name, kernel in _KERNELS.items():
        fitted = [
            RBFInterpolator((given - centre) / width, known, kernel=kernel, smoothing=smoothing, neighbors=neighbours)
            for smoothing in _SMOOTHING
        ]
        held, true = (data.given(validation) - centre) / width, data.known(validation)
        best = min(fitted, key=lambda one: float(((one(held) - true) ** 2).mean()))
        found[name] = best((places_MA - centre) / width)
    return found
