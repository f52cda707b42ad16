"""A calorimeter of cells in layers: where they lie, and what is read out of the energy deposited in them.

Its front face is at z = 0 and centred on the z axis; layers count along z, columns along x, rows along y, from 0.

n: showers, s: places.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


class Geometry(NamedTuple):
    """The cells: all of one size.

    Attributes
    ----------
    layers, rows, columns : int
        How many.
    cell_size : float
        Along x and along y, mm.
    layer_depth : float
        Of a layer along z, in radiation lengths.
    radiation_length : float
        Of what the calorimeter is made of, mm.
    """

    layers: int
    rows: int
    columns: int
    cell_size: float
    layer_depth: float
    radiation_length: float

    @property
    def shape(self) -> tuple[int, int, int]:
        """Layers, rows, columns."""
        return self.layers, self.rows, self.columns

    @property
    def cells(self) -> int:
        """How many cells there are."""
        return self.layers * self.rows * self.columns

    @property
    def depths(self) -> Array:
        """Where layers begin and the last one ends, in radiation lengths behind the front face, [layers + 1]."""
        return np.linspace(0, self.layers * self.layer_depth, self.layers + 1)

    def centres(self) -> Array:
        """Return x, y, z of the centres of the cells, mm, [layers, rows, columns, 3]."""
        z = (np.arange(self.layers) + 0.5) * self.layer_depth * self.radiation_length
        y = (np.arange(self.rows) + 0.5 - self.rows / 2) * self.cell_size
        x = (np.arange(self.columns) + 0.5 - self.columns / 2) * self.cell_size
        grid = np.meshgrid(z, y, x, indexing="ij")
        return np.stack(grid[::-1], axis=-1)

    def places(self, x: Array, y: Array, z: Array) -> NDArray[np.int64]:
        """Return the cell of each place (mm), [s], in the order of a flat array of `shape`.

        `cells` stands for what lies before the front face, `cells + 1` for what lies behind or beside the cells.
        """
        layer = np.floor(z / (self.layer_depth * self.radiation_length))
        row = np.floor(y / self.cell_size + self.rows / 2)
        column = np.floor(x / self.cell_size + self.columns / 2)
        inside = (layer < self.layers) & (row >= 0) & (row < self.rows) & (column >= 0) & (column < self.columns)
        found = np.where(inside, (layer * self.rows + row) * self.columns + column, self.cells + 1)
        return np.where(layer < 0, self.cells, found).astype(np.int64)


def readout(deposits: Array, stochastic_term: ArrayLike, noise: ArrayLike, random: np.random.Generator) -> Array:
    """Return what the cells read: deposits with fluctuations of their sampling, and noise.

    A deposit e becomes a number of a gamma distribution with mean e and variance c² e · 1 GeV, never below 0, so that
    the sum over cells has the resolution σ / E = c / √E; then every cell has Gaussian noise.

    Parameters
    ----------
    deposits : float [n, ...]
        Energies in the cells, GeV, none below 0.
    stochastic_term : float or float [n]
        c, the resolution at 1 GeV.
    noise : float or float [n]
        Width of the noise in each cell, GeV.
    random : numpy.random.Generator
        What is drawn from.

    Returns
    -------
    float64 [n, ...]
        GeV; noise can bring a cell below 0.
    """
    deposits = np.asarray(deposits, np.float64)
    wide = (-1,) + (1,) * (deposits.ndim - 1)
    scale = np.asarray(stochastic_term, np.float64).reshape(wide) ** 2
    shape = np.divide(deposits, scale, out=np.zeros_like(deposits), where=scale > 0)
    sampled = np.where(scale > 0, random.standard_gamma(shape) * scale, deposits)
    return sampled + random.standard_normal(deposits.shape) * np.asarray(noise, np.float64).reshape(wide)
