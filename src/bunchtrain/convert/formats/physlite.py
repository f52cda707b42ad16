"""ATLAS PHYSLITE: tree `CollectionTree`, a branch per variable of a container (`AnalysisJetsAuxDyn.pt`), in MeV.

Tracks belong to the closest jet within the radius. PHYSLITE has no clusters or flow objects, and the links that jets
hold to theirs lead nowhere: each jet is its own only constituent. `constituents: tracks` takes the tracks, as pions;
jets without one are then left out and counted as dropped, which may be most, as PHYSLITE keeps few tracks.

Truth comes from the labels that ATLAS has written: flavour from `HadronConeExclTruthLabelID`, parton from
`PartonTruthLabelID` (the parton of highest energy, by ghost association, without sign of antiparticles where ATLAS
wrote none). Tops and bosons are matched in ΔR, from `TruthTop` and `TruthBoson`, or else from `HardScatterParticles`.
"""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from bunchtrain.config.base import Section
from bunchtrain.config.convert import Branch, MappedColumns, Truth
from bunchtrain.convert import perigee, rootfile, truth
from bunchtrain.convert.cones import within
from bunchtrain.convert.eventwise import Items, batch, flat, leading, read, single, themselves
from bunchtrain.convert.extras import Extras, extra_columns
from bunchtrain.convert.formats.base import Batch, Layout
from bunchtrain.convert.formats.base import layout as base_layout
from bunchtrain.convert.formula import polar
from bunchtrain.convert.perigee import GEV
from bunchtrain.convert.perigee import branch as _branch
from bunchtrain.convert.table import Table
from bunchtrain.convert.unique import check_unique
from bunchtrain.events.ragged import Columns

#: What the rows are: see `formats.base`.
ROWS = "jets"


class Config(Section):
    """Which containers hold jets and tracks."""

    tree: str = Field("CollectionTree", description="name of the tree, one entry per event")
    jets: str = Field("AnalysisJets", min_length=1, description="container of the jets, e.g. AnalysisLargeRJets")
    constituents: Literal["none", "tracks"] = Field(
        "none", description="none: each jet is its own constituent; tracks: as pions, jets without one are dropped"
    )
    tracks: str = Field("InDetTrackParticles", min_length=1, description="container of the tracks")
    radius: float = Field(0.4, gt=0, le=3, description="largest ΔR of jet and track")
    weight: Branch = Field(
        "mcEventWeights",
        description="of EventInfo, of a list the first; null: 1; mcEventWeights may be missing in data",
    )
    truth: Truth | None = Field(Truth(), description="matching to tops and bosons; null: no truth columns")
    columns: MappedColumns = Field(
        default_factory=dict,
        description="more columns of jets and tracks, named in short: `{jets: {width: Width}}`; units GeV: from MeV",
    )

    @model_validator(mode="after")
    def _known_axes(self) -> "Config":
        known = {"jets", "tracks"} | ({"constituents"} if self.constituents == "tracks" else set())
        if set(self.columns) - known:
            raise ValueError(f"columns of {', '.join(sorted(known))} alone")
        return self


_KEY = "convert.format"


def layout(config: Config) -> Layout:
    """Return the columns and the branches they come from."""
    names = {"pt": "pt", "eta": "eta", "phi": "phi", "mass": "m"}
    sources = {f"jets/{name}": _branch(config.jets, short) for name, short in names.items()}
    sources |= {f"jets/{n}_number": _branch("EventInfo", f"{n}Number") for n in ("run", "event")}
    sources |= {"jets/weight": _branch("EventInfo", config.weight) if config.weight else ""}
    source = _branch(config.jets if config.constituents == "none" else config.tracks, "*")
    sources |= {f"constituents/{name}": source for name in ("px", "py", "pz", "energy")}
    more = {f"tracks/{one.name}": one for one in perigee.COLUMNS} | extra_columns(config.columns)
    if config.truth is not None:
        more |= truth.layout(truth.COLUMNS, _branch(config.jets, "*TruthLabelID"))
    return base_layout(ROWS, sources, more)


@contextlib.contextmanager
def opened(path: Path, config: Config) -> Iterator["Physlite"]:
    """Open a file.

    Raises
    ------
    InputError
        If the file cannot be read, lacks a branch, or holds an event twice.
    """
    with rootfile.opened(path) as file:
        yield Physlite(file, path, config)


