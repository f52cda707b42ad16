"""Events with hits into a ROOT file, the same bytes for the same events."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bunchtrain.events.ragged import starts
from bunchtrain.simulate.rootfile import METADATA, new_file

if TYPE_CHECKING:
    from bunchtrain.simulate.collisions import Crossings

TREE = "events"

#: Fields of the particles in the file: the column that each comes from, and its type.
_PARTICLE = {
    **{name: (name, "float32") for name in ("px", "py", "pz")},
    **{f"v{name}": (name, "float32") for name in ("x", "y", "z")},
    "charge": ("charge", "int8"),
    "id": ("id", "int32"),
    "hits": ("hits", "int32"),
}

_BRANCHES = {
    "run_number": "uint64",
    "event_number": "uint64",
    "weight": "float32",
    "hit": "var * {x: float32, y: float32, z: float32, layer: int32, particle: int32}",
    "particle": f"var * {{{', '.join(f'{name}: {kind}' for name, (_, kind) in _PARTICLE.items())}}}",
}


class EventFile:
    """An open ROOT file with the tree `events`, one entry per event; `nhit` and `nparticle` count its lists."""

    def __init__(self, file: Any, run: int) -> None:
        self._file = file
        self._run = run
        self._tree = file.mktree(TREE, _BRANCHES, title="one entry per event; GeV, mm")

    def write(self, batch: Crossings, first: int) -> None:
        """Append events, whose numbers count from `first`."""
        import awkward as ak

        number, hits = len(batch.weight), batch.hits
        begin = starts(batch.counts)[:-1]
        particle = np.where(hits.particle < 0, -1, hits.particle - begin[hits.event]).astype(np.int32)
        flat: dict[str, Any] = {name: np.float32(getattr(hits, name)) for name in ("x", "y", "z")}
        flat |= {"layer": hits.layer, "particle": particle}
        true = {name: np.asarray(batch.particles[column], kind) for name, (column, kind) in _PARTICLE.items()}
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
def event_file(path: Path, run: int) -> Iterator[EventFile]:
    """Open a new ROOT file of events with hits at `path`."""
    with new_file(path, run) as file:
        yield EventFile(file, run)
