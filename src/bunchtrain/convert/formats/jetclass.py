"""JetClass ntuples, as published and as they come from its generation chain: one entry per jet, no event numbers.

The published files have a branch for each class and for each kind of particle; those of the generation chain have
`gen_match` and `part_pid` in their place. Both give the same columns. What else is in a file can be asked for with
`columns`.
"""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import Field

from bunchtrain.config.base import Section
from bunchtrain.config.convert import Branch, MappedColumns, only_axes
from bunchtrain.config.expression import names, parse
from bunchtrain.convert import rootfile, rowwise
from bunchtrain.convert.extras import extra_columns
from bunchtrain.convert.formats.base import Batch, Layout
from bunchtrain.convert.formats.base import layout as base_layout
from bunchtrain.convert.mapping import MappedTable, Wanted
from bunchtrain.convert.table import Table
from bunchtrain.events.layout import Column
from bunchtrain.events.ragged import Events

#: What the rows are: see `formats.base`.
ROWS = "jets"


class Config(Section):
    """JetClass files need none of these keys; momenta and energies are in GeV, impact parameters in mm."""

    tree: str = Field("tree", description="name of the tree, one entry per jet")
    mass: Literal["constituents", "energy"] = Field(
        "constituents",
        description="where the jet's mass comes from: the constituents, or `jet_energy` with `jet_pt` and `jet_eta`",
    )
    columns: Annotated[MappedColumns, only_axes("jets", "constituents", "tracks", "cells")] = Field(
        default_factory=dict, description="more columns, by axis: `{jets: {truth_pt: {branch: aux_genpart_pt}}}`"
    )
    run: Branch = Field(None, description="run; null: each file counts as a run")
    event: Branch = Field(None, description="event; null: each jet counts as an event")
    weight: Branch = Field(None, description="event weight; null: 1")


#: Classes in the order of their numbers in `truth_label`, with their values of `gen_match`.
CLASSES = {
    "QCD": (50, 51, 52, 53, 54, 55),
    "Hbb": (41,),
    "Hcc": (42,),
    "Hgg": (44,),
    "H4q": (45,),
    "Hqql": (46,),
    "Zqq": (31, 32, 33),
    "Wqq": (21, 22),
    "Tbqq": (11, 12),
    "Tbl": (15, 16),
}

_MASS = "sqrt(maximum(jet_energy ** 2 - (jet_pt * cosh(jet_eta)) ** 2, 0))"
_KINDS = {
    "charged_hadron": ("part_isChargedHadron", (211, 321, 2212), "charged hadron"),
    "neutral_hadron": ("part_isNeutralHadron", (0,), "neutral hadron"),
    "photon": ("part_isPhoton", (22,), "photon"),
    "electron": ("part_isElectron", (11,), "electron"),
    "muon": ("part_isMuon", (13,), "muon"),
}


class _Useful(NamedTuple):
    """A column that files may lack: the formulas that give it, the first whose branches are there; else `absent`."""

    column: Column
    texts: tuple[str, ...]
    absent: int = 0


def _one_of(name: str, values: tuple[int, ...]) -> str:
    return " or ".join(f"{name} == {value}" for value in values)


def _match_label(name: str) -> str:
    """Return the formula of the class number from the code of the matching; -1 for none of the classes."""
    text = "-1"
    for number, values in enumerate(CLASSES.values()):
        text = f"where({_one_of(name, values)}, {number}, {text})"
    return text


def _one_hot(present: list[str]) -> str:
    """Return the formula of the class number from a branch per class; -1 unless exactly one of them is set."""
    flags = {name: f"(label_{name} != 0) * 1" for name in present}
    number = " + ".join(f"{list(CLASSES).index(name)} * {flag}" for name, flag in flags.items())
    return f"where({' + '.join(flags.values())} == 1, {number}, -1)"


def _useful(labels: list[str]) -> dict[str, _Useful]:
    """Return the columns beside the required ones, by dataset; `labels` are the classes that have a branch."""
    found: dict[str, _Useful] = {}

    def add(axis: str, name: str, units: str, text: str, *sources: str, dtype: str = "f4", absent: int = 0) -> None:
        found[f"{axis}/{name}"] = _Useful(Column(name, dtype, units, text, sources[0]), sources, absent)

    texts = (*([_one_hot(labels)] if labels else []), *map(_match_label, ("gen_match", "aux_truth_match")))
    named = ", ".join(f"{number} {name}" for number, name in enumerate(CLASSES))
    add("jets", "truth_label", "1", f"{named}, -1 none of them or not known", *texts, dtype="i4", absent=-1)
    add("jets", "truth_match", "1", "code of the matching", "gen_match", "aux_truth_match", dtype="i4")
    code = ("genpart_pid", "aux_genpart_pid")
    add("jets", "truth_pdg", "1", "PDG code of the matched particle, 0 for none", *code, dtype="i4")
    add("jets", "softdrop_mass", "GeV", "mass after soft drop", "jet_sdmass")
    for number in (1, 2, 3, 4):
        add("jets", f"tau{number}", "1", f"N-subjettiness, N = {number}", f"jet_tau{number}")
    add("constituents", "charge", "1", "charge", "part_charge")
    add("constituents", "d0", "mm", "transverse impact parameter", "part_d0val")
    add("constituents", "d0_error", "mm", "error of d0", "part_d0err")
    add("constituents", "z0", "mm", "longitudinal impact parameter", "part_dzval")
    add("constituents", "z0_error", "mm", "error of z0", "part_dzerr")
    add("constituents", "delta_eta", "1", "eta from the jet's axis, times the sign of the jet's eta", "part_deta")
    add("constituents", "delta_phi", "rad", "phi from the jet's axis", "part_dphi")
    for name, (branch, codes, text) in _KINDS.items():
        formula = _one_of("abs(part_pid)", codes)
        add("constituents", f"is_{name}", "1", f"1 for a {text}", branch, formula, dtype="i4")
    return found


