"""Jets, or events with hits, into a ROOT file, the same bytes for the same content."""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bunchtrain.events.ragged import starts
from bunchtrain.simulate.jets import Jets

if TYPE_CHECKING:
    from bunchtrain.simulate.collisions import Crossings

TREE = "jets"
METADATA = "metadata"

_BRANCHES = {
    "run_number": "uint64",
    "event_number": "uint64",
    "weight": "float32",
    "jet_pt": "float32",
    "jet_eta": "float32",
    "jet_phi": "float32",
    "jet_mass": "float32",
    "part": "var * {px: float32, py: float32, pz: float32, energy: float32, id: int32, vertex: int32, charge: int8}",
}

EVENTS = "events"

_PARTICLE = {
    **dict.fromkeys(("px", "py", "pz", "vx", "vy", "vz"), "float32"),
    "charge": "int8",
    "id": "int32",
    "hits": "int32",
}

_EVENT_BRANCHES = {
    "run_number": "uint64",
    "event_number": "uint64",
    "weight": "float32",
    "hit": "var * {x: float32, y: float32, z: float32, layer: int32, particle: int32}",
    "particle": f"var * {{{', '.join(f'{name}: {kind}' for name, kind in _PARTICLE.items())}}}",
}


class JetFile:
    """An open ROOT file with the tree `jets`, one entry per jet; `npart` counts the constituents, `part_<field>`."""

    def __init__(self, file: Any, run: int) -> None:
        self._file = file
        self._run = run
        self._tree = file.mktree(TREE, _BRANCHES, title="one entry per jet; GeV, rad")

    def write(self, jets: Jets) -> None:
        """Append jets; `jets.event` holds their event numbers."""
        columns = {f"jet_{name}": np.float32(getattr(jets, name)) for name in ("pt", "eta", "phi", "mass")}
        event = np.asarray(jets.event, np.uint64)
        run = np.full(len(event), self._run, np.uint64)
        weight = np.float32(jets.weight)
        self._tree.extend({"run_number": run, "event_number": event, "weight": weight, **columns, "part": jets.parts})

    def describe(self, metadata: dict[str, Any]) -> None:
        """Store `metadata` as JSON in a string object of the file."""
        self._file[METADATA] = json.dumps(metadata, sort_keys=True)


class EventFile:
    """An open ROOT file with the tree `events`, one entry per event; `nhit` and `nparticle` count its lists."""

    def __init__(self, file: Any, run: int) -> None:
        self._file = file
        self._run = run
        self._tree = file.mktree(EVENTS, _EVENT_BRANCHES, title="one entry per event; GeV, mm")

    def write(self, batch: Crossings, first: int) -> None:
        """Append events, whose numbers count from `first`."""
        import awkward as ak

        number, hits = len(batch.weight), batch.hits
        begin = starts(batch.counts)[:-1]
        particle = np.where(hits.particle < 0, -1, hits.particle - begin[hits.event]).astype(np.int32)
        flat: dict[str, Any] = {name: np.float32(getattr(hits, name)) for name in ("x", "y", "z")}
        flat |= {"layer": hits.layer, "particle": particle}
        true = {name: np.asarray(batch.particles[name], kind) for name, kind in _PARTICLE.items()}
        columns = {
            "run_number": np.full(number, self._run, np.uint64),
            "event_number": np.arange(first, first + number, dtype=np.uint64),
            "weight": np.float32(batch.weight),
            "hit": ak.unflatten(ak.zip(flat), np.bincount(hits.event, minlength=number)),
            "particle": ak.unflatten(ak.zip(true), batch.counts),
        }
        self._tree.extend(columns)

    def describe(self, metadata: dict[str, Any]) -> None:
        """Store `metadata` as JSON in a string object of the file."""
        self._file[METADATA] = json.dumps(metadata, sort_keys=True)


@contextlib.contextmanager
def jet_file(path: Path, run: int) -> Iterator[JetFile]:
    """Open a new ROOT file of jets at `path`."""
    with _new_file(path, run) as file:
        yield JetFile(file, run)


@contextlib.contextmanager
def event_file(path: Path, run: int) -> Iterator[EventFile]:
    """Open a new ROOT file of events with hits at `path`."""
    with _new_file(path, run) as file:
        yield EventFile(file, run)


@contextlib.contextmanager
def _new_file(path: Path, run: int) -> Iterator[Any]:
    """Open a new ROOT file at `path`.

    LZ4 is used because its blocks carry a checksum: a flipped bit is noticed when the file is read.
    """
    import uproot

    identity = uuid.uuid5(uuid.NAMESPACE_OID, f"bunchtrain run {run}")
    options = {"compression": uproot.LZ4(4), "uuid_function": lambda: identity}
    # A stream, not a path: ROOT stores the path, and this one is temporary.
    with path.open("wb+") as stream, _no_clock(), uproot.recreate(stream, **options) as file:
        yield file


@contextlib.contextmanager
def _no_clock() -> Iterator[None]:
    """Let uproot write its epoch, 1995, as the time of every object: the bytes then depend on the content alone."""
    import uproot

    true_code = uproot._util.datetime_to_code
    uproot._util.datetime_to_code = lambda _: 0
    try:
        yield
    finally:
        uproot._util.datetime_to_code = true_code
