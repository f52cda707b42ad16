"""CMS NanoAOD: tree `Events`, a table per collection (`Jet_pt`, `FatJet_pt`), jets with their particle-flow candidates.

Constituents come from a table of candidates, by the table of indices that goes with the jets (`JetPFCands_jetIdx` and
its index of candidates), or without one by ΔR: a candidate belongs to the closest jet within the radius. Plain NanoAOD
has no candidates: with `constituents: none` each jet is its own only constituent.

run_number holds run and luminosity block, as run · 2³² + block, event_number the event: together they are as unique as
the three numbers in the file, and a file in which they come twice is refused.
"""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from bunchtrain.config.base import Section
from bunchtrain.config.convert import Branch, MappedColumns, Truth, only_axes
from bunchtrain.convert import rootfile, truth
from bunchtrain.convert.candidates import TABLES, Candidates, kinematics
from bunchtrain.convert.eventwise import Items, batch, read, single
from bunchtrain.convert.extras import Extras, extra_columns
from bunchtrain.convert.formats.base import Batch, Layout
from bunchtrain.convert.formats.base import layout as base_layout
from bunchtrain.convert.table import Table
from bunchtrain.convert.unique import check_unique
from bunchtrain.errors import InputError
from bunchtrain.events.layout import Column
from bunchtrain.events.ragged import Columns

#: What the rows are: see `formats.base`.
ROWS = "jets"


class Config(Section):
    """Which tables hold jets and constituents."""

    tree: str = Field("Events", description="name of the tree, one entry per event")
    jets: str = Field("Jet", min_length=1, description="table of the jets: Jet, FatJet, ScoutingPFJet, ...")
    constituents: str = Field(
        "auto",
        min_length=1,
        description="table of the candidates, e.g. PFCands; auto: found by name; none: each jet is its own constituent",
    )
    index: str | None = Field(
        "auto", description="table that tells the candidates of each jet; auto: <jets>PFCands; null: matched in ΔR"
    )
    radius: float = Field(0.4, gt=0, le=3, description="largest ΔR of jet and candidate, where there are no indices")
    weight: Branch = Field("genWeight", description="event weight; null: 1; genWeight may be missing, as in real data")
    truth: Truth | None = Field(Truth(), description="matching to generator particles; null: no truth columns")
    columns: Annotated[MappedColumns, only_axes("jets", "constituents")] = Field(
        default_factory=dict,
        description="more columns of jets and constituents, named in short: `{jets: {btag: btagDeepFlavB}}`",
    )


_KEY = "convert.format"
_LAST_COPY = 1 << 13  # bit of GenPart_statusFlags
_FLAVOURS = {
    "hadron_flavour": (
        "hadronFlavour",
        Column("hadron_flavour", "i4", "1", "5 b, 4 c, 0 light by ghost hadrons in the jet, -1 not known"),
    ),
    "parton_flavour": (
        "partonFlavour",
        Column("parton_flavour", "i4", "1", "PDG code of the parton by ghost partons in the jet, 0 none or not known"),
    ),
    "gen_pt": ("pt", Column("gen_pt", "f4", "GeV", "pt of the generator jet of the jet, 0 none or not known")),
}


def layout(config: Config) -> Layout:
    """Return the columns and the branches they come from."""
    sources = {f"jets/{name}": f"{config.jets}_{name}" for name in ("pt", "eta", "phi", "mass")}
    sources |= {"jets/run_number": "run, luminosityBlock", "jets/event_number": "event"}
    sources |= {"jets/weight": config.weight or ""}
    candidates = config.jets if config.constituents == "none" else config.constituents
    candidates = "PFCands" if candidates == "auto" else candidates
    sources |= {f"constituents/{name}": f"{candidates}_pt, eta, phi, mass" for name in ("px", "py", "pz", "energy")}
    more = extra_columns(config.columns)
    if config.truth is not None:
        more |= truth.layout(truth.COLUMNS, "GenPart")
        more |= {f"jets/{name}": column for name, (_, column) in _FLAVOURS.items()}
    return base_layout(ROWS, sources, more)


