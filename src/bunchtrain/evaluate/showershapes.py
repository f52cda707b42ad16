"""Observables of showers: what an analysis makes of cells.

M: shower, K: cell, L: layer.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_TINY = 1e-9


class Cells(NamedTuple):
    """Where the cells of a shower lie: layer, row and column of each, int [K]."""

    layer: NDArray[np.int64]
    row: NDArray[np.int64]
    column: NDArray[np.int64]

    @property
    def layers(self) -> int:
        """How many layers there are."""
        return int(self.layer.max(initial=-1)) + 1


def layer_energies(energies_MK: Floats, cells: Cells) -> Floats:
    """Return the energy of each layer, GeV, [M, L]."""
    member_KL = (cells.layer[:, None] == np.arange(cells.layers)).astype(np.float64)
    found: Floats = energies_MK @ member_KL
    return found


def observables(energies_MK: Floats, cells: Cells, threshold: float) -> dict[str, Floats]:
    """Return observables by name, each [M].

    Parameters
    ----------
    energies_MK : float64 [M, K]
        Of the cells, GeV; what noise brings below zero counts as nothing, but for the sum.
    cells : Cells
    threshold : float
        Above which a cell counts as hit, GeV.
    """
    above_MK = np.clip(energies_MK, 0, None)
    total_M = np.maximum(above_MK.sum(1), _TINY)
    weights_MK = above_MK / total_M[:, None]
    found = {"energy": energies_MK.sum(1)}
    for name, places in (("depth", cells.layer), ("row", cells.row), ("column", cells.column)):
        mean_M = weights_MK @ places
        found[name] = mean_M
        found[f"width in {name}"] = np.sqrt(np.maximum(weights_MK @ places.astype(np.float64) ** 2 - mean_M**2, 0))
    found["cells hit"] = (energies_MK > threshold).sum(1).astype(np.float64)
    found["largest share"] = weights_MK.max(1, initial=0)
    return found


def listed(energies_MK: Floats, cells: Cells, threshold: float) -> Floats:
    """Return observables, and energy and hits of each layer, as a list of numbers for classifiers, [M, F]."""
    found = observables(energies_MK, cells, threshold)
    found["energy"] = np.log(np.maximum(found["energy"], _TINY))
    layers = np.arcsinh(layer_energies(energies_MK, cells) / max(threshold, _TINY))
    hits = layer_energies((energies_MK > threshold).astype(np.float64), cells)
    return np.concatenate([np.stack([*found.values()], 1), layers, hits], 1)
