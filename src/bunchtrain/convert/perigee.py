"""The tracks of PHYSLITE: five parameters at the point of closest approach to the beam line, in MeV and mm.

e: events of a step, m: tracks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunchtrain.convert.eventwise import Items, entry_of, flat, read
from bunchtrain.convert.table import Table, check_finite, lists
from bunchtrain.errors import InputError
from bunchtrain.events.layout import Column
from bunchtrain.events.ragged import Columns

#: What a number in MeV is multiplied with.
GEV = 1e-3

#: What `Tracks` gives beside px, py, pz and energy.
COLUMNS = (
    Column("pt", "f4", "GeV", "transverse momentum"),
    Column("eta", "f4", "1", "pseudorapidity"),
    Column("phi", "f4", "rad", "azimuth at the perigee"),
    Column("theta", "f4", "rad", "polar angle"),
    Column("q_over_p", "f4", "1/GeV", "charge over momentum"),
    Column("charge", "f4", "1", "charge"),
    Column("d0", "f4", "mm", "transverse impact parameter to the beam line"),
    Column("z0", "f4", "mm", "longitudinal impact parameter to the beam spot"),
    Column("z0_vertex", "f4", "mm", "longitudinal impact parameter to the primary vertex, 0 without a vertex"),
    Column("d0_error", "f4", "mm", "error of d0, 0 where not known"),
    Column("z0_error", "f4", "mm", "error of z0, 0 where not known"),
)

_PARAMETERS = {"d0": "d0", "z0": "z0", "theta": "theta", "phi": "phi", "q_over_p": "qOverP"}
_PION = 0.13957  # GeV
_COVARIANCE = 5  # d0, z0, phi, theta, q/p
_PRIMARY = 1  # vertexType


def branch(container: str, name: str) -> str:
    """Return the branch of a variable of a container."""
    return f"{container}AuxDyn.{name}"


def required(table: Table, container: str, names: Mapping[str, str], key: str) -> dict[str, str]:
    """Return the branches of variables, by column; `key` says where in the campaign the container is named.

    Raises
    ------
    InputError
        If one is missing or holds something else.
    """
    found = {name: branch(container, short) for name, short in names.items()}
    for one in found.values():
        table.require(one, key, (1,))
    return found


class Tracks:
    """The tracks of a file, taken as pions.

    Parameters
    ----------
    table : Table
        One entry per event.
    container : str
        Of the tracks.
    key : str
        Where in the campaign it is named.

    Attributes
    ----------
    branches : list of str
        What has to be read.
    skipped : list of str
        What could not be: errors and the distance to the vertex are 0 then.
    """

    def __init__(self, table: Table, container: str, key: str) -> None:
        self._table, self.skipped = table, list[str]()
        self._parameters = required(table, container, _PARAMETERS, key)
        self._covariance = table.optional(self.skipped, branch(container, "definingParametersCovMatrixDiag"), depth=2)
        vertices = (branch("PrimaryVertices", name) for name in ("z", "vertexType"))
        self._vertex = table.optional(self.skipped, branch(container, "vz"), *vertices)
        self.branches = [*self._parameters.values(), *self._covariance, *self._vertex]

    def __call__(self, first: int, arrays: Mapping[str, Any]) -> Items:
        """Return the tracks of a step with the columns `COLUMNS`, and px, py, pz, energy in GeV.

        Raises
        ------
        InputError
            If lists differ in length, or a value is not finite.
        """
        tracks = read(self._table, first, arrays, self._parameters)
        return tracks.joined(**_momenta(tracks), **self._places(first, arrays, tracks))

    def _places(self, first: int, arrays: Mapping[str, Any], tracks: Items) -> Columns:
        """Return what the tracks have of errors and of their distance to the vertex, 0 where it cannot be told."""
        found = {name: np.zeros(len(tracks)) for name in ("d0_error", "z0_error", "z0_vertex")}
        for branch in self._covariance:
            diagonal = _diagonals(self._table, first, arrays[branch], branch, tracks)
            found |= {"d0_error": np.sqrt(diagonal[:, 0]), "z0_error": np.sqrt(diagonal[:, 1])}
        if self._vertex:
            origin, z, kind = self._vertex
            origin_z = flat(self._table, first, arrays, origin, tracks.counts, self._parameters["z0"])
            vertices = read(self._table, first, arrays, {"z": z, "kind": kind})
            vertices = vertices.keep(vertices["kind"] == _PRIMARY)
            some = vertices.counts > 0
            primary = np.full(len(some), np.nan)
            primary[some] = vertices["z"][vertices.starts[some]]
            found["z0_vertex"] = np.nan_to_num(tracks["z0"] + origin_z - primary[tracks.owner])
        return found


def _momenta(tracks: Items) -> Columns:
    """Return the momenta of tracks, taken as pions, in GeV; theta and phi in rad, q/p in 1/MeV as they are read."""
    with np.errstate(divide="ignore", invalid="ignore"):
        momentum = np.abs(GEV / tracks["q_over_p"].astype(np.float64))
        theta, phi = (tracks[name].astype(np.float64) for name in ("theta", "phi"))
        pt, eta = momentum * np.sin(theta), -np.log(np.tan(theta / 2))
    return {
        "pt": pt,
        "eta": eta,
        "px": pt * np.cos(phi),
        "py": pt * np.sin(phi),
        "pz": momentum * np.cos(theta),
        "energy": np.hypot(momentum, _PION),
        "q_over_p": tracks["q_over_p"] / GEV,
        "charge": np.sign(tracks["q_over_p"]),
    }


def _diagonals(table: Table, first: int, values: Any, branch: str, tracks: Items) -> NDArray[np.float64]:
    """Return the diagonals of the tracks' covariances, float64 [m, 5].

    Raises
    ------
    InputError
        If there is not one of five numbers for each track.
    """
    import awkward as ak

    inner, counts = lists(ak.num(values, axis=2))
    if not np.array_equal(counts, tracks.counts) or (inner != _COVARIANCE).any():
        expected = f"{_COVARIANCE} numbers for each track"
        raise InputError("a covariance has another shape", file=table.path, key=branch, expected=expected)
    diagonal = np.asarray(ak.to_numpy(ak.flatten(values, axis=None)), np.float64).reshape(-1, _COVARIANCE)
    check_finite(np.min(diagonal, axis=1), table.path, branch, entry_of(first, counts))
    return diagonal
