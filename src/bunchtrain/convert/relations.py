"""Relations of podio, which EDM4hep files are written with: lists of indices that objects have a part of each."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunchtrain.convert.eventwise import Items, linked, read
from bunchtrain.convert.table import Table
from bunchtrain.errors import InputError
from bunchtrain.events.ragged import starts

#: Place of a relation among those of its class: older files name their branches by it, `Jet#2`.
_PLACES = {"particles": 2, "parents": 0}

#: An identifier has 32 bits, with a sign in some files.
_BITS = 0xFFFFFFFF

#: Trees that tell the collections' identifiers.
_NAMES = (
    ("podio_metadata", "events___idTable/m_collectionIDs", "events___idTable/m_names"),
    ("metadata", "CollectionIDs/m_collectionIDs", "CollectionIDs/m_names"),
)


class Relation:
    """A relation of each object of a collection to several objects of one other.

    Parameters
    ----------
    file
        From `rootfile.opened`.
    table : Table
        One entry per event.
    collection, relation, target : str
        Such as Jet, particles, ReconstructedParticles.
    key : str
        Where in the campaign the collection is named.

    Attributes
    ----------
    branches : list of str
        What has to be read.
    names : dict
        For messages: `owner` and `item` to their branches.

    Raises
    ------
    InputError
        If the file does not have it.
    """

    def __init__(self, file: Any, table: Table, collection: str, relation: str, target: str, key: str) -> None:
        self._table, self._target = table, target
        self._range = {end: f"{collection}.{relation}_{end}" for end in ("begin", "end")}
        head = _head(table, collection, relation)
        self._index, self._identifier = f"{head}.index", f"{head}.collectionID"
        self.branches = [*self._range.values(), self._index, self._identifier]
        for branch in self.branches:
            table.require(branch, key, (1,))
        self.names = {"owner": self._range["begin"], "item": self._index}
        self._identifiers = _identifiers(file)

    @staticmethod
    def known(table: Table, collection: str, relation: str) -> bool:
        """Return whether a file has such a relation."""
        wanted = (f"{collection}.{relation}_begin", f"{_head(table, collection, relation)}.index")
        return all(table.readable(branch) is not None for branch in wanted)

    def __call__(self, first: int, arrays: Mapping[str, Any], counts: NDArray[np.int64]) -> Items:
        """Return `owner` and `item`, places in the lists of their event; `counts` are those of the collection [e].

        Raises
        ------
        InputError
            If the parts do not lie in the list of indices, or the objects are of another collection.
        """
        parts = read(self._table, first, arrays, self._range)
        listed = read(self._table, first, arrays, {"item": self._index, "collection": self._identifier})
        begin, end = (parts[name].astype(np.int64) for name in ("begin", "end"))
        event = parts.owner
        bad = np.flatnonzero((begin > end) | (end > listed.counts[event]))
        if len(bad):
            found = f"{begin[bad[0]]} to {end[bad[0]]} in entry {first + event[bad[0]]}"
            expected = f"a part of {listed.counts[event[bad[0]]]} indices"
            problem, key = "a relation points beyond its list", self._range["end"]
            raise InputError(problem, file=self._table.path, key=key, found=found, expected=expected)
        lengths = end - begin
        place = np.arange(lengths.sum()) + np.repeat(listed.starts[event] + begin - starts(lengths)[:-1], lengths)
        self._check(listed["collection"][place][listed["item"][place].astype(np.int64) >= 0])
        owner = np.repeat(np.arange(len(event)) - parts.starts[event], lengths)
        of_event = np.bincount(np.repeat(event, lengths), minlength=len(counts)).astype(np.int64)
        return Items({"owner": owner, "item": listed["item"][place]}, of_event)

    def pairs(self, first: int, arrays: Mapping[str, Any], items: Items) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return owners and the objects they point to in their own collection, `items`: places in the flat step."""
        places = Items({"place": np.arange(len(items))}, items.counts)
        own, _ = linked(self._table, first, items, places, self(first, arrays, items.counts), self.names)
        return own.owner, own["place"]

    def _check(self, collections: NDArray[Any]) -> None:
        """Refuse objects of another collection."""
        found = np.unique(collections.astype(np.int64) & _BITS)
        wanted = self._identifiers.get(self._target)
        if len(found) == 0 or (len(found) == 1 and wanted in (None, int(found[0]))):
            return
        names = {number: name for name, number in self._identifiers.items()}
        raise InputError(
            "a relation leads to another collection",
            file=self._table.path,
            key=self._identifier,
            found=", ".join(names.get(int(one), str(one)) for one in found),
            expected=self._target,
            mend="name the collection that the jets refer to as `constituents`",
        )


def _head(table: Table, collection: str, relation: str) -> str:
    """Return the branch of a relation's indices, as newer or older files name it."""
    newer = f"_{collection}_{relation}"
    return newer if f"{newer}.index" in table else f"{collection}#{_PLACES[relation]}"


def _identifiers(file: Any) -> dict[str, int]:
    """Return the identifiers of the collections by name; empty where the file does not tell them."""
    for tree, numbers, names in _NAMES:
        with contextlib.suppress(Exception):  # whatever stands there: without it the check is weaker
            one = file[tree].arrays([numbers, names], entry_stop=1, library="np", how=tuple)
            return {str(name): int(number) & _BITS for number, name in zip(one[0][0], one[1][0], strict=True)}
    return {}
