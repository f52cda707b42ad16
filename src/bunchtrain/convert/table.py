"""The tree of a ROOT file, a TTree or an RNTuple: which branches there are, what they hold, and their values by steps.

n: entries of a step, m: items of these entries.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bunchtrain.convert.rootfile import damage
from bunchtrain.errors import InputError

_TTREES = ("TTree", "TNtuple", "TNtupleD")
_RNTUPLE = "ROOT::RNTuple"
_DEPTHS = {0: "one number per entry", 1: "a list of numbers per entry: float[] or std::vector<float>"}


class Shape(NamedTuple):
    """What one entry of a branch is: a number (depth 0), a list of numbers (1), a list of lists (2)."""

    depth: int
    dtype: str


class Table:
    """A TTree or RNTuple with at least one entry.

    Parameters
    ----------
    file
        From `rootfile.opened`.
    path : path
        Where the file is.
    name : str
        Name of the tree; in a directory `dir/tree`.
    key : str
        Where in the campaign it is named.

    Raises
    ------
    InputError
        If there is no such tree, it is neither TTree nor RNTuple, or it is empty.
    """

    def __init__(self, file: Any, path: Path, name: str, key: str) -> None:
        self.path, self.name = path, name
        kinds = trees(file, path)
        with damage(path):
            classes = file.classnames(cycle=False)
        if name not in classes:
            found = name if kinds else f"{name}, and no tree at all in the file"
            raise InputError("a file has no such tree", file=path, key=key, found=found, choices=kinds or None)
        if name not in kinds:
            found, expected = f"{name}: {classes[name]}", "TTree or RNTuple"
            raise InputError("an object is not a tree", file=path, key=key, found=found, expected=expected)
        with damage(path, name):
            self._tree = file[name]
            self.entries = int(self._tree.num_entries)  # old trees give it as a float
            self._ntuple = kinds[name] == _RNTUPLE
            known = self._tree.keys(recursive=True)
        if self.entries == 0:
            raise InputError("a tree is empty", file=path, key=name, found="0 entries", expected="at least one")
        self._full = {one.rpartition("/")[2]: one for one in reversed(known)} | {one: one for one in known}

    @property
    def branches(self) -> list[str]:
        """The names of all branches, without those of the branches that hold them."""
        return [name for name in self._full if "/" not in name]

    def __contains__(self, name: str) -> bool:
        """Return whether there is a branch, or a field of an unsplit one (`event.x`), of this name."""
        return self._place(name) is not None

    @functools.cache  # noqa: B019  as long as the file is open
    def _place(self, name: str) -> tuple[str, tuple[str, ...]] | None:
        """Return the branch that holds `name`, and the fields that lead to it."""
        if name in self._full:
            return self._full[name], ()
        parts = name.split(".")
        for cut in range(len(parts) - 1, 0, -1):
            branch = ".".join(parts[:cut])
            if branch in self._full and _field(self._example(branch, 1), tuple(parts[cut:])) is not None:
                return self._full[branch], tuple(parts[cut:])
        return None

    @functools.cache  # noqa: B019
    def _example(self, name: str, entries: int) -> Any:
        """Return the first entries of a branch; None if uproot does not know how to read it."""
        import uproot

        branch = self._tree[self._full[name]]
        with damage(self.path, name):
            if not self._ntuple and isinstance(
                branch.interpretation, uproot.interpretation.identify.UnknownInterpretation
            ):
                return None
            return branch.array(entry_stop=entries)

    def shape(self, name: str) -> Shape | None:
        """Return what a branch holds; None if there is no such branch, or it holds no numbers.

        Raises
        ------
        InputError
            If it is damaged.
        """
        place = self._place(name)
        if place is None:
            return None
        branch, fields = place
        return _shape(_field(self._example(branch, 1 if fields else 0), fields))

    def readable(self, name: str) -> Shape | None:
        """Return what a branch holds; None also where it cannot be read."""
        with contextlib.suppress(InputError):
            return self.shape(name)
        return None

    def holds(self, name: str, depth: int = 1) -> bool:
        """Return whether a branch is there, can be read, and holds numbers of this depth."""
        shape = self.readable(name)
        return shape is not None and shape.depth == depth

    def optional(self, skipped: list[str], *names: str, depth: int = 1) -> list[str]:
        """Return these branches if all can be read; else none, and note the missing ones in `skipped`."""
        missing = [name for name in names if not self.holds(name, depth)]
        skipped += missing
        return [] if missing else [*names]

    def typename(self, name: str) -> str:
        """Return the C++ type of a branch, or nothing."""
        place = self._place(name)
        return "" if place is None or place[1] else str(getattr(self._tree[place[0]], "typename", ""))

    def require(self, name: str, key: str, depths: Iterable[int] = (0, 1)) -> Shape:
        """Return the shape of a branch.

        Raises
        ------
        InputError
            If there is no such branch, or it holds something else.
        """
        shape, wanted = self.shape(name), tuple(depths)
        if name not in self:
            mend = "name the branch in the campaign, or null where it may be left out; `bunchtrain inspect` lists them"
            raise InputError(
                "a tree has no such branch", file=self.path, key=key, found=name, choices=self.branches, mend=mend
            )
        if shape is None or shape.depth not in wanted:
            expected = " or ".join(_DEPTHS.get(depth, "lists of lists of numbers") for depth in wanted)
            found = f"{name}: {self.typename(name) or 'a field'}"
            raise InputError("a branch has another type", file=self.path, key=key, found=found, expected=expected)
        return shape

    def steps(
        self, names: Iterable[str], step_size: str, start: int = 0, stop: int | None = None
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield the first entry of each step and the awkward arrays of the branches `names`.

        Raises
        ------
        InputError
            If a part of the file cannot be read.
        """
        places = {name: place for name in names if (place := self._place(name)) is not None}
        chosen = list(dict.fromkeys(branch for branch, _ in places.values()))
        iterator = self._iterator(chosen, step_size, start, self.entries if stop is None else stop)
        while True:
            with damage(self.path, self.name):
                step = next(iterator, None)
            if step is None:
                return
            first, arrays = step
            with damage(self.path, self.name):
                found = {name: _field(arrays[branch], fields) for name, (branch, fields) in places.items()}
            yield first, found

    def _iterator(self, chosen: list[str], step_size: str, start: int, stop: int) -> Iterator[tuple[int, Any]]:
        options: dict[str, Any] = {"entry_start": start, "entry_stop": stop, "how": dict, "report": True}
        if self._ntuple:
            # Every read decompresses whole clusters: a step is never less than one.
            cluster = max((int(one.num_entries) for one in self._tree.cluster_summaries), default=1)
            options |= {"filter_name": chosen, "step_size": max(self._tree.num_entries_for(step_size), cluster)}
        else:
            wanted = {id(self._tree[name]) for name in chosen}
            options |= {"filter_branch": lambda branch: id(branch) in wanted, "step_size": step_size}
        for arrays, report in self._tree.iterate(library="ak", **options):
            yield report.start, _by_name(arrays, chosen)


