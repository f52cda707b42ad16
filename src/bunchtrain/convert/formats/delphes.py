"""Delphes files: jets and what they are made of, by reference; tracks, towers, truth from the generator's particles.

Delphes counts events, it has no runs: each file counts as a run. Where the numbers of a file count anew (all 0, or from
the first again, as in files that were joined), the entry stands in for them and `Event.Number` is listed as skipped.
"""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bunchtrain.config.base import Section
from bunchtrain.config.convert import Branch, MappedColumns, Truth, only_axes
from bunchtrain.convert import rootfile, truth
from bunchtrain.convert.eventwise import Items, batch, leading, read
from bunchtrain.convert.extras import Extras, extra_columns
from bunchtrain.convert.formats.base import Batch, Layout
from bunchtrain.convert.formats.base import layout as base_layout
from bunchtrain.convert.references import Objects, known, per_jet, refuse_repeated
from bunchtrain.convert.table import Table
from bunchtrain.errors import InputError
from bunchtrain.events.layout import Column

#: What the rows are: see `formats.base`.
ROWS = "jets"


class Config(Section):
    """Which collections hold jets and what they are made of."""

    tree: str = Field("Delphes", description="name of the tree, one entry per event")
    jets: str = Field("Jet", min_length=1, description="collection of the jets: Jet, FatJet, GenJet, ...")
    constituents: list[str] = Field(
        ["EFlowTrack", "EFlowPhoton", "EFlowNeutralHadron", "ParticleFlowCandidate"],
        min_length=1,
        description="collections whose objects the jets refer to; those that a file has not are passed over",
    )
    event: Branch = Field("Event.Number", description="event; null: each entry counts as an event")
    weight: Branch = Field("Event.Weight", description="event weight, of a list the first; null: 1")
    truth: Truth | None = Field(Truth(), description="matching to generator particles; null: no truth columns")
    columns: Annotated[MappedColumns, only_axes("jets")] = Field(
        default_factory=dict, description="more columns of jets, named in short: `{jets: {b_tag: BTag}}`"
    )


_KEY = "convert.format"
_JETS = {"pt": "PT", "eta": "Eta", "phi": "Phi", "mass": "Mass"}
_P4 = ("px", "py", "pz", "energy")
_PARAMETERS = (
    Column("charge", "i4", "1", "charge", "Charge"),
    Column("d0", "f4", "mm", "transverse impact parameter, 0 for neutral ones", "D0"),
    Column("d0_error", "f4", "mm", "error of d0, 0 where not known", "ErrorD0"),
    Column("z0", "f4", "mm", "longitudinal impact parameter, 0 for neutral ones", "DZ"),
    Column("z0_error", "f4", "mm", "error of z0, 0 where not known", "ErrorDZ"),
)
_DIRECTION = (
    Column("eta", "f4", "1", "pseudorapidity", "Eta"),
    Column("phi", "f4", "rad", "azimuth", "Phi"),
)
_PDG = Column("pdg", "i4", "1", "PDG code as far as the detector tells it; 0 for neutral hadrons and towers", "PID")
_PILEUP = Column("is_pileup", "i4", "1", "1 for pile-up, where it is known", "IsPU")
_TOWERS = (
    Column("em_energy", "f4", "GeV", "part in the electromagnetic calorimeter", "Eem"),
    Column("had_energy", "f4", "GeV", "part in the hadronic calorimeter", "Ehad"),
)
_COLLECTIONS = {
    "constituents": (*_PARAMETERS, _PDG, _PILEUP),
    "tracks": (Column("pt", "f4", "GeV", "transverse momentum", "PT"), *_DIRECTION, *_PARAMETERS, _PDG),
    "cells": (*_DIRECTION, *_TOWERS),
}


