"""The index: one HDF5 file of virtual columns over the shards, which stay put, with the split of every jet."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from bunchtrain.errors import ContractError, InputError
from bunchtrain.events.layout import CONSTITUENTS, CONTRACT, JETS, check
from bunchtrain.files import atomic, sha256


@dataclass(frozen=True)
class ShardInfo:
    """What the index needs to know of a shard."""

    path: Path
    sample: str
    jets: int
    constituents: int
    sha256: str
    sources: list[dict[str, Any]]


def survey(paths: Sequence[Path], classes: Sequence[str]) -> list[ShardInfo]:
    """Check every shard against the contract and read what the index needs.

    Raises
    ------
    ContractError
        If a shard breaks the contract, or was converted for other classes.
    """
    shards = []
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
            sources = json.loads(file.attrs["source_files"])
            constituents = int(file["constituents/offsets"][-1])
            shards.append(ShardInfo(path, str(file.attrs["sample"]), jets, constituents, sha256(path), sources))
    return shards


def refuse_duplicates(shards: Sequence[ShardInfo]) -> None:
    """Refuse two inputs of the same content: their jets would stand on both sides of a split.

    Raises
    ------
    InputError
        Naming both files with their samples and shards.
    """
    seen: dict[str, str] = {}
    for shard in shards:
        for source in shard.sources:
            digest, name = source["sha256"], f"{source['path']} of sample {shard.sample} in {shard.path}"
            if digest in seen:
                mend = "take one of them out of its sample's `files`: quarantine sees the files of one job alone"
                raise InputError(
                    "two inputs have the same content", file=name, found=f"the content of {seen[digest]}", mend=mend
                )
            seen[digest] = name


def column(shards: Sequence[ShardInfo], name: str) -> NDArray[Any]:
    """Return a jet column of all shards, joined."""
    parts = []
    for shard in shards:
        with h5py.File(shard.path) as file:
            parts.append(file[f"jets/{name}"][:])
    return np.concatenate(parts)


def write(path: Path, shards: Sequence[ShardInfo], split: NDArray[np.uint8], attributes: dict[str, Any]) -> None:
    """Write the index to `path`, atomically.

    Parameters
    ----------
    path : path
        Its place; shards are named relative to its folder, so that a campaign's folder can be moved.
    shards : sequence of ShardInfo
        In the order of the jets.
    split : uint8 [N]
        Index into `events.splits.SPLITS` of every jet.
    attributes : dict
        Attributes of the file.
    """
    shards = [shard for shard in shards if shard.jets]
    folder = path.parent.resolve()
    names = [os.path.relpath(shard.path.resolve(), folder) for shard in shards]
    starts = np.concatenate([[0], np.cumsum([shard.jets for shard in shards])]).astype("i8")
    with atomic(path) as temporary, h5py.File(temporary, "w") as file:
        for item in JETS:
            _join(file, f"jets/{item.name}", item.dtype, names, [shard.jets for shard in shards])
        for item in CONSTITUENTS:
            _join(file, f"constituents/{item.name}", item.dtype, names, [shard.constituents for shard in shards])
        file["constituents/offsets"] = _joined_offsets(shards)
        file["jets/split"] = split
        file["shards/path"] = np.array([name.encode() for name in names])
        file["shards/start"] = starts[:-1]
        file["shards/sha256"] = np.array([shard.sha256.encode() for shard in shards])
        file.attrs["contract"] = CONTRACT
        file.attrs.update(attributes)


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
            options.set_virtual(place, os.fsencode(source), name.encode(), h5py.h5s.create_simple((length,)))
        start += length
    group, _, last = name.rpartition("/")
    kind = h5py.h5t.py_create(np.dtype(dtype), logical=True)
    space = h5py.h5s.create_simple((total,))
    h5py.h5d.create(file.require_group(group).id, last.encode(), kind, space, dcpl=options)


def _joined_offsets(shards: Sequence[ShardInfo]) -> NDArray[np.int64]:
    parts, total = [np.zeros(1, np.int64)], 0
    for shard in shards:
        with h5py.File(shard.path) as file:
            parts.append(file["constituents/offsets"][1:] + total)
        total += shard.constituents
    return np.concatenate(parts)
