"""ROOT files read with uproot, and every way in which they can be wrong.

n: entries of a step, m: constituents of these entries.
"""

from __future__ import annotations

import contextlib
import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bunchtrain.errors import BunchtrainError, InputError, MissingDependency

_LFS = b"version https://git-lfs"
_MAGIC = b"root"
_BIG_FILE = 1_000_000


class Branches(NamedTuple):
    """Branches to read: keys in the campaign, by name of the branch; one number per entry, or a list of numbers."""

    flat: dict[str, str]
    jagged: dict[str, str]


def check_header(path: Path) -> None:
    """Look at the first bytes of a file.

    Raises
    ------
    InputError
        If the file is unreadable, empty, a Git LFS pointer, no ROOT file, or shorter than its header says.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(64)
            size = path.stat().st_size
    except OSError as error:
        raise InputError("an input file cannot be read", file=path, found=error.strerror) from None
    if size == 0:
        raise InputError(
            "an input file is empty", file=path, found="0 bytes", expected="a ROOT file", mend="fetch it again"
        )
    if head.startswith(_LFS):
        expected, mend = "a ROOT file", "git lfs pull"
        raise InputError(
            "an input file is a Git LFS pointer", file=path, found=f"{size} bytes", expected=expected, mend=mend
        )
    if not head.startswith(_MAGIC):
        raise InputError(
            "an input file is not a ROOT file", file=path, found=f"it starts with {head[:8]!r}", expected="b'root'"
        )
    end = _end_of_file(head)
    if end is None or size < end:
        expected = "a whole header" if end is None else f"{end} bytes"
        raise InputError(
            "a ROOT file is truncated", file=path, found=f"{size} bytes", expected=expected, mend="fetch it again"
        )


def _end_of_file(head: bytes) -> int | None:
    """Return the length that a ROOT file's header states."""
    if len(head) < 20:
        return None
    version = struct.unpack_from(">I", head, 4)[0]
    return int(struct.unpack_from(">Q" if version >= _BIG_FILE else ">I", head, 12)[0])


