"""The metadata of an archive: RO-Crate 1.1, its runs in the terms of Process Run Crate 0.5."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from bunchtrain.files import fingerprint
from bunchtrain.origin.prov import run_of
from bunchtrain.provenance import SUFFIX, Found

METADATA = "ro-crate-metadata.json"

#: Version of these metadata: to be raised when the same results would have others.
FORMAT = "1"

PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
CRATE = "https://w3id.org/ro/crate/1.1"
COMPLETED = "http://schema.org/CompletedActionStatus"

_FORMATS = {
    ".json": "application/json",
    ".html": "text/html",
    ".zip": "application/zip",
    ".csv": "text/csv",
    ".h5": "application/x-hdf5",
    ".root": "application/x-root",
    ".yaml": "application/yaml",
    ".safetensors": "application/x-safetensors",
}


@dataclass(frozen=True)
class Content:
    """Size in bytes and SHA-256 of a file of the archive."""

    size: int
    sha256: str


@dataclass(frozen=True)
class About:
    """What an archive says of itself."""

    name: str
    description: str
    licence: str | None = None


def metadata(about: About, files: Mapping[str, Content], records: Mapping[str, Found]) -> dict[str, Any]:
    """Return the content of `ro-crate-metadata.json`; equal results give equal metadata.

    Parameters
    ----------
    about : About
        What the archive says of itself.
    files : mapping
        All files of the archive by name.
    records : mapping
        The records by the name that their output has, or would have, in the archive.
    """
    places = {(one.entry["output"]["path"], one.entry["output"]["sha256"]): name for name, one in records.items()}
    graph = _Graph(files, places)
    for name in sorted(files):
        graph.file(name)
    for name, one in sorted(records.items()):
        graph.run(name, one)
    published = max((one.entry["made"] for one in records.values()), default="1980-01-01T00:00:00+00:00")
    return {
        "@context": [f"{CRATE}/context", {"sha256": "https://schema.org/sha256"}],
        "@graph": [*_roots(about, published, files, graph.runs()), *graph.rows()],
    }


def _roots(about: About, published: str, files: Iterable[str], runs: list[str]) -> list[dict[str, Any]]:
    licence = {"@id": about.licence or "#licence", "@type": "CreativeWork", "name": "licence of the results"}
    licence |= {"description": about.licence or "not stated: ask those who made the results"}
    return [
        {"@id": METADATA, "@type": "CreativeWork", "about": _to("./"), "conformsTo": _to(CRATE)},
        {
            "@id": "./",
            "@type": "Dataset",
            "name": about.name,
            "description": about.description,
            "version": FORMAT,
            "datePublished": published,
            "license": _to(licence["@id"]),
            "conformsTo": _to(PROFILE),
            "hasPart": [_to(quote(name)) for name in sorted(files)],
            "mentions": [_to(run) for run in runs],
        },
        {"@id": PROFILE, "@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"},
        licence,
    ]


class _Graph:
    """Entities by their names, added one by one."""

    def __init__(self, files: Mapping[str, Content], places: Mapping[tuple[str, str], str]) -> None:
        self._files, self._places = files, places
        self._rows: dict[str, dict[str, Any]] = {}

    def rows(self) -> list[dict[str, Any]]:
        """Return the entities, sorted by name; a list of one is written as the one, as RO-Crate wants it."""

        def plain(value: Any) -> Any:
            return value[0] if isinstance(value, list) and len(value) == 1 else value

        return [{key: plain(value) for key, value in self._rows[name].items()} for name in sorted(self._rows)]

    def runs(self) -> list[str]:
        """Return the names of the runs."""
        return sorted(name for name, row in self._rows.items() if row["@type"] == "CreateAction")

    def file(self, name: str) -> None:
        """Add a file of the archive."""
        content, plain = self._files[name], PurePosixPath(name)
        row = {"@id": quote(name), "@type": "File", "name": name, "contentSize": str(content.size)}
        row |= {"sha256": content.sha256, "encodingFormat": _FORMATS.get(plain.suffix, "application/octet-stream")}
        if name.endswith(SUFFIX):
            row["description"] = f"provenance record of {name.removesuffix(SUFFIX)}"
        self._rows[row["@id"]] = row

    def run(self, name: str, one: Found) -> None:
        """Add the run that made a file; files of one run have it in common."""
        entry, action = one.entry, f"#run-{run_of(one)}"
        row = self._rows.setdefault(
            action,
            {
                "@id": action,
                "@type": "CreateAction",
                "name": f"bunchtrain {entry['stage']}",
                "description": f"the stage {entry['stage']}, its version {entry['spec'].get('version')}",
                "instrument": _to(self._instrument(entry)),
                "object": [_to(self._thing(source)) for source in entry["inputs"]],
                "result": [],
                "endTime": entry["made"],
                "actionStatus": _to(COMPLETED),
            },
        )
        row["result"].append(_to(self._thing(entry["output"])))
        if (record := quote(name + SUFFIX)) in self._rows:
            self._rows[record]["about"] = row["result"][-1]

    def _thing(self, what: Mapping[str, Any]) -> str:
        """Return the name of a file: of the archive, or, added here, one that is not in it."""
        name = self._places.get((what["path"], what["sha256"]))
        if name in self._files:
            return quote(str(name))
        told = f"#file-{fingerprint([what['path'], what['sha256']])}"
        row = {"@id": told, "@type": "CreativeWork", "name": what["path"], "sha256": what["sha256"]}
        self._rows[told] = {**row, "description": "not in this archive"}
        return told

    def _instrument(self, entry: Mapping[str, Any]) -> str:
        """Add the stage and the packages that it needs; return the stage's name."""
        tools, version = entry["tools"], entry["spec"].get("version")
        package, commit = tools.get("bunchtrain", "unknown"), entry.get("commit") or "unknown"
        name = f"#bunchtrain-{entry['stage']}-{fingerprint([version, commit, tools])}"
        for tool, number in tools.items():
            row = {"@id": f"#{tool}-{number}", "@type": "SoftwareApplication", "name": tool}
            self._rows[row["@id"]] = {**row, "softwareVersion": number}
        self._rows[name] = {
            "@id": name,
            "@type": "SoftwareApplication",
            "name": f"bunchtrain {entry['stage']}",
            "softwareVersion": f"{package}, version {version} of the stage, commit {commit}",
            "softwareRequirements": [_to(f"#{tool}-{number}") for tool, number in sorted(tools.items())],
        }
        return name


def _to(name: str) -> dict[str, str]:
    return {"@id": name}