def layout(config: Config) -> Layout:
    """Return the columns and the branches they come from."""
    sources = {f"jets/{name}": f"{config.jets}.{short}" for name, short in _JETS.items()}
    sources |= {"jets/event_number": config.event or "", "jets/weight": config.weight or ""}
    sources |= {f"constituents/{name}": f"{config.jets}.Constituents" for name in _P4}
    more = {f"{axis}/{one.name}": one for axis, columns in _COLLECTIONS.items() for one in columns}
    more["cells/energy"] = Column("energy", "f4", "GeV", "energy of the tower", "E")
    if config.truth is not None:
        more |= truth.layout(truth.COLUMNS, "Particle")
    return base_layout(ROWS, sources, more | extra_columns(config.columns))


@contextlib.contextmanager
def opened(path: Path, config: Config) -> Iterator["Delphes"]:
    """Open a file.

    Raises
    ------
    InputError
        If the file cannot be read, lacks a branch, or holds an event twice.
    """
    with rootfile.opened(path) as file:
        yield Delphes(file, path, config)


class Delphes:
    """An open file; see `formats.base.Source`."""

    def __init__(self, file: Any, path: Path, config: Config) -> None:
        self.tree, self.generator = config.tree, dict[str, Any]()
        self._config, self._table = config, Table(file, path, config.tree, f"{_KEY}.tree")
        self.entries = self._table.entries
        self._jets = {name: f"{config.jets}.{short}" for name, short in _JETS.items()}
        self._references = f"{config.jets}.Constituents.refs"
        self._check_jets()
        self._objects = Objects(self._table, config.constituents, f"{_KEY}.constituents")
        self.skipped = list(self._objects.missing)
        if config.weight is not None:
            self._table.require(config.weight, f"{_KEY}.weight", (1,))
        self._event = self._numbers()
        self._particles = {} if config.truth is None else self._particle_branches()
        columns = config.columns.get("jets", {})
        self._extras = Extras(self._table, columns, [f"{config.jets}."], f"{_KEY}.columns.jets")

    def _check_jets(self) -> None:
        table, jets = self._table, self._config.jets
        if f"{jets}.PT" not in table:
            choices = [name for name in known(table) if f"{name}.Constituents" in table]
            problem = "a file has no such collection of jets"
            raise InputError(problem, file=table.path, key=f"{_KEY}.jets", found=jets, choices=choices)
        for branch in self._jets.values():
            table.require(branch, f"{_KEY}.jets", (1,))
        table.require(self._references, f"{_KEY}.jets", (2,))

    def _numbers(self) -> str | None:
        """Return the branch of the event numbers; None where there is none, or they count anew."""
        branch = self._config.event
        if branch is None:
            return None
        self._table.require(branch, f"{_KEY}.event", (1,))
        if refuse_repeated(self._table, branch, f"{_KEY}.event"):
            return branch
        self.skipped.append(branch)
        return None

    def _particle_branches(self) -> dict[str, str]:
        """Return the branches of the generator's particles; none if the file lacks them."""
        needed = {"pdg": "PID", "pt": "PT", "eta": "Eta", "phi": "Phi"}
        useful = {"mother": "M1", "other_mother": "M2", "is_pileup": "IsPU"}
        found = {name: f"Particle.{short}" for name, short in (needed | useful).items()}
        good = {name for name, branch in found.items() if self._table.holds(branch)}
        self.skipped += [branch for name, branch in found.items() if name not in good]
        return {name: found[name] for name in found if name in good} if needed.keys() <= good else {}

    def batches(self, step_size: str, start: int, stop: int) -> Iterator[Batch]:
        """Yield the jets of the events `start` to `stop`, a step at a time."""
        numbers = [branch for branch in (self._event, self._config.weight) if branch is not None]
        own = [*self._jets.values(), self._references, *self._extras.branches, *self._particles.values()]
        branches = list(dict.fromkeys([*own, *self._objects.branches, *numbers]))
        for first, arrays in self._table.steps(branches, step_size, start, stop):
            yield self._batch(first, arrays)

    def _batch(self, first: int, arrays: Mapping[str, Any]) -> Batch:
        table, weight = self._table, self._config.weight
        jets = read(table, first, arrays, self._jets)
        references = per_jet(arrays[self._references], jets, table, first, self._references)
        objects = self._objects.of(first, arrays, jets, references)
        collections = {
            "constituents": _only(objects, (*_P4, *(one.name for one in _COLLECTIONS["constituents"]))),
            "tracks": _only(objects.keep(objects["is_track"]), [one.name for one in _COLLECTIONS["tracks"]]),
            "cells": _only(objects.keep(objects["is_tower"]), ["energy", *(one.name for one in _COLLECTIONS["cells"])]),
        }
        events = {} if weight is None else {"weight": leading(table, first, arrays, weight)}
        if self._event is not None:
            events["event_number"] = leading(table, first, arrays, self._event)
        more = self._truth(first, arrays, jets) | self._extras(first, arrays, jets.counts)
        return batch(first, jets.joined(**more), collections, events)

    def _truth(self, first: int, arrays: Mapping[str, Any], jets: Items) -> dict[str, NDArray[Any]]:
        if self._config.truth is None:
            return {}
        if not self._particles:
            return dict(truth.unknown(len(jets)))
        particles = read(self._table, first, arrays, self._particles)
        particles = particles.joined(last=_last(particles))
        if "is_pileup" in particles:
            particles = particles.keep(particles["is_pileup"] == 0)
        return truth.match(jets, particles, self._config.truth)