class JetClass:
    """An open file; see `formats.base.Source`."""

    def __init__(self, file: Any, path: Path, config: Config) -> None:
        self.tree, self.generator = config.tree, dict[str, Any]()
        table = Table(file, path, config.tree, f"{rowwise.KEY}.tree")
        self.entries = table.entries
        wanted = _required(config)
        useful = {name: one for name, one in _useful(_labels(table)).items() if name not in wanted}
        chosen = {name: _chosen(table, one, name.partition("/")[0]) for name, one in useful.items()}
        self._absent = {name: useful[name] for name, text in chosen.items() if text is None}
        self.skipped = [one.texts[0] for one in self._absent.values()]
        given = {name: Wanted(text, f"{rowwise.KEY}.tree") for name, text in chosen.items() if text is not None}
        self._mapped = MappedTable(table, "jets", given | wanted)
        rowwise.check_whole(table, config)

    def batches(self, step_size: str, start: int, stop: int) -> Iterator[Batch]:
        """Yield the jets of the entries `start` to `stop`, a step at a time."""
        for first, read, events in self._mapped.steps(step_size, start, stop):
            yield rowwise.batch(first, read, self._filled(events, read), ROWS)

    def _filled(self, events: Events, read: int) -> Events:
        lengths = {"jets": read, "constituents": int(events.counts["constituents"].sum())}
        absent = {
            name: np.full(lengths[name.partition("/")[0]], one.absent, one.column.dtype)
            for name, one in self._absent.items()
        }
        return events.joined(absent)


def _labels(table: Table) -> list[str]:
    """Return the classes that have a branch of their own."""
    return [name for name in CLASSES if table.readable(f"label_{name}") is not None]


def _chosen(table: Table, one: _Useful, axis: str) -> str | None:
    """Return the first formula whose branches are there and hold what the axis needs."""
    for text in one.texts:
        shapes = [table.readable(branch) for branch in names(parse(text))]
        if all(shape is not None and shape.depth == (axis != "jets") for shape in shapes):
            return text
    return None


def _required(config: Config) -> dict[str, Wanted]:
    texts = {f"jets/{name}": f"jet_{name}" for name in ("pt", "eta", "phi")}
    texts |= {"jets/mass": _MASS} if config.mass == "energy" else {}
    texts |= {f"constituents/{name}": f"part_{name}" for name in ("px", "py", "pz", "energy")}
    return {name: Wanted(text, f"{rowwise.KEY}.tree") for name, text in texts.items()} | rowwise.wanted(config, ROWS)


@contextlib.contextmanager
def opened(path: Path, config: Config) -> Iterator[JetClass]:
    """Open a file.

    Raises
    ------
    InputError
        If the file cannot be read, or is none of this kind.
    """
    with rootfile.opened(path) as file:
        yield JetClass(file, path, config)


def layout(config: Config) -> Layout:
    """Return the columns and the branches they come from."""
    sources = {name: one.text for name, one in _required(config).items()}
    useful = {name: one.column for name, one in _useful(list(CLASSES)).items()}
    useful["jets/truth_label"] = replace(useful["jets/truth_label"], source="label_*, or gen_match")
    return base_layout(ROWS, sources, {**useful, **extra_columns(config.columns)})


def guess(tables: Mapping[str, list[str]]) -> float:
    """Return how sure it is that a file is of this kind, from 0 to 1."""
    return max((_sure(set(branches)) for branches in tables.values()), default=0.0)


def options(tables: Mapping[str, list[str]]) -> dict[str, Any]:
    """Return the options to start from."""
    tree = max(tables, key=lambda name: _sure(set(tables[name])), default="tree")
    return {} if tree == "tree" else {"tree": tree}


def _sure(branches: set[str]) -> float:
    needed = {f"part_{name}" for name in ("px", "py", "pz", "energy")} | {
        f"jet_{name}" for name in ("pt", "eta", "phi")
    }
    marks = {"part_deta", "part_dphi", "part_d0val", "part_dzval", "jet_nparticles", "jet_sdmass", "jet_tau1"}
    if not needed <= branches:
        return 0.0
    return 0.3 + 0.65 * len(marks & branches) / len(marks)