def trees(file: Any, path: Path | str) -> dict[str, str]:
    """Return the trees of an open file with their classes."""
    with damage(path):
        classes = file.classnames(cycle=False)
    return {name: kind for name, kind in classes.items() if kind in (*_TTREES, _RNTUPLE)}


def _by_name(arrays: dict[str, Any], chosen: list[str]) -> dict[str, Any]:
    """Return arrays by the full names of their branches: uproot may give the last part alone."""
    by_leaf = {key.rpartition("/")[2]: values for key, values in arrays.items()}
    return {name: arrays[name] if name in arrays else by_leaf[name.rpartition("/")[2]] for name in chosen}


def _field(array: Any, fields: tuple[str, ...]) -> Any:
    """Return a field inside an array of records; None if there is none."""
    for one in fields:
        if array is None or one not in array.fields:
            return None
        array = array[one]
    return array


def _shape(array: Any) -> Shape | None:
    import awkward as ak

    if array is None:
        return None
    kind, depth = array.type.content, 0
    while isinstance(kind, ak.types.ListType | ak.types.RegularType):
        if kind.parameter("__array__") in ("string", "bytestring"):
            return None
        kind, depth = kind.content, depth + 1
    if not isinstance(kind, ak.types.NumpyType) or np.dtype(kind.primitive).kind not in "iufb":
        return None
    return Shape(depth, kind.primitive)


def numbers(values: Any) -> NDArray[Any]:
    """Return a branch with one number per entry, shape [n]."""
    import awkward as ak

    return np.asarray(ak.to_numpy(values))


def lists(values: Any) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return a branch with a list of numbers per entry: the numbers [m] and the length of each list [n]."""
    import awkward as ak

    counts = np.asarray(ak.to_numpy(ak.num(values, axis=1)), np.int64)
    return np.asarray(ak.to_numpy(ak.flatten(values, axis=1))), counts


def check_finite(values: NDArray[Any], path: Path, name: str, entry: Callable[[int], int]) -> None:
    """Refuse NaN and infinity.

    Raises
    ------
    InputError
        Naming the entry, which `entry` says for a place in `values`.
    """
    if values.dtype.kind != "f" or np.isfinite(values).all():
        return
    row = int(np.flatnonzero(~np.isfinite(values))[0])
    found = f"{values[row]} in entry {entry(row)}"
    mend = "make the file again; where NaN means that there is none, say what stands for it: {branch: ..., missing: 0}"
    raise InputError("a value is not a finite number", file=path, key=name, found=found, mend=mend)
