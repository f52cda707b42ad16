"""Plain ntuples: a tree with one entry per jet and lists of constituents, mapped by branch names and formulas.

The defaults are the branches of the embedded generator's files.
"""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from bunchtrain.config.base import Section
from bunchtrain.config.convert import Branch, ConstituentBranches, JetBranches, MappedColumns
from bunchtrain.convert import names, rootfile, rowwise
from bunchtrain.convert.extras import extra_columns
from bunchtrain.convert.formats.base import Batch, Layout
from bunchtrain.convert.formats.base import layout as base_layout
from bunchtrain.convert.mapping import MappedTable, Wanted
from bunchtrain.convert.table import Table
from bunchtrain.events.layout import COMMON
from bunchtrain.events.ragged import Events

#: What the rows are: see `formats.base`.
ROWS = "jets"

#: It has no columns but those that it is told.
COLUMNS = "mapped"


class Config(Section):
    """Which branch holds what; every branch may also be a formula of branches."""

    tree: str = Field("jets", description="name of the tree, one entry per jet")
    constituents: ConstituentBranches = Field(
        ConstituentBranches(px="part_px", py="part_py", pz="part_pz", energy="part_energy"),
        description="px, py, pz, energy; or pt, eta, phi and energy or mass",
    )
    jets: JetBranches = Field(
        JetBranches(pt="jet_pt", eta="jet_eta", phi="jet_phi", mass="jet_mass"),
        description="pt, eta, phi, mass; computed from the constituents where not given",
    )
    columns: MappedColumns = Field(
        default_factory=dict, description="more columns, by axis: `{tracks: {d0: {branch: trk_d0, units: mm}}}`"
    )
    run: Branch = Field("run_number", description="run; null: each file counts as a run")
    event: Branch = Field("event_number", description="event; null: each jet counts as an event")
    weight: Branch = Field("weight", description="event weight; null: 1")
    units: Literal["GeV", "MeV"] = Field("GeV", description="of momenta, energies and masses")
    metadata: str | None = Field(
        "metadata", description="string object that describes the generator in JSON, if present"
    )


_ENERGIES = ("px", "py", "pz", "pt", "energy", "mass")
_POLAR = {"px": ("pt", "phi"), "py": ("pt", "phi"), "pz": ("pt", "eta")}


class Ntuple:
    """An open ntuple; see `formats.base.Source`."""

    def __init__(self, file: Any, path: Path, config: Config) -> None:
        self.tree = config.tree
        self.generator = rootfile.json_object(file, path, config.metadata)
        self.skipped: list[str] = []
        table = Table(file, path, config.tree, f"{rowwise.KEY}.tree")
        self.entries = table.entries
        self._mapped = MappedTable(table, "jets", _wanted(config))
        rowwise.check_whole(table, config)

    def batches(self, step_size: str, start: int, stop: int) -> Iterator[Batch]:
        """Yield the jets of the entries `start` to `stop`, a step at a time."""
        for first, read, events in self._mapped.steps(step_size, start, stop):
            yield rowwise.batch(first, read, _cartesian(events), ROWS)


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


def layout(config: Config) -> Layout:
    """Return the columns and the branches they come from."""
    given = config.constituents.named()
    sources = {f"jets/{name}": branch for name, branch in config.jets.named().items()}
    sources |= rowwise.sources(config, ROWS)
    for name in ("px", "py", "pz", "energy"):
        parts = (name,) if name in given else _POLAR.get(name, ("pt", "eta", "mass"))
        sources[f"constituents/{name}"] = ", ".join(given[part] for part in parts)
    return base_layout(ROWS, sources, extra_columns(config.columns))


def _wanted(config: Config) -> dict[str, Wanted]:
    scale = 1e-3 if config.units == "MeV" else 1.0
    wanted = {}
    for axis, branches in (("jets", config.jets.named()), ("constituents", config.constituents.named())):
        for name, text in branches.items():
            wanted[f"{axis}/{name}"] = Wanted(text, f"{rowwise.KEY}.{axis}.{name}", scale if name in _ENERGIES else 1.0)
    return wanted | rowwise.wanted(config, ROWS, scale)


def _cartesian(events: Events) -> Events:
    """Add px, py, pz, energy where the constituents have pt, eta, phi and energy or mass."""
    given = events.of("constituents")
    if "px" in given:
        return events
    pt, eta, phi = (given[name].astype(np.float64) for name in ("pt", "eta", "phi"))
    with np.errstate(over="ignore"):
        pz = pt * np.sinh(eta)
    energy = given.get("energy")
    if energy is None:
        energy = np.sqrt(pt**2 + pz**2 + given["mass"].astype(np.float64) ** 2)
    p4 = {"px": pt * np.cos(phi), "py": pt * np.sin(phi), "pz": pz, "energy": energy}
    return events.joined({f"constituents/{name}": values for name, values in p4.items()})


def guess(tables: Mapping[str, list[str]]) -> float:
    """Return how sure it is that a file is of this kind, from 0 to 1: never very, other kinds have clearer marks."""
    return max((_sure(branches) for branches in tables.values()), default=0.0)


def _sure(branches: list[str]) -> float:
    found = names.constituents(branches)
    if found is None:
        return 0.0
    return 0.25 + 0.2 * names.looks_like_parts(found[0]) + 0.05 * len(names.jets(branches)[1])


def options(tables: Mapping[str, list[str]]) -> dict[str, Any]:
    """Return the options to start from."""
    tree = max(tables, key=lambda name: _sure(tables[name]), default="jets")
    branches = tables.get(tree, [])
    parts, momenta = names.constituents(branches) or ("part_", Config().constituents.named())
    prefix, jets = names.jets(name for name in branches if not name.startswith(parts))
    numbers = {option: names.number(option, branches) for option in rowwise.NUMBERS}
    used = {*momenta.values(), *jets.values(), *numbers.values()}
    more = {
        "jets": {name: name.removeprefix(prefix) for name in branches if prefix and name.startswith(prefix)},
        "constituents": {name: name.removeprefix(parts) for name in branches if parts and name.startswith(parts)},
    }
    columns = {axis: _columns({b: n for b, n in found.items() if b not in used}) for axis, found in more.items()}
    columns = {axis: found for axis, found in columns.items() if found}
    return {
        "tree": tree,
        "constituents": momenta,
        "jets": jets,
        **({"columns": columns} if columns else {}),
        **numbers,
        "units": "GeV",
    }


def _columns(found: Mapping[str, str]) -> dict[str, Any]:
    """Return branches as columns, under their names without prefix where the contract leaves these free."""
    columns: dict[str, Any] = {}
    for branch, short in found.items():
        name = branch if short in _TAKEN or not short.isidentifier() else short
        if name.isidentifier() and name not in _TAKEN:
            units = names.units(name)
            columns[name] = {"branch": branch, "units": units} if units else {"branch": branch}
    return columns


_TAKEN = {"offsets", "counts", "and", "or", "not", *_ENERGIES, "eta", "phi"}
_TAKEN |= {column.name for column in COMMON}
