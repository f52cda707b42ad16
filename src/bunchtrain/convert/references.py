"""Objects of Delphes files and the references between them.

An object that others refer to has a number, `fUniqueID`, which counts anew in every event; a reference is that number.
The same number in two collections means the same object, written twice.

e: events of a step, n: jets, m: objects.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunchtrain.convert.eventwise import Items, leading, read
from bunchtrain.convert.table import Table
from bunchtrain.errors import InputError
from bunchtrain.events.ragged import Columns

Array = NDArray[Any]

#: The bits of `fUniqueID` that count the objects of an event; those above tell which process wrote them.
_NUMBER = 0xFFFFFF

#: Columns of an object with the branch they come from; 0 where the collection has none.
_OPTIONAL = {
    "mass": "Mass",
    "energy": "E",
    "charge": "Charge",
    "pdg": "PID",
    "is_pileup": "IsPU",
    "d0": "D0",
    "d0_error": "ErrorD0",
    "z0": "DZ",
    "z0_error": "ErrorDZ",
    "em_energy": "Eem",
    "had_energy": "Ehad",
}
_WHOLE = ("charge", "pdg", "is_pileup")
_PHOTONS = "Photon"


class Objects:
    """What jets may refer to: the objects of several collections.

    Parameters
    ----------
    table : Table
        The tree of a Delphes file.
    collections : iterable of str
        Those that the file has are read. Of objects with one number the first counts.
    key : str
        Where in the campaign they are named.

    Attributes
    ----------
    branches : list of str
        What has to be read.
    missing : list of str
        Branches that a collection might have and has not.

    Raises
    ------
    InputError
        If the file has none of the collections, or one of them lacks number or momentum.
    """

    def __init__(self, table: Table, collections: Iterable[str], key: str) -> None:
        wanted = list(collections)
        self._table, self._key = table, key
        self._names = [name for name in wanted if f"{name}.fUniqueID" in table]
        if not self._names:
            mend = "name the collections that the jets are made of"
            found = ", ".join(wanted)
            choices = known(table)
            problem = "a file has none of the collections"
            raise InputError(problem, file=table.path, key=key, found=found, choices=choices, mend=mend)
        self._branches = {name: self._branches_of(name) for name in self._names}
        self.branches = [branch for several in self._branches.values() for branch in several.values()]

    def _branches_of(self, name: str) -> dict[str, str]:
        pt = f"{name}.PT" if f"{name}.PT" in self._table else f"{name}.ET"
        found = {"number": f"{name}.fUniqueID", "pt": pt, "eta": f"{name}.Eta", "phi": f"{name}.Phi"}
        for branch in found.values():
            self._table.require(branch, self._key, (1,))
        optional = {column: f"{name}.{short}" for column, short in _OPTIONAL.items()}
        return found | {column: branch for column, branch in optional.items() if self._table.holds(branch)}

    @property
    def missing(self) -> list[str]:
        """Columns that no collection has, by the name of their branch in the first."""
        given = {column for several in self._branches.values() for column in several}
        return [f"{self._names[0]}.{short}" for column, short in _OPTIONAL.items() if column not in given]

    def of(self, first: int, arrays: Mapping[str, Any], jets: Items, refs: Items) -> Items:
        """Return the objects that each jet refers to, in the order of its references.

        Parameters
        ----------
        first : int
            The step's first entry.
        arrays : mapping
            From `Table.steps`.
        jets : Items
            Of the events of the step, [n].
        refs : Items
            Of the jets: column `number`. The number 0 refers to nothing.

        Raises
        ------
        InputError
            If a reference is to none of the objects, or a number is not finite.
        """
        refs = refs.keep(refs["number"] != 0)
        pool, event = self._pool(first, arrays)
        keys = _keys(event, pool["number"])
        order = np.argsort(keys, kind="stable")
        wanted = _keys(jets.owner[refs.owner], refs["number"])
        place = np.searchsorted(keys, wanted, sorter=order)
        item = order[np.minimum(place, max(len(order) - 1, 0))] if len(order) else np.zeros(len(wanted), np.int64)
        lost = np.ones(len(wanted), bool) if len(order) == 0 else keys[item] != wanted
        if lost.any():
            raise self._lost(first + int(jets.owner[refs.owner[np.flatnonzero(lost)[0]]]), refs, lost)
        return Items({name: values[item] for name, values in pool.items()}, refs.counts)

    def _pool(self, first: int, arrays: Mapping[str, Any]) -> tuple[Columns, NDArray[np.int64]]:
        """Return the objects of all collections, one after the other, and the event of each."""
        read_ = [_completed(name, read(self._table, first, arrays, self._branches[name])) for name in self._names]
        columns = {name: np.concatenate([one[name] for one in read_]) for name in read_[0].columns}
        return columns, np.concatenate([one.owner for one in read_])

    def _lost(self, entry: int, refs: Items, lost: Array) -> InputError:
        unknown = int(refs["number"][np.flatnonzero(lost)[0]])
        found = f"number {unknown} in entry {entry}, and {int(lost.sum()) - 1} more of {len(lost)} in this step"
        others = [name for name in known(self._table) if name not in self._names]
        mend = f"add the collection that holds the objects; the file also has {', '.join(others) or 'no others'}"
        return InputError(
            "a jet refers to an object that is in none of the collections",
            file=self._table.path,
            key=self._key,
            found=found,
            expected=f"an object of {', '.join(self._names)}",
            mend=mend,
        )


def known(table: Table) -> list[str]:
    """Return the collections of a file whose objects have momenta."""
    heads = dict.fromkeys(name.partition(".")[0] for name in table.branches if "." in name)
    return [
        name
        for name in heads
        if all(f"{name}.{short}" in table for short in ("fUniqueID", "Eta", "Phi"))
        and (f"{name}.PT" in table or f"{name}.ET" in table)
    ]


def _keys(event: NDArray[np.int64], number: Array) -> NDArray[np.int64]:
    """Return one whole number for event and number within it."""
    return (event << 24) | (number.astype(np.int64) & _NUMBER)


def _completed(name: str, items: Items) -> Items:
    """Return objects with all columns, four-momenta among them; what has no pt has no momentum."""
    length = len(items)
    columns: Columns = {
        column: np.asarray(items[column] if column in items else np.zeros(length)).astype(_dtype(column))
        for column in _OPTIONAL
    }
    pt, eta, phi = (items[column].astype(np.float64) for column in ("pt", "eta", "phi"))
    with np.errstate(over="ignore", invalid="ignore"):
        pz = np.where(pt > 0, pt * np.sinh(eta), 0)
    columns |= {"px": pt * np.cos(phi), "py": pt * np.sin(phi), "pz": pz}
    if "energy" not in items:
        columns["energy"] = np.sqrt(pt**2 + pz**2 + columns["mass"] ** 2)
    if "pdg" not in items:
        columns["pdg"] = np.full(length, 22 if name.endswith(_PHOTONS) else 0, np.int32)
    is_track = np.full(length, "d0" in items) & (columns["charge"] != 0) & (pt > 0)
    is_tower = np.full(length, "em_energy" in items) & (columns["charge"] == 0) & (pt > 0)
    eta, phi = (items[column] for column in ("eta", "phi"))
    own = {"number": items["number"], "pt": items["pt"], "eta": eta, "phi": phi}
    return Items({**own, **columns, "is_track": is_track, "is_tower": is_tower}, items.counts)


def _dtype(column: str) -> type:
    return np.int32 if column in _WHOLE else np.float64


def per_jet(refs: Any, jets: Items, table: Table, first: int, branch: str) -> Items:
    """Return references, an awkward array of numbers by event and jet, as items of the jets.

    Raises
    ------
    InputError
        If there are not as many lists as jets; names file, `branch` and entry, counted from the step's `first`.
    """
    import awkward as ak

    counts = np.asarray(ak.to_numpy(ak.num(refs, axis=1)), np.int64)
    if not np.array_equal(counts, jets.counts):
        row = int(np.flatnonzero(counts != jets.counts)[0])
        found, expected = f"{counts[row]} in entry {first + row}", f"{jets.counts[row]}, as there are jets"
        raise InputError("lists differ in length", file=table.path, key=branch, found=found, expected=expected)
    each = np.asarray(ak.to_numpy(ak.flatten(ak.num(refs, axis=2), axis=1)), np.int64)
    return Items({"number": np.asarray(ak.to_numpy(ak.flatten(refs, axis=None)))}, each)


def refuse_repeated(table: Table, branch: str, key: str) -> bool:
    """Return whether the event numbers of a file tell its events apart; takes 8 bytes of memory for each entry.

    They do not where they count anew: all alike, or from the first again, as in files that were joined.

    Raises
    ------
    InputError
        If an event stands there twice.
    """
    steps = table.steps([branch], "16 MB")
    numbers = np.concatenate([leading(table, first, arrays, branch).astype(np.int64) for first, arrays in steps])
    falls = np.flatnonzero(numbers[1:] <= numbers[:-1]) + 1
    if len(falls) == 0:
        return True
    if (numbers[falls] == numbers[0]).all():
        return False
    order = np.argsort(numbers, kind="stable")
    twice = np.flatnonzero(numbers[order[1:]] == numbers[order[:-1]])
    if len(twice):
        one, two = order[twice[0]], order[twice[0] + 1]
        found = f"{branch} {numbers[one]} in entries {one} and {two}"
        mend = "make the file again without the copy; event: null where the numbers mean nothing"
        raise InputError("a file holds an event twice", file=table.path, key=key, found=found, mend=mend)
    return True
