"""The index: one HDF5 file of virtual columns over the shards, which stay put, with the split of every jet."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from bunchtrain.errors import ContractError, InputError
from bunchtrain.events.layout import COLLECTIONS, CONTRACT, check, datasets
from bunchtrain.events.writer import in_memory
from bunchtrain.files import atomic, sha256


@dataclass(frozen=True)
class ShardInfo:
    """What the index needs to know of a shard."""

    path: Path
    sample: str
    jets: int  # or events: its rows
    sha256: str
    sources: list[dict[str, Any]]
    columns: dict[str, tuple[int, str]]  # dataset to length and dtype
    attributes: dict[str, dict[str, str]]
    rows: str = "jets"


def survey(paths: Sequence[Path], classes: Sequence[str]) -> list[ShardInfo]:
    """Check every shard against the contract and read what the index needs.

    Raises
    ------
    ContractError
        If a shard breaks the contract, was converted for other classes, or holds other rows than the first one.
    """
    shards: list[ShardInfo] = []
    for path in paths:
        jets = check(path)
        with h5py.File(path) as file:
            found = json.loads(file.attrs["classes"])
            if found != list(classes):
                raise ContractError(
                    "a shard was converted for other classes",
                    file=path,
                    found=found,
                    expected=list(classes),
                    mend="convert it again",
                )
            _check_rows(path, rows := str(file.attrs.get("rows", "jets")), shards[0].rows if shards else None)
            sources = json.loads(file.attrs["source_files"])
            found = datasets(file)
            columns = {name: (len(one), one.dtype.str[1:]) for name, one in found.items()}
            about = {name: {key: str(value) for key, value in one.attrs.items()} for name, one in found.items()}
            sample = str(file.attrs["sample"])
            shards.append(ShardInfo(path, sample, jets, sha256(path), sources, columns, about, rows))
    return shards


#: Rows that can be joined: those that a task learns from.
_JOINED = ("jets", "events", "showers", "responses")


def _check_rows(path: Path, found: str, first: str | None) -> None:
    if found not in _JOINED:
        mend = f"no task learns from them; prepare joins {', '.join(_JOINED)}"
        raise ContractError("a shard holds no jets", file=path, found=found, expected=" or ".join(_JOINED), mend=mend)
    if first not in (None, found):
        mend = f"give {first} and {found} a campaign each"
        raise ContractError("shards hold rows of two kinds", file=path, found=found, expected=first, mend=mend)


def refuse_duplicates(shards: Sequence[ShardInfo]) -> None:
    """Refuse two inputs of the same content: their jets would stand on both sides of a split.

    The ranges of entries of one file, converted by several jobs, are no duplicates where they do not overlap.

    Raises
    ------
    InputError
        Naming both files with their samples and shards.
    """
    seen: dict[str, list[tuple[int, float, str, str]]] = {}
    for shard in shards:
        for source in shard.sources:
            start, stop = source.get("entries") or (0, math.inf)
            name = f"{source['path']} of sample {shard.sample} in {shard.path}"
            for first, last, other, path in seen.setdefault(source["sha256"], []):
                if path != source["path"] or (start < last and first < stop):
                    mend = "take one of them out of its sample's `files`: quarantine sees the files of one job alone"
                    found = f"the content of {other}"
                    raise InputError("two inputs have the same content", file=name, found=found, mend=mend)
            seen[source["sha256"]].append((start, stop, name, source["path"]))


def column(shards: Sequence[ShardInfo], name: str) -> NDArray[Any]:
    """Return a column of the rows of all shards, joined."""
    parts = []
    for shard in shards:
        with h5py.File(shard.path) as file:
            parts.append(file[f"{shard.rows}/{name}"][:])
    return np.concatenate(parts)


def write(
    path: Path, shards: Sequence[ShardInfo], own: Mapping[str, NDArray[Any]], attributes: Mapping[str, Any]
) -> None:
    """Write the index to `path`, atomically.

    Parameters
    ----------
    path : path
        Its place; shards are named relative to its folder, so that a campaign's folder can be moved.
    shards : sequence of ShardInfo
        In the order of the jets. Columns that all of them have are joined.
    own : mapping
        Columns of the index itself, shape [N]: `split`, index into `events.splits.SPLITS`, and weights.
    attributes : mapping
        Attributes of the file.
    """
    shards = [shard for shard in shards if shard.jets]
    folder = path.parent.resolve()
    names = [os.path.relpath(shard.path.resolve(), folder) for shard in shards]
    begins = np.concatenate([[0], np.cumsum([shard.jets for shard in shards])]).astype("i8")
    with atomic(path) as temporary, in_memory(temporary) as file:
        for name, dtype in common(shards).items():
            _join(file, name, dtype, names, [shard.columns[name][0] for shard in shards])
            file[name].attrs.update(shards[0].attributes[name])
        for collection in (name for name in COLLECTIONS if name in file):
            file[f"{collection}/offsets"] = _joined_offsets(shards, collection)
        for name, values in own.items():
            file[f"{shards[0].rows}/{name}"] = values
        file["shards/path"] = np.array([name.encode() for name in names])
        file["shards/start"] = begins[:-1]
        file["shards/sha256"] = np.array([shard.sha256.encode() for shard in shards])
        file.attrs["contract"] = CONTRACT
        if shards[0].rows != "jets":
            file.attrs["rows"] = shards[0].rows
        file.attrs.update(attributes)


def common(shards: Sequence[ShardInfo]) -> dict[str, str]:
    """Return the columns that all shards have in the same precision, with it."""
    kinds = [{name: dtype for name, (_, dtype) in shard.columns.items()}.items() for shard in shards]
    return {name: dtype for name, dtype in (kinds[0] if kinds else ()) if all((name, dtype) in kind for kind in kinds)}


def require(shards: Sequence[ShardInfo], axis: str, names: Sequence[str], key: str) -> None:
    """Refuse columns that are wanted and that a shard has not, or not in the precision of the others.

    Parameters
    ----------
    shards : sequence of ShardInfo
    axis : str
        What the columns are of: jets, constituents.
    names : sequence of str
        Of the columns.
    key : str
        Where the campaign names them.

    Raises
    ------
    InputError
        Naming the shard, the column and the nearest one.
    """
    shared = common([shard for shard in shards if shard.jets])
    for short in names:
        name = f"{axis}/{short}"
        if name in shared:
            continue
        without = next((shard for shard in shards if shard.jets and name not in shard.columns), None)
        if without is None:
            found = sorted({shard.columns[name][1] for shard in shards if shard.jets})
            mend = "give it one `dtype` under convert, e.g. `{branch: hit_layer, dtype: i4}`"
            raise InputError("a column differs in precision", key=f"{key}: {short}", found=found, mend=mend)
        choices = [one.removeprefix(f"{axis}/") for one in without.columns if one.startswith(f"{axis}/")]
        raise InputError(
            f"there is no such column of {axis}",
            file=without.path,
            key=key,
            found=short,
            choices=[one for one in choices if one != "offsets"],
            mend="add it to convert.format.columns or convert.derive",
        )


def _join(file: h5py.File, name: str, dtype: str, sources: Sequence[str], lengths: Sequence[int]) -> None:
    """Make a virtual dataset of the columns `name` of the sources.

    h5py's own call keeps the time of creation in the file; without it the same shards give the same bytes.
    """
    total = sum(lengths)
    options = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    options.set_obj_track_times(False)
    start = 0
    for source, length in zip(sources, lengths, strict=True):
        if length:
            place = h5py.h5s.create_simple((total,))
            place.select_hyperslab((start,), (1,), block=(length,))
            literal = os.fsencode(source).replace(b"%", b"%%")  # HDF5 reads a name as a pattern of names
            options.set_virtual(place, literal, name.encode(), h5py.h5s.create_simple((length,)))
        start += length
    group, _, last = name.rpartition("/")
    kind = h5py.h5t.py_create(np.dtype(dtype), logical=True)
    space = h5py.h5s.create_simple((total,))
    h5py.h5d.create(file.require_group(group).id, last.encode(), kind, space, dcpl=options)


def _joined_offsets(shards: Sequence[ShardInfo], collection: str) -> NDArray[np.int64]:
    parts, total = [np.zeros(1, np.int64)], 0
    for shard in shards:
        with h5py.File(shard.path) as file:
            parts.append(file[f"{collection}/offsets"][1:] + total)
        total = int(parts[-1][-1]) if len(parts[-1]) else total
    return np.concatenate(parts)