@contextlib.contextmanager
def opened(path: Path, config: Config) -> Iterator["NanoAOD"]:
    """Open a file.

    Raises
    ------
    InputError
        If the file cannot be read, lacks a branch, or holds an event twice.
    """
    with rootfile.opened(path) as file:
        yield NanoAOD(file, path, config)


class NanoAOD:
    """An open file; see `formats.base.Source`."""

    def __init__(self, file: Any, path: Path, config: Config) -> None:
        self.tree, self.generator = config.tree, dict[str, Any]()
        self.skipped: list[str] = []
        self._config, self._table = config, Table(file, path, config.tree, f"{_KEY}.tree")
        self.entries = self._table.entries
        table = self._table
        self._jets = kinematics(table, config.jets, f"{_KEY}.jets")
        for branch in ("run", "event"):
            table.require(branch, _KEY, (0,))
        self._run = ["run", *self._table.optional(self.skipped, "luminosityBlock", depth=0)]
        check_unique(table, self._run, "event", _KEY)
        self._weight = None if config.weight is None else self._event_weight(config.weight)
        self._candidates = Candidates(table, config, self.skipped)
        key = f"{_KEY}.columns.jets"
        self._extras = Extras(table, config.columns.get("jets", {}), [f"{config.jets}_"], key)
        self._particles = self._generated() if config.truth else {}
        self._flavours = self._generator_jets() if config.truth else {}

    def _event_weight(self, branch: str) -> str | None:
        if branch == Config.model_fields["weight"].default and not self._table.optional(self.skipped, branch, depth=0):
            return None
        self._table.require(branch, f"{_KEY}.weight", (0,))
        return branch

    def _generated(self) -> dict[str, str]:
        """Return the branches of the generator particles, by column."""
        names = {"pdg": "GenPart_pdgId", "pt": "GenPart_pt", "eta": "GenPart_eta", "phi": "GenPart_phi"}
        if not self._table.optional(self.skipped, *names.values()):
            return {}
        flags = self._table.optional(self.skipped, "GenPart_statusFlags")
        return names | ({"flags": flags[0]} if flags else {})

    def _generator_jets(self) -> dict[str, tuple[str, str | None]]:
        """Return where the columns of `_FLAVOURS` come from: a branch, and the index that leads to it."""
        jets, found = self._config.jets, dict[str, tuple[str, str | None]]()
        links = [(one, f"{jets}_{one[0].lower()}{one[1:]}Idx") for one in ("GenJet", "GenJetAK8")]
        linked = next((pair for pair in links if self._table.holds(pair[1])), None)
        for name, (short, _) in _FLAVOURS.items():
            if name != "gen_pt" and self._table.holds(f"{jets}_{short}"):
                found[name] = f"{jets}_{short}", None
            elif linked is not None and self._table.holds(f"{linked[0]}_{short}"):
                found[name] = f"{linked[0]}_{short}", linked[1]
            else:
                self.skipped.append(f"{jets}_{short}" if name != "gen_pt" else f"{jets}_genJetIdx")
        return found

    def batches(self, step_size: str, start: int, stop: int) -> Iterator[Batch]:
        """Yield the jets of the entries `start` to `stop`, a step at a time."""
        numbers = [*self._run, "event", *([self._weight] if self._weight else [])]
        links = [branch for pair in self._flavours.values() for branch in pair if branch]
        lists = [*self._jets.values(), *self._particles.values(), *self._candidates.branches, *links]
        for first, arrays in self._table.steps([*numbers, *lists, *self._extras.branches], step_size, start, stop):
            yield self._batch(first, arrays)

    def _batch(self, first: int, arrays: Mapping[str, Any]) -> Batch:
        jets = read(self._table, first, arrays, self._jets)
        constituents = self._candidates(first, arrays, jets)
        jets = jets.joined(**self._truth(first, arrays, jets), **self._extras(first, arrays, jets.counts))
        return batch(first, jets, {"constituents": constituents}, self._events(first, arrays))

    def _events(self, first: int, arrays: Mapping[str, Any]) -> Columns:
        """Return what all jets of an event share, each of shape [e]."""
        run, *block = (single(self._table, first, arrays, name).astype(np.uint64) for name in self._run)
        if any((values >> np.uint64(32)).any() for values in (run, *block)):
            expected = "numbers below 2^32"
            raise InputError(
                "a run or luminosity block is too large", file=self._table.path, key="run", expected=expected
            )
        found = {"run_number": (run << np.uint64(32)) | (block[0] if block else np.uint64(0))}
        found["event_number"] = single(self._table, first, arrays, "event").astype(np.uint64)
        if self._weight:
            found["weight"] = single(self._table, first, arrays, self._weight)
        return found

    def _truth(self, first: int, arrays: Mapping[str, Any], jets: Items) -> Columns:
        """Return the truth columns of the jets, each of shape [n]."""
        if self._config.truth is None:
            return {}
        found: Columns = {**truth.unknown(len(jets)), "hadron_flavour": np.full(len(jets), truth.UNKNOWN, np.int32)}
        found |= {"parton_flavour": np.zeros(len(jets), np.int32), "gen_pt": np.zeros(len(jets), np.float32)}
        if self._particles:
            particles = read(self._table, first, arrays, self._particles)
            if "flags" in particles:
                particles = particles.joined(last=(particles["flags"].astype(np.int64) & _LAST_COPY) != 0)
            found |= truth.match(jets, particles, self._config.truth)
        for name, (branch, link) in self._flavours.items():
            found[name] = self._linked(first, arrays, jets, branch, link, found[name])
        return found

    def _linked(
        self, first: int, arrays: Mapping[str, Any], jets: Items, branch: str, link: str | None, neutral: Any
    ) -> Any:
        """Return a branch of the jets, or of the generator jets that `link` points to; `neutral` where to none."""
        if link is None:
            return read(self._table, first, arrays, {"pt": self._jets["pt"], "own": branch})["own"]
        index = read(self._table, first, arrays, {"pt": self._jets["pt"], "link": link})["link"].astype(np.int64)
        others = read(self._table, first, arrays, {"value": branch})
        # Generator jets below the threshold of their table are not in it: an index may lie beyond its end.
        there = (index >= 0) & (index < others.counts[jets.owner])
        found = neutral.copy()
        found[there] = others["value"][others.starts[jets.owner[there]] + index[there]]
        return found


