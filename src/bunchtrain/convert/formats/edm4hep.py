"""EDM4hep, the event model of future colliders: tree `events`, a branch per member (`Jet.momentum.x`), in GeV.

A jet's constituents are the objects that its relation `particles` points to: `particles_begin` and `particles_end` are
places in a list of indices, the branch `Jet#2.index` in older files and `_Jet_particles.index` in newer ones. With
`jets: null` each event is one row, its constituents all reconstructed particles and its truth that of the whole event.
"""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, model_validator

from bunchtrain.config.base import Section
from bunchtrain.config.convert import Branch, MappedColumns, Truth
from bunchtrain.convert import rootfile, truth
from bunchtrain.convert.arrays import kinematics
from bunchtrain.convert.eventwise import Items, batch, leading, linked, read, themselves
from bunchtrain.convert.extras import Extras, extra_columns
from bunchtrain.convert.formats.base import Batch, Layout
from bunchtrain.convert.formats.base import layout as base_layout
from bunchtrain.convert.formula import polar
from bunchtrain.convert.relations import Relation
from bunchtrain.convert.table import Table
from bunchtrain.convert.unique import check_unique
from bunchtrain.events.ragged import Columns

#: What the rows are: see `formats.base`.
ROWS = "jets"


class Config(Section):
    """Which collections hold jets, constituents and generator particles."""

    tree: str = Field("events", description="name of the tree, one entry per event")
    jets: str | None = Field("Jet", min_length=1, description="collection of the jets; null: each event is one jet")
    constituents: str = Field(
        "ReconstructedParticles", min_length=1, description="collection that jets refer to; none: the jet is its own"
    )
    particles: str = Field("auto", description="collection of generator particles; auto: MCParticles, Particle, ...")
    header: str | None = Field(
        "EventHeader", description="collection with run and event number; null, or not there: each entry is an event"
    )
    weight: Branch = Field("EventHeader.weight", description="event weight; null: 1; the default may be missing")
    truth: Truth | None = Field(Truth(), description="matching to generator particles; null: no truth columns")
    columns: MappedColumns = Field(
        default_factory=dict,
        description="more columns of jets and constituents, named in short: `{constituents: {charge: charge}}`",
    )

    @model_validator(mode="after")
    def _consistent(self) -> "Config":
        if self.jets is None and self.constituents == "none":
            raise ValueError("jets or constituents: one of them must be a collection")
        known = {"jets"} | ({"constituents"} if self.constituents != "none" else set())
        if set(self.columns) - known:
            raise ValueError(f"columns of {', '.join(sorted(known))} alone")
        return self


_KEY = "convert.format"
_P4 = {"px": "momentum.x", "py": "momentum.y", "pz": "momentum.z", "energy": "energy"}
_PARTICLES = ("MCParticles", "Particle", "MCParticle", "GenParticles")


def layout(config: Config) -> Layout:
    """Return the columns and the branches they come from."""
    jets = config.jets or config.constituents
    constituents = jets if config.constituents == "none" else config.constituents
    sources = {f"jets/{name}": f"{jets}.momentum, energy" for name in ("pt", "eta", "phi", "mass")}
    sources |= {f"constituents/{name}": f"{constituents}.{member}" for name, member in _P4.items()}
    sources |= {f"jets/{name}_number": f"{config.header}.{name}Number" for name in ("run", "event") if config.header}
    sources |= {"jets/weight": config.weight or ""}
    more = extra_columns(config.columns)
    if config.truth is not None:
        more |= truth.layout(truth.COLUMNS, "MCParticles" if config.particles == "auto" else config.particles)
    return base_layout(ROWS, sources, more)


@contextlib.contextmanager
def opened(path: Path, config: Config) -> Iterator["Edm4hep"]:
    """Open a file.

    Raises
    ------
    InputError
        If the file cannot be read, lacks a branch, or holds an event twice.
    """
    with rootfile.opened(path) as file:
        yield Edm4hep(file, path, config)


