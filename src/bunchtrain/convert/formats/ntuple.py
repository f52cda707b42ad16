"""Plain ntuples: a TTree with one entry per jet and lists of constituents, mapped by branch names.

The defaults are the branches of the embedded generator's files.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bunchtrain.config.base import Section
from bunchtrain.config.convert import Branch, ConstituentBranches, JetBranches
from bunchtrain.convert import rootfile
from bunchtrain.convert.formats.base import Batch
from bunchtrain.errors import InputError


class Config(Section):
    """Which branch holds what."""

    tree: str = Field("jets", description="name of the tree, one entry per jet")
    constituents: ConstituentBranches = Field(
        ConstituentBranches(px="part_px", py="part_py", pz="part_pz", energy="part_energy"),
        description="px, py, pz, energy; or pt, eta, phi and energy or mass",
    )
    jets: JetBranches = Field(
        JetBranches(pt="jet_pt", eta="jet_eta", phi="jet_phi", mass="jet_mass"),
        description="pt, eta, phi, mass; computed from the constituents where not given",
    )
    run: Branch = Field("run_number", description="run; null: each file counts as a run")
    event: Branch = Field("event_number", description="event; null: each jet counts as an event")
    weight: Branch = Field("weight", description="event weight; null: 1")
    units: Literal["GeV", "MeV"] = Field("GeV", description="of momenta, energies and masses")
    metadata: str | None = Field(
        "metadata", description="string object that describes the generator in JSON, if present"
    )


_KEY = "convert.format"
_NUMBERS = {"run": "run_number", "event": "event_number", "weight": "weight"}
_ENERGIES = ("px", "py", "pz", "pt", "energy", "mass")
_POLAR = {"px": ("pt", "phi"), "py": ("pt", "phi"), "pz": ("pt", "eta")}


class Ntuple:
    """An open ntuple; see `formats.base.Source`."""

    def __init__(self, file: Any, path: Path, config: Config) -> None:
        self.tree = config.tree
        self.generator = rootfile.json_object(file, path, config.metadata)
        self._path = path
        self._config = config
        self._tree = rootfile.find_tree(file, path, config.tree, f"{_KEY}.tree")
        self.entries = int(self._tree.num_entries)
        self._branches = rootfile.check_branches(self._tree, path, _wanted(config))

    def batches(self, step_size: str) -> Iterator[Batch]:
        """Yield all jets, a step at a time."""
        for start, arrays in rootfile.steps(self._tree, self._path, self._branches, step_size):
            constituents, counts = self._constituents(arrays, start)
            yield Batch(start, self._jets(arrays, start), constituents, counts)

    def _jets(self, arrays: dict[str, Any], start: int) -> dict[str, NDArray[Any]]:
        jets = {}
        for name, branch in self._config.jets.named().items():
            jets[name] = self._scaled(name, rootfile.flat_numbers(arrays[branch], self._path, branch, start))
        for option, name in _NUMBERS.items():
            branch = getattr(self._config, option)
            if branch is not None:
                jets[name] = rootfile.flat_numbers(arrays[branch], self._path, branch, start)
                self._check_number(option, branch, jets[name])
        return jets

    def _check_number(self, option: str, branch: str, values: NDArray[Any]) -> None:
        if option != "weight" and values.dtype.kind == "f":
            found = f"{branch}: {values.dtype.name}"
            expected = "whole numbers: a float would merge neighbouring numbers"
            key = f"{_KEY}.{option}"
            raise InputError("a branch has another type", file=self._path, key=key, found=found, expected=expected)

    def _constituents(self, arrays: dict[str, Any], start: int) -> tuple[dict[str, NDArray[Any]], NDArray[np.int64]]:
        lists = {
            name: rootfile.list_numbers(arrays[branch], self._path, branch, start)
            for name, branch in self._config.constituents.named().items()
        }
        first, (_, counts) = next(iter(lists.items()))
        for name, (_, lengths) in lists.items():
            if not np.array_equal(counts, lengths):
                raise self._uneven(name, first, lengths, counts, start)
        columns = {name: self._scaled(name, numbers) for name, (numbers, _) in lists.items()}
        return (columns if "px" in columns else _cartesian(columns)), counts

    def _uneven(
        self, name: str, first: str, lengths: NDArray[np.int64], counts: NDArray[np.int64], start: int
    ) -> InputError:
        row = int(np.flatnonzero(counts != lengths)[0])
        branches = self._config.constituents.named()
        return InputError(
            "the lists of constituents differ in length",
            file=self._path,
            key=branches[name],
            found=f"{lengths[row]} in entry {start + row}",
            expected=f"{counts[row]}, as in {branches[first]}",
        )

    def _scaled(self, name: str, values: NDArray[Any]) -> NDArray[Any]:
        return values * 1e-3 if self._config.units == "MeV" and name in _ENERGIES else values


@contextlib.contextmanager
def opened(path: Path, config: Config) -> Iterator[Ntuple]:
    """Open an ntuple.

    Raises
    ------
    InputError
        If the file cannot be read, or its tree or branches are not those of `config`.
    """
    with rootfile.opened(path) as file:
        yield Ntuple(file, path, config)


def source_branches(config: Config) -> dict[str, str]:
    """Return which branches each dataset of the event contract comes from."""
    given = config.constituents.named()
    sources = {f"jets/{name}": branch for name, branch in config.jets.named().items()}
    for option, name in _NUMBERS.items():
        if (branch := getattr(config, option)) is not None:
            sources[f"jets/{name}"] = branch
    for name in ("px", "py", "pz", "energy"):
        parts = (name,) if name in given else _POLAR.get(name, ("pt", "eta", "mass"))
        sources[f"constituents/{name}"] = ", ".join(given[part] for part in parts)
    return sources


def _wanted(config: Config) -> rootfile.Branches:
    flat = {branch: f"{_KEY}.jets.{name}" for name, branch in config.jets.named().items()}
    flat |= {branch: f"{_KEY}.{option}" for option in _NUMBERS if (branch := getattr(config, option)) is not None}
    jagged = {branch: f"{_KEY}.constituents.{name}" for name, branch in config.constituents.named().items()}
    return rootfile.Branches(flat, jagged)


def _cartesian(columns: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return px, py, pz, energy from pt, eta, phi and energy or mass."""
    pt, eta, phi = (columns[name].astype(np.float64) for name in ("pt", "eta", "phi"))
    pz = pt * np.sinh(eta)
    energy = (
        columns["energy"] if "energy" in columns else np.sqrt(pt**2 + pz**2 + columns["mass"].astype(np.float64) ** 2)
    )
    return {"px": pt * np.cos(phi), "py": pt * np.sin(phi), "pz": pz, "energy": energy}