@contextlib.contextmanager
def _damage(path: Path, key: str | None = None) -> Iterator[None]:
    """Turn whatever uproot stumbles over into an `InputError`: damaged bytes raise errors of any type."""
    try:
        yield
    except (BunchtrainError, MemoryError):
        raise
    except ImportError as error:
        name = error.name or "a decompression package"
        mend = "pip install 'bunchtrain[convert]' cramjam xxhash"
        raise MissingDependency(name, needed_by=f"reading {path}", mend=mend) from None
    except Exception as error:
        text = " ".join(str(error).split())
        found = f"{type(error).__name__}: {text[:200]}"
        problem = "a ROOT file is damaged"
        raise InputError(problem, file=path, key=key, found=found, mend="fetch or make it again") from None


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open a ROOT file with uproot.

    Raises
    ------
    InputError
        See `check_header`; or if its directory is damaged.
    MissingDependency
        If uproot is not installed.
    """
    try:
        import uproot
    except ImportError:
        raise MissingDependency("uproot", needed_by="convert", mend="pip install 'bunchtrain[convert]'") from None
    check_header(path)
    with _damage(path):
        file = uproot.open(path)
    with file:
        yield file


def find_tree(file: Any, path: Path, name: str, key: str) -> Any:
    """Return a TTree with at least one entry.

    Raises
    ------
    InputError
        If there is none of this name, it is not a TTree, or it is empty.
    """
    with _damage(path):
        classes = file.classnames(cycle=False)
    trees = [tree for tree, kind in classes.items() if kind in ("TTree", "TNtuple", "TNtupleD")]
    if name not in classes:
        found = name if trees else f"{name}, and no tree at all in the file"
        raise InputError("a file has no such tree", file=path, key=key, found=found, choices=trees or None)
    if name not in trees:
        raise InputError(
            "an object is not a TTree", file=path, key=key, found=f"{name}: {classes[name]}", expected="TTree"
        )
    with _damage(path, name):
        tree = file[name]
        entries = int(tree.num_entries)
    if entries == 0:
        raise InputError("a tree is empty", file=path, key=name, found="0 entries", expected="one entry per jet")
    return tree


def json_object(file: Any, path: Path, name: str | None) -> dict[str, Any]:
    """Return the JSON mapping in the string object `name` of a file; empty if there is none.

    Raises
    ------
    InputError
        If the object cannot be read.
    """
    with _damage(path, name):
        if name is None or file.classnames(cycle=False).get(name) != "TObjString":
            return {}
        text = str(file[name])
    try:
        values = json.loads(text)
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def check_branches(tree: Any, path: Path, branches: Branches) -> dict[str, Any]:
    """Return the branches by name.

    Raises
    ------
    InputError
        If a branch is missing, is not numeric, or is a list where a number is wanted or the reverse.
    """
    with _damage(path):
        known = tree.keys(recursive=True)
    names = {*known, *(name.rpartition("/")[2] for name in known)}
    found = {}
    for jagged, wanted in ((False, branches.flat), (True, branches.jagged)):
        for name, key in wanted.items():
            if name not in names:
                mend = "name the branch in the campaign, or null where it may be left out"
                raise InputError("a tree has no such branch", file=path, key=key, found=name, choices=names, mend=mend)
            with _damage(path, name):
                found[name] = tree[name]
                fits = _is_numeric(found[name].interpretation, jagged)
            if not fits:
                expected = (
                    "a list of numbers per entry: float[] or std::vector<float>" if jagged else "one number per entry"
                )
                kind = found[name].typename
                raise InputError(
                    "a branch has another type", file=path, key=key, found=f"{name}: {kind}", expected=expected
                )
    return found


def _is_numeric(interpretation: Any, jagged: bool) -> bool:
    import uproot

    if jagged:
        if not isinstance(interpretation, uproot.AsJagged):
            return False
        interpretation = interpretation.content
    if not isinstance(interpretation, uproot.AsDtype):
        return False
    kind = interpretation.to_dtype
    return kind.names is None and kind.shape == () and kind.kind in "iuf"


def steps(tree: Any, path: Path, branches: Mapping[str, Any], step_size: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the first entry of each step and its awkward arrays by branch name.

    Raises
    ------
    InputError
        If a part of the file cannot be read.
    """
    chosen = list(branches.values())
    iterator = tree.iterate(
        filter_branch=lambda branch: any(branch is one for one in chosen),
        step_size=step_size,
        library="ak",
        how=dict,
        report=True,
    )
    while True:
        with _damage(path, tree.name):
            step = next(iterator, None)
        if step is None:
            return
        arrays, report = step
        by_leaf = {key.rpartition("/")[2]: values for key, values in arrays.items()}
        yield report.start, {name: arrays.get(name, by_leaf.get(name.rpartition("/")[2])) for name in branches}


def flat_numbers(values: Any, path: Path, name: str, start: int) -> NDArray[Any]:
    """Return a branch with one number per entry, shape [n].

    Raises
    ------
    InputError
        If a number is NaN or infinite.
    """
    import awkward as ak

    numbers = np.asarray(ak.to_numpy(values))
    _check_finite(numbers, path, name, lambda row: start + row)
    return numbers


def list_numbers(values: Any, path: Path, name: str, start: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return a branch with a list of numbers per entry: the numbers, shape [m], and the length of each list, shape [n].

    Raises
    ------
    InputError
        If a number is NaN or infinite.
    """
    import awkward as ak

    counts = np.asarray(ak.to_numpy(ak.num(values, axis=1)), np.int64)
    numbers = np.asarray(ak.to_numpy(ak.flatten(values, axis=1)))
    _check_finite(numbers, path, name, lambda row: start + int(np.searchsorted(np.cumsum(counts), row, side="right")))
    return numbers, counts


def _check_finite(numbers: NDArray[Any], path: Path, name: str, entry: Any) -> None:
    if numbers.dtype.kind != "f" or np.isfinite(numbers).all():
        return
    row = int(np.flatnonzero(~np.isfinite(numbers))[0])
    found = f"{numbers[row]} in entry {entry(row)}"
    raise InputError("a value is not a finite number", file=path, key=name, found=found, mend="make the file again")
