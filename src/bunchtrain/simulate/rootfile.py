"""Jets into a ROOT file, the same bytes for the same jets; `new_file` is for other content, too."""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bunchtrain.config.tracks import Tracks
from bunchtrain.simulate import dijets, secondary
from bunchtrain.simulate import tracks as reconstructed
from bunchtrain.simulate.jets import Jets

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


_TRACKS = {f"jet_{name}": kind for name, kind in secondary.FIELDS.items()}
_TRACKS["track"] = "var * {" + ", ".join(f"{name}: {kind}" for name, kind in reconstructed.FIELDS.items()) + "}"
_FLAVOUR = {"jet_flavour": "int32"}
_PAIR = dict.fromkeys(dijets.COLUMNS, "float32")


class JetFile:
    """An open ROOT file with the tree `jets`, one entry per jet; `npart` counts the constituents, `part_<field>`.

    With a tracker `ntrack` counts the tracks, `track_<field>`. Of pairs there are the columns of `dijets.COLUMNS`.
    """

    def __init__(self, file: Any, run: int, flavour: bool, tracks: Tracks | None, pairs: bool) -> None:
        self._file = file
        self._run = run
        self._tracks = tracks
        branches = _BRANCHES | (_FLAVOUR if flavour or tracks else {}) | (_TRACKS if tracks else {})
        branches |= _PAIR if pairs else {}
        self._tree = file.mktree(TREE, branches, title="one entry per jet; GeV, rad")

    def write(self, jets: Jets) -> None:
        """Append jets; `jets.event` holds their event numbers."""
        columns: dict[str, Any] = {
            f"jet_{name}": np.float32(getattr(jets, name)) for name in ("pt", "eta", "phi", "mass")
        }
        event = np.asarray(jets.event, np.uint64)
        run = np.full(len(event), self._run, np.uint64)
        weight = np.float32(jets.weight)
        if jets.flavour is not None:
            columns["jet_flavour"] = np.int32(jets.flavour)
        if self._tracks is not None:
            found = secondary.summary(jets.eta, jets.phi, jets.tracks, self._tracks)
            columns |= {f"jet_{name}": values for name, values in found.items()} | {"track": jets.tracks}
        if jets.pair is not None:
            columns |= {name: np.float32(jets.pair[name]) for name in dijets.COLUMNS}
        self._tree.extend({"run_number": run, "event_number": event, "weight": weight, **columns, "part": jets.parts})

    def describe(self, metadata: dict[str, Any]) -> None:
        """Store `metadata` as JSON in a string object of the file."""
        self.add(METADATA, json.dumps(metadata, sort_keys=True))

    def add(self, name: str, text: str) -> None:
        """Store text as a string object of the file."""
        self._file[name] = text


@contextlib.contextmanager
def jet_file(
    path: Path, run: int, flavour: bool = False, tracks: Tracks | None = None, pairs: bool = False
) -> Iterator[JetFile]:
    """Open a new ROOT file of jets at `path`, with or without their flavour, their tracks, and the other jet."""
    with new_file(path, run) as file:
        yield JetFile(file, run, flavour, tracks, pairs)


@contextlib.contextmanager
def new_file(path: Path, run: int) -> Iterator[Any]:
    """Open a new ROOT file at `path`, as uproot has it.

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