def _only(items: Items, names: Any) -> Items:
    return Items({name: items[name] for name in names}, items.counts)


def _last(particles: Items) -> NDArray[np.bool_]:
    """Return which particles have no child of their own kind, shape [m]; all where the file knows no mothers."""
    child, parent = [], []
    for name in ("mother", "other_mother"):
        if name in particles:
            event, mother = particles.owner, particles[name].astype(np.int64)
            given = np.flatnonzero((mother >= 0) & (mother < particles.counts[event]))
            child.append(given)
            parent.append(particles.starts[event[given]] + mother[given])
    if not child:
        return np.ones(len(particles), bool)
    return truth.last_copies(particles["pdg"], np.concatenate(child), np.concatenate(parent))


def guess(tables: Mapping[str, list[str]]) -> float:
    """Return how sure it is that a file is of this kind, from 0 to 1."""
    return max((_sure(name, branches) for name, branches in tables.items()), default=0.0)


def options(tables: Mapping[str, list[str]]) -> dict[str, Any]:
    """Return the options to start from."""
    tree = max(tables, key=lambda name: _sure(name, tables[name]), default="Delphes")
    branches = set(tables.get(tree, []))
    found: dict[str, Any] = {} if tree == "Delphes" else {"tree": tree}
    jets = [name.partition(".")[0] for name in tables.get(tree, []) if name.endswith(".Constituents")]
    if "Jet" not in jets and jets:
        found["jets"] = next((name for name in jets if not name.startswith("Gen")), jets[0])
    standard = Config().constituents
    if not any(f"{name}.fUniqueID" in branches for name in standard):
        found["constituents"] = [name for name in ("Tower", "Track", "Muon", "Particle") if f"{name}.PT" in branches]
    for option, branch in (("event", "Event.Number"), ("weight", "Event.Weight")):
        if branch not in branches:
            found[option] = None
    return found


def _sure(tree: str, branches: list[str]) -> float:
    known_ = set(branches)
    marks = ("Event.Number", "Particle.PID", "Jet.PT", "Jet.Constituents", "Track.PT", "Tower.ET", "MissingET.MET")
    if not any(name.endswith(".Constituents") for name in known_) or not any(
        name.endswith(".fUniqueID") for name in known_
    ):
        return 0.0
    return min(1.0, 0.5 * (tree == "Delphes") + 0.1 * sum(name in known_ for name in marks) + 0.1)
