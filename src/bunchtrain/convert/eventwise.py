"""From trees with one entry per event to rows of jets: lists read, checked, and made into a `Batch`.

All arrays are flat: item after item, event after event, with the number of items of each event beside them.

e: events of a step, n: jets, m: items of a list.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunchtrain.convert.formats.base import Batch
from bunchtrain.convert.table import Table, check_finite, lists, numbers
from bunchtrain.errors import InputError
from bunchtrain.events.ragged import Columns, Events, row_of, starts, total

Array = NDArray[Any]


@dataclass(frozen=True)
class Items:
    """A list of items for each owner: an event, or a jet.

    Attributes
    ----------
    columns : dict
        Name to values, each of shape [m]: owner after owner.
    counts : int64 [e]
        Items of each owner; they add up to m.
    """

    columns: Columns
    counts: NDArray[np.int64]

    def __getitem__(self, name: str) -> Array:
        """Return a column."""
        return self.columns[name]

    def __contains__(self, name: str) -> bool:
        """Return whether there is a column of this name."""
        return name in self.columns

    def __len__(self) -> int:
        """Return the number of items, m."""
        return int(self.counts.sum())

    @property
    def owner(self) -> NDArray[np.int64]:
        """The owner of each item, shape [m]."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    @property
    def starts(self) -> NDArray[np.int64]:
        """The place of each owner's first item, shape [e]."""
        return starts(self.counts)[:-1]

    def joined(self, **columns: Array) -> Items:
        """Return the items with more columns."""
        return replace(self, columns={**self.columns, **columns})

    def keep(self, kept: NDArray[np.bool_]) -> Items:
        """Return the items where `kept`, bool [m], is true."""
        counts = total(kept, self.counts).astype(np.int64)
        return Items({name: values[kept] for name, values in self.columns.items()}, counts)

    def given(self, owner: NDArray[np.int64], item: NDArray[np.int64], owners: int) -> Items:
        """Return these items handed to other owners.

        Parameters
        ----------
        owner, item : int64 [pairs]
            New owner, and place of the item that it gets; within an owner the items stay in this order.
        owners : int
            How many new owners there are.
        """
        order = np.argsort(owner, kind="stable")
        chosen = item[order]
        columns = {name: values[chosen] for name, values in self.columns.items()}
        return Items(columns, np.bincount(owner, minlength=owners).astype(np.int64))


def jagged(**arrays: Any) -> Items:
    """Return awkward arrays with a list of numbers per event, alike in lengths, as items.

    Raises
    ------
    ValueError
        If the lengths differ.
    """
    flat = {name: lists(values) for name, values in arrays.items()}
    counts = next(iter(flat.values()))[1]
    for name, (_, own) in flat.items():
        if not np.array_equal(own, counts):
            raise ValueError(f"{name} has other lengths")
    return Items({name: values for name, (values, _) in flat.items()}, counts)


def read(table: Table, first: int, arrays: Mapping[str, Any], branches: Mapping[str, str]) -> Items:
    """Return the lists of one step as items.

    Parameters
    ----------
    table : Table
        Where they come from, for messages.
    first : int
        The step's first entry.
    arrays : mapping
        From `Table.steps`.
    branches : mapping
        Column to branch; at least one, each with a list of numbers per event.

    Raises
    ------
    InputError
        If the lists differ in length, or a value is NaN or infinite.
    """
    found: Columns = {}
    leader, counts = "", None
    for name, branch in branches.items():
        found[name] = flat(table, first, arrays, branch, counts, leader)
        if counts is None:
            leader, counts = branch, lists(arrays[branch])[1]
        check_finite(found[name], table.path, branch, entry_of(first, counts))
    return Items(found, np.zeros(0, np.int64) if counts is None else counts)


def flat(
    table: Table, first: int, arrays: Mapping[str, Any], branch: str, counts: NDArray[np.int64] | None, like: str
) -> Array:
    """Return the numbers of a branch with a list per event, shape [m]; `counts` (of `like`) are the lengths wanted.

    Raises
    ------
    InputError
        If a list has another length.
    """
    values, own = lists(arrays[branch])
    if counts is not None and not np.array_equal(own, counts):
        entry = int(np.flatnonzero(own != counts)[0])
        found, expected = f"{own[entry]} in entry {first + entry}", f"{counts[entry]}, as in {like}"
        raise InputError("lists differ in length", file=table.path, key=branch, found=found, expected=expected)
    return values