def guess(tables: dict[str, list[str]]) -> float:
    """Return how sure it is that a file with these branches, by tree, is NanoAOD."""
    branches = set(tables.get("Events", []))
    if not {"run", "luminosityBlock", "event"} <= branches:
        return 0.0
    return 0.95 if _tables_of_jets(branches) else 0.4


def _tables_of_jets(branches: set[str]) -> list[str]:
    """Return the tables of reconstructed jets, the usual ones first."""
    found = [
        one.removesuffix("_pt")
        for one in branches
        if one.endswith("Jet_pt") and f"{one.removesuffix('_pt')}_eta" in branches
    ]
    usual = ("Jet", "FatJet", "ScoutingPFJet")
    own = [one for one in found if not one.startswith(("Gen", "Sub", "Soft", "Corr"))]
    return sorted(own, key=lambda one: (usual.index(one) if one in usual else len(usual), one))


def options(tables: dict[str, list[str]]) -> dict[str, Any]:
    """Return a mapping to start from."""
    branches = set(tables.get("Events", []))
    jets = (_tables_of_jets(branches) or ["Jet"])[0]
    found: dict[str, Any] = {"jets": jets}
    if not any(f"{one}_pt" in branches for one in TABLES):
        found["constituents"] = "none"
    scores = [one for one in ("btagDeepFlavB", "btagPNetB", "btagUParTAK4B") if f"{jets}_{one}" in branches]
    return found | ({"columns": {"jets": {"btag": scores[0]}}} if scores else {})