class Physlite:
    """An open file; see `formats.base.Source`."""

    def __init__(self, file: Any, path: Path, config: Config) -> None:
        self.tree, self.generator = config.tree, dict[str, Any]()
        self.skipped: list[str] = []
        self._config, self._table = config, Table(file, path, config.tree, f"{_KEY}.tree")
        self.entries = self._table.entries
        names = {"pt": "pt", "eta": "eta", "phi": "phi", "mass": "m"}
        self._jets = perigee.required(self._table, config.jets, names, f"{_KEY}.jets")
        self._tracks = perigee.Tracks(self._table, config.tracks, f"{_KEY}.tracks")
        self._run, self._event = (_branch("EventInfo", name) for name in ("runNumber", "eventNumber"))
        for branch in (self._run, self._event):
            self._table.require(branch, _KEY, (0,))
        check_unique(self._table, [self._run], self._event, _KEY)
        self._weight = self._event_weight()
        self.skipped += self._tracks.skipped
        self._labels, self._particles = self._truth_branches() if config.truth else ({}, [])
        self._extras = {axis: self._extra(axis) for axis in ("jets", "tracks", "constituents")}
        if (links := _branch(config.jets, "constituentLinks")) in self._table:
            self.skipped.append(links)

    def _event_weight(self) -> str | None:
        name = self._config.weight
        if name is None:
            return None
        branch = name if name in self._table else _branch("EventInfo", name)
        if name == Config.model_fields["weight"].default and self._table.readable(branch) is None:
            self.skipped.append(branch)
            return None
        self._table.require(branch, f"{_KEY}.weight", (0, 1))
        return branch

    def _extra(self, axis: Any) -> Extras:
        container = self._config.jets if axis == "jets" else self._config.tracks
        prefixes = [_branch(container, ""), _branch("EventInfo", "")]
        return Extras(self._table, self._config.columns.get(axis, {}), prefixes, f"{_KEY}.columns.{axis}", GEV)

    def _truth_branches(self) -> tuple[dict[str, str], list[dict[str, str]]]:
        """Return the branches of labels, by column, and those of each container of tops and bosons."""
        labels = {"truth_flavour": "HadronConeExclTruthLabelID", "truth_parton": "PartonTruthLabelID"}
        branches = {name: _branch(self._config.jets, short) for name, short in labels.items()}
        found = {name: branch for name, branch in branches.items() if self._table.holds(branch)}
        self.skipped += [branch for name, branch in branches.items() if name not in found]
        names = {"pdg": "pdgId", "px": "px", "py": "py", "pz": "pz", "energy": "e"}
        for several in (("TruthTop", "TruthBoson"), ("HardScatterParticles",)):
            there = [{name: _branch(one, short) for name, short in names.items()} for one in several]
            there = [one for one in there if all(self._table.holds(branch) for branch in one.values())]
            if there:
                break
        else:
            self.skipped += [_branch("TruthTop", "pdgId"), _branch("TruthBoson", "pdgId")]
        return found, there

    def batches(self, step_size: str, start: int, stop: int) -> Iterator[Batch]:
        """Yield the jets of the entries `start` to `stop`, a step at a time."""
        branches = [self._run, self._event, *([self._weight] if self._weight else [])]
        branches += [*self._jets.values(), *self._tracks.branches]
        branches += [*self._labels.values(), *(branch for one in self._particles for branch in one.values())]
        branches += [branch for extras in self._extras.values() for branch in extras.branches]
        for first, arrays in self._table.steps(dict.fromkeys(branches), step_size, start, stop):
            yield self._batch(first, arrays)

    def _batch(self, first: int, arrays: Mapping[str, Any]) -> Batch:
        jets = read(self._table, first, arrays, self._jets)
        jets = jets.joined(pt=jets["pt"] * GEV, mass=jets["mass"] * GEV)
        tracks = self._tracks(first, arrays)
        own = within(jets, tracks, self._config.radius).closest()

        def given(axis: str, names: Iterable[str]) -> Items:
            columns = {name: tracks[name] for name in names} | self._extras[axis](first, arrays, tracks.counts)
            return Items(columns, tracks.counts).given(own.jet, own.item, len(jets))

        pions = self._config.constituents == "tracks"
        collections = {
            "constituents": given("constituents", ("px", "py", "pz", "energy")) if pions else themselves(jets),
            "tracks": given("tracks", [one.name for one in perigee.COLUMNS]),
        }
        jets = jets.joined(**self._truth(first, arrays, jets), **self._extras["jets"](first, arrays, jets.counts))
        return batch(first, jets, collections, self._events(first, arrays))

    def _events(self, first: int, arrays: Mapping[str, Any]) -> Columns:
        """Return what all jets of an event share, each of shape [e]."""
        found = {
            "run_number": single(self._table, first, arrays, self._run).astype(np.uint64),
            "event_number": single(self._table, first, arrays, self._event).astype(np.uint64),
        }
        if self._weight:
            shape = self._table.shape(self._weight)
            get = leading if shape is not None and shape.depth else single
            found["weight"] = get(self._table, first, arrays, self._weight)
        return found

    def _truth(self, first: int, arrays: Mapping[str, Any], jets: Items) -> Columns:
        """Return the truth columns of the jets, each of shape [n]."""
        if self._config.truth is None:
            return {}
        found: Columns = {**truth.unknown(len(jets))}
        for name, branch in self._labels.items():
            found[name] = flat(self._table, first, arrays, branch, jets.counts, self._jets["pt"])
        found["truth_parton"] = np.maximum(found["truth_parton"], 0)
        origins = [self._matched(read(self._table, first, arrays, one), jets) for one in self._particles]
        return found | ({"truth_origin": truth.heaviest(origins)} if origins else {})

    def _matched(self, particles: Items, jets: Items) -> NDArray[np.int32]:
        columns = polar({name: particles[name] * GEV for name in ("px", "py", "pz", "energy")})
        cuts = self._config.truth or Truth()
        return truth.match(jets, particles.joined(**columns), cuts)["truth_origin"].astype(np.int32)


def guess(tables: dict[str, list[str]]) -> float:
    """Return how sure it is that a file with these branches, by tree, is PHYSLITE."""
    branches = tables.get("CollectionTree", [])
    if not any("AuxDyn." in one for one in branches):
        return 0.0
    return 0.95 if "AnalysisJetsAuxDyn.pt" in branches else 0.5


def options(tables: dict[str, list[str]]) -> dict[str, Any]:
    """Return a mapping to start from."""
    branches = set(tables.get("CollectionTree", []))
    found: dict[str, Any] = {"jets": "AnalysisJets"}
    if _branch("InDetTrackParticles", "numberOfPixelHits") in branches:
        found["columns"] = {"tracks": {"pixel_hits": "numberOfPixelHits", "sct_hits": "numberOfSCTHits"}}
    return found