def entry_of(first: int, counts: NDArray[np.int64]) -> Callable[[int], int]:
    """Return what says for the place of an item the entry it stands in; `first` is the step's first entry."""
    return lambda place: first + row_of(place, counts)


def single(table: Table, first: int, arrays: Mapping[str, Any], branch: str) -> Array:
    """Return a branch with one number per event, shape [e].

    Raises
    ------
    InputError
        If a value is NaN or infinite.
    """
    values = numbers(arrays[branch])
    check_finite(values, table.path, branch, lambda place: first + place)
    return values


def leading(table: Table, first: int, arrays: Mapping[str, Any], branch: str) -> Array:
    """Return the first number of each event's list, shape [e].

    Raises
    ------
    InputError
        If a list is empty, or a value is NaN or infinite.
    """
    values, counts = lists(arrays[branch])
    if (counts == 0).any():
        found = f"none in entry {first + int(np.flatnonzero(counts == 0)[0])}"
        raise InputError("a list is empty", file=table.path, key=branch, found=found, expected="at least one number")
    chosen = values[starts(counts)[:-1]]
    check_finite(chosen, table.path, branch, lambda place: first + place)
    return chosen


def linked(
    table: Table, first: int, owners: Items, items: Items, links: Items, branches: Mapping[str, str]
) -> tuple[Items, Items]:
    """Return the items, and the links, of each owner, as links in the same event tell.

    Parameters
    ----------
    table, first : Table, int
        For messages: where they come from, and the step's first entry.
    owners, items : Items
        Of the events: jets, and what may belong to them.
    links : Items
        Of the events, with columns `owner` and `item`: places in the lists of the event. Negative: to none.
    branches : mapping
        `owner` and `item` to the branch that holds them.

    Raises
    ------
    InputError
        If a link points beyond a list.
    """
    links = links.keep((links["owner"].astype(np.int64) >= 0) & (links["item"].astype(np.int64) >= 0))
    event = links.owner
    for name, others in (("owner", owners), ("item", items)):
        beyond = np.flatnonzero(links[name] >= others.counts[event])
        if len(beyond):
            entry, key = event[beyond[0]], branches[name]
            found, expected = f"{links[name][beyond[0]]} in entry {first + entry}", f"below {others.counts[entry]}"
            raise InputError("an index is beyond its list", file=table.path, key=key, found=found, expected=expected)
    owner = starts(owners.counts)[event] + links["owner"].astype(np.int64)
    item = items.starts[event] + links["item"].astype(np.int64)
    return items.given(owner, item, len(owners)), links.given(owner, np.arange(len(owner)), len(owners))


def four_momenta(pt: Array, eta: Array, phi: Array, mass: Array | float) -> Columns:
    """Return px, py, pz, energy (GeV), float64 [m], of pt and mass in GeV, phi in rad."""
    pt, eta, phi = (np.asarray(values, np.float64) for values in (pt, eta, phi))
    with np.errstate(over="ignore"):
        pz = pt * np.sinh(eta)
        energy = np.sqrt(pt**2 + pz**2 + np.asarray(mass, np.float64) ** 2)
    return {"px": pt * np.cos(phi), "py": pt * np.sin(phi), "pz": pz, "energy": energy}


def themselves(jets: Items) -> Items:
    """Return each jet as its own only constituent; `jets` has pt, eta, phi, mass."""
    columns = four_momenta(*(jets[name] for name in ("pt", "eta", "phi", "mass")))
    return Items(columns, np.ones(len(jets), np.int64))


def batch(first: int, jets: Items, collections: Mapping[str, Items], events: Mapping[str, Array]) -> Batch:
    """Return one row for each jet.

    Parameters
    ----------
    first : int
        The step's first entry.
    jets : Items
        Of the events of the step, [n]; its columns become `jets/<name>`.
    collections : mapping
        `constituents`, `tracks`, ... to items whose owners are the n jets.
    events : mapping
        Columns with one number per event, shape [e], that every jet of the event gets: weight, run_number,
        event_number. The weights of all events, with jets or without, make up the sum of weights; without them each
        event counts 1.
    """
    event = jets.owner
    columns = {f"jets/{name}": values for name, values in jets.columns.items()}
    columns |= {f"jets/{name}": values[event] for name, values in events.items()}
    for collection, items in collections.items():
        columns |= {f"{collection}/{name}": values for name, values in items.columns.items()}
    counts = {collection: items.counts for collection, items in collections.items()}
    read = len(jets.counts)
    weights = float(np.sum(events["weight"], dtype=np.float64)) if "weight" in events else float(read)
    return Batch(Events(columns, counts), first + event, read, weights)
