"""Conversions that campaigns share: equal files under equal settings are converted once."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py

from bunchtrain import store
from bunchtrain.config.specs import ConvertSpec
from bunchtrain.convert.rootfile import digest_of
from bunchtrain.errors import BunchtrainError
from bunchtrain.files import as_json, read_json
from bunchtrain.provenance import versions_of


def tools() -> dict[str, str]:
    """Return the versions of the packages that shape what is written; a file names them."""
    return versions_of("awkward", "bunchtrain", "h5py", "numpy", "python", "uproot")


@contextlib.contextmanager
def place(spec: ConvertSpec, files: Sequence[Path | str], part: tuple[int, int]) -> Iterator[store.Place | None]:
    """Hold the place of one conversion in the store; None without a store, or for files that cannot be read.

    Files are read for their digests here and again when they are converted: what differs then is not kept.
    """
    if store.root() is None:
        yield None
        return
    try:
        digests = [digest_of(file) for file in files]
    except BunchtrainError:  # the conversion will tell
        yield None
        return
    asked = {"spec": spec.model_dump(mode="json"), "part": list(part), "inputs": digests, "tools": tools()}
    with store.place("convert", asked) as found:
        yield found


def take(place: store.Place, files: Sequence[Path | str], out: Path, manifest: Path) -> dict[str, Any] | None:
    """Take a conversion from the store, under the names that the files have here; return what is said of it."""

    def adapt(copies: Mapping[str, Path], about: Mapping[str, Any]) -> None:
        names = dict(zip(about["inputs"], map(str, files), strict=True))
        if any(there != here for there, here in names.items()):
            _rename(copies["events.h5"], copies["manifest.json"], names)

    return place.take(_named(out, manifest), adapt)


def keep(place: store.Place, files: Sequence[Path | str], out: Path, manifest: Path) -> None:
    """Keep a conversion in the store, if what was read is what was asked for: a file may be replaced meanwhile."""
    if [row["sha256"] for row in read_json(manifest)["inputs"]] == place.asked["inputs"]:
        place.keep(_named(out, manifest), inputs=list(map(str, files)))
    else:
        print("[store] not kept: an input was replaced while it was converted", flush=True)


def _named(out: Path, manifest: Path) -> dict[str, Path]:
    return {"events.h5": out, "manifest.json": manifest}


def _rename(events: Path, manifest: Path, names: Mapping[str, str]) -> None:
    """Give the input files other names in both files."""
    with h5py.File(events, "r+") as file:
        sources = json.loads(file.attrs["source_files"])
        renamed = json.dumps([{**source, "path": names[source["path"]]} for source in sources])
        del file.attrs["source_files"]
        file.attrs["source_files"] = renamed
    listing = read_json(manifest)
    listing["inputs"] = [{**row, "path": names[row["path"]]} for row in listing["inputs"]]
    manifest.write_text(as_json(listing), encoding="utf-8")
