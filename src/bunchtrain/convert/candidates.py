"""The constituents of NanoAOD jets: from a table of candidates, by indices or in ΔR."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bunchtrain.convert.cones import closest_within
from bunchtrain.convert.eventwise import Items, four_momenta, linked, read, themselves
from bunchtrain.convert.extras import Extras
from bunchtrain.convert.table import Table
from bunchtrain.errors import InputError

#: Names that tables of candidates go by, looked for in this order.
TABLES = ("PFCands", "PFCand", "PFCandidate", "ScoutingPFCandidate", "ScoutingParticle")

_KEY = "convert.format"
_MEND = "constituents: none takes each jet as its own only constituent; else name a table of candidates"


def kinematics(table: Table, prefix: str, key: str, massless: list[str] | None = None) -> dict[str, str]:
    """Return the branches of pt, eta, phi and mass of a table of NanoAOD.

    Parameters
    ----------
    table : Table
        The tree.
    prefix, key : str
        The table's name, and where in the campaign it stands.
    massless : list of str, optional
        A table without mass is then no error: the branch is noted here and left out.

    Raises
    ------
    InputError
        If a branch is missing or holds something else.
    """
    names = {name: f"{prefix}_{name}" for name in ("pt", "eta", "phi", "mass")}
    if names["mass"] not in table and f"{prefix}_m" in table:
        names["mass"] = f"{prefix}_m"
    if massless is not None and names["mass"] not in table:
        massless.append(names.pop("mass"))
    for branch in names.values():
        table.require(branch, key, (1,))
    return names


class Candidates:
    """The constituents of the jets of a file.

    Parameters
    ----------
    table : Table
        One entry per event.
    config : formats.nanoaod.Config
        What is asked for.
    skipped : list of str
        Where branches that are missing, and not needed, are noted.

    Attributes
    ----------
    branches : list of str
        What has to be read.

    Raises
    ------
    InputError
        If tables or branches are not in the file.
    """

    def __init__(self, table: Table, config: Any, skipped: list[str]) -> None:
        self._table, self._radius = table, config.radius
        index, prefix = _tables(table, config)
        self._kinematics = kinematics(table, prefix, f"{_KEY}.constituents", skipped) if prefix else {}
        self._link = {"owner": f"{index}_jetIdx", "item": _index_branch(table, index)} if index else {}
        for branch in self._link.values():
            table.require(branch, f"{_KEY}.index", (1,))
        columns, key = config.columns.get("constituents", {}), f"{_KEY}.columns.constituents"
        if columns and prefix is None:
            found, expected = ", ".join(columns), "none, as the jets are their own constituents"
            raise InputError("there are no constituents", file=table.path, key=key, found=found, expected=expected)
        links = {
            name: one
            for name, one in columns.items()
            if f"{prefix}_{one.branch}" not in table and f"{index}_{one.branch}" in table
        }
        self._of_links = Extras(table, links, [f"{index}_"], key)
        rest = {name: one for name, one in columns.items() if name not in links}
        self._of_candidates = Extras(table, rest, [f"{prefix}_"], key)
        extras = [*self._of_links.branches, *self._of_candidates.branches]
        self.branches = [*self._kinematics.values(), *self._link.values(), *extras]

    def __call__(self, first: int, arrays: Mapping[str, Any], jets: Items) -> Items:
        """Return px, py, pz, energy (GeV) and the columns asked for of each jet's constituents.

        Raises
        ------
        InputError
            If lists differ in length, an index points beyond a list, or a value is not finite.
        """
        if not self._kinematics:
            return themselves(jets)
        polar = read(self._table, first, arrays, self._kinematics)
        p4 = four_momenta(polar["pt"], polar["eta"], polar["phi"], polar.columns.get("mass", 0.0))
        candidates = Items({**p4, **self._of_candidates(first, arrays, polar.counts)}, polar.counts)
        if not self._link:
            return closest_within(jets, candidates, self._radius, polar)
        links = read(self._table, first, arrays, self._link)
        links = links.joined(**self._of_links(first, arrays, links.counts))
        own, links = linked(self._table, first, jets, candidates, links, self._link)
        return own.joined(**{name: values for name, values in links.columns.items() if name not in self._link})


def _tables(table: Table, config: Any) -> tuple[str | None, str | None]:
    """Return the tables of indices and of candidates to be read, None for each that is not."""
    if config.constituents == "none":
        return None, None
    index = config.index
    if index == "auto":
        names = (f"{config.jets}PFCands", f"{config.jets}PFCand")
        index = next((name for name in names if f"{name}_jetIdx" in table), None)
    if config.constituents != "auto":
        return index, config.constituents
    found = next((one for one in TABLES if f"{one}_pt" in table), None)
    if found is None:
        key, expected = f"{_KEY}.constituents", "a table " + ", ".join(TABLES)
        raise InputError("a file has no candidates", file=table.path, key=key, expected=expected, mend=_MEND)
    if index is None and config.index is not None:
        _check_of_all(table, config.jets, found)
    return index, found


def _check_of_all(table: Table, jets: str, candidates: str) -> None:
    """Refuse to match in ΔR where other jets have indices: the candidates may be those of these jets alone."""
    others = [one for one in table.branches if one.endswith(("Cands_jetIdx", "Cand_jetIdx"))]
    if others:
        expected = f"a table {jets}PFCands, as {candidates} may hold those of other jets alone"
        mend = f"`constituents: {candidates}` with `index: null` matches them in ΔR; or {_MEND}"
        problem, found, key = "a file has no indices for these jets", ", ".join(others), f"{_KEY}.index"
        raise InputError(problem, file=table.path, key=key, found=found, expected=expected, mend=mend)


def _index_branch(table: Table, index: str) -> str:
    """Return the branch of a table of indices that points to candidates: pFCandsIdx, pfCandIdx, candIdx, ..."""
    own = (one for one in table.branches if one.startswith(f"{index}_"))
    return next((one for one in own if one.lower().endswith(("candidx", "candsidx"))), f"{index}_pFCandsIdx")