class Edm4hep:
    """An open file; see `formats.base.Source`."""

    def __init__(self, file: Any, path: Path, config: Config) -> None:
        self.tree, self.generator = config.tree, dict[str, Any]()
        self.skipped: list[str] = []
        self._config, self._table = config, Table(file, path, config.tree, f"{_KEY}.tree")
        self.entries = self._table.entries
        own = config.constituents == "none"
        self._jets = self._members(config.jets, "jets") if config.jets else {}
        self._constituents = {} if own else self._members(config.constituents, "constituents")
        self._relation = None
        if config.jets and not own:
            self._relation = Relation(file, self._table, config.jets, "particles", config.constituents, f"{_KEY}.jets")
        self._numbers = self._header()
        self._weight = self._event_weight()
        self._particles, self._parents = self._generated(file) if config.truth else ({}, None)
        jets, key = config.jets or config.constituents, f"{_KEY}.columns"
        self._extras = {
            "jets": Extras(self._table, config.columns.get("jets", {}), [f"{jets}."], f"{key}.jets"),
            "constituents": Extras(
                self._table, config.columns.get("constituents", {}), [f"{config.constituents}."], f"{key}.constituents"
            ),
        }

    def _members(self, collection: str, key: str) -> dict[str, str]:
        """Return the branches of the four-momenta of a collection."""
        found = {name: f"{collection}.{member}" for name, member in _P4.items()}
        for branch in found.values():
            self._table.require(branch, f"{_KEY}.{key}", (1,))
        return found

    def _header(self) -> dict[str, str]:
        """Return the branches of run and event number, none where the file has no header."""
        header = self._config.header
        if header is None:
            return {}
        found = {f"{name}_number": f"{header}.{name}Number" for name in ("run", "event")}
        missing = [branch for branch in found.values() if self._table.readable(branch) is None]
        if missing and header == Config.model_fields["header"].default:
            self.skipped += missing
            return {}
        for branch in found.values():
            self._table.require(branch, f"{_KEY}.header", (1,))
        check_unique(self._table, [found["run_number"]], found["event_number"], f"{_KEY}.header")
        return found

    def _event_weight(self) -> str | None:
        branch = self._config.weight
        if branch is None:
            return None
        if branch == Config.model_fields["weight"].default and self._table.readable(branch) is None:
            self.skipped.append(branch)
            return None
        self._table.require(branch, f"{_KEY}.weight", (1,))
        return branch

    def _generated(self, file: Any) -> tuple[dict[str, str], Relation | None]:
        """Return the branches of the generator particles, and the relation to their mothers."""
        table, wanted = self._table, self._config.particles
        names = _PARTICLES if wanted == "auto" else (wanted,)
        name = next((one for one in names if table.readable(f"{one}.PDG") is not None), None)
        if name is None:
            if wanted != "auto":
                table.require(f"{wanted}.PDG", f"{_KEY}.particles", (1,))
            self.skipped.append(f"{names[0]}.PDG")
            return {}, None
        found = {"pdg": f"{name}.PDG"} | {one: f"{name}.{_P4[one]}" for one in ("px", "py", "pz")}
        for branch in found.values():
            table.require(branch, f"{_KEY}.particles", (1,))
        if not Relation.known(table, name, "parents"):
            self.skipped.append(f"{name}.parents_begin")
            return found, None
        return found, Relation(file, table, name, "parents", name, f"{_KEY}.particles")

    def batches(self, step_size: str, start: int, stop: int) -> Iterator[Batch]:
        """Yield the jets of the entries `start` to `stop`, a step at a time."""
        branches = [*self._jets.values(), *self._constituents.values(), *self._particles.values()]
        branches += [*self._numbers.values(), *([self._weight] if self._weight else [])]
        for relation in (self._relation, self._parents):
            branches += relation.branches if relation else []
        branches += [branch for extras in self._extras.values() for branch in extras.branches]
        for first, arrays in self._table.steps(dict.fromkeys(branches), step_size, start, stop):
            yield self._batch(first, arrays)

    def _batch(self, first: int, arrays: Mapping[str, Any]) -> Batch:
        jets, constituents = self._rows(first, arrays)
        events: Columns = {
            name: leading(self._table, first, arrays, branch).astype(np.uint64)
            for name, branch in self._numbers.items()
        }
        if self._weight:
            events["weight"] = leading(self._table, first, arrays, self._weight)
        jets = jets.joined(**self._truth(first, arrays, jets), **self._extras["jets"](first, arrays, jets.counts))
        return batch(first, jets, {"constituents": constituents}, events)

    def _rows(self, first: int, arrays: Mapping[str, Any]) -> tuple[Items, Items]:
        """Return the jets with pt, eta, phi, mass, and their constituents."""
        items = Items({}, np.zeros(0, np.int64))
        if self._constituents:
            items = read(self._table, first, arrays, self._constituents)
            items = items.joined(**self._extras["constituents"](first, arrays, items.counts))
        if not self._jets:
            return _whole(items)
        jets = read(self._table, first, arrays, self._jets)
        jets = Items(polar(jets.columns), jets.counts)
        if self._relation is None:
            return jets, themselves(jets)
        links = self._relation(first, arrays, jets.counts)
        return jets, linked(self._table, first, jets, items, links, self._relation.names)[0]

    def _truth(self, first: int, arrays: Mapping[str, Any], jets: Items) -> Columns:
        """Return the truth columns of the jets, each of shape [n]."""
        if self._config.truth is None:
            return {}
        if not self._particles:
            return {**truth.unknown(len(jets))}
        particles = read(self._table, first, arrays, self._particles)
        momenta = polar({**particles.columns, "energy": np.zeros(len(particles))})
        particles = particles.joined(**{name: momenta[name] for name in ("pt", "eta", "phi")})
        if self._parents is not None:
            child, parent = self._parents.pairs(first, arrays, particles)
            particles = particles.joined(last=truth.last_copies(particles["pdg"], child, parent))
        if not self._jets:  # every particle of the event is within the jet
            here = {name: np.zeros(len(particles)) for name in ("eta", "phi")}
            particles, jets = particles.joined(**here), jets.joined(eta=np.zeros(len(jets)), phi=np.zeros(len(jets)))
        return truth.match(jets, particles, self._config.truth)


def _whole(items: Items) -> tuple[Items, Items]:
    """Return each event with particles as one jet, and its constituents."""
    some = items.counts > 0
    owned = Items(items.columns, items.counts[some])
    return Items(kinematics(owned.columns, owned.counts), some.astype(np.int64)), owned


def guess(tables: dict[str, list[str]]) -> float:
    """Return how sure it is that a file with these branches, by tree, is EDM4hep."""
    branches = set(tables.get("events", []))
    if not any(f"{one}.PDG" in branches for one in _PARTICLES) and "ReconstructedParticles.momentum.x" not in branches:
        return 0.0
    return 0.95 if {"metadata", "podio_metadata"} & tables.keys() else 0.7


def options(tables: dict[str, list[str]]) -> dict[str, Any]:
    """Return a mapping to start from."""
    branches = set(tables.get("events", []))
    jets = next((one for one in ("Jet", "Jets", "RefinedJets") if f"{one}.momentum.x" in branches), None)
    found: dict[str, Any] = {"jets": jets}
    if "ReconstructedParticles.charge" in branches:
        found["columns"] = {"constituents": {"charge": "charge"}}
    return found
