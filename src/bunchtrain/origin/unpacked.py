"""Archives of campaigns that someone else may have made: read, and checked to the last digest."""

from __future__ import annotations

import contextlib
import hashlib
import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from bunchtrain import zips
from bunchtrain.errors import BunchtrainError, InputError
from bunchtrain.files import sha256
from bunchtrain.origin.crate import CRATE, FORMAT, METADATA, About, Content, metadata
from bunchtrain.provenance import SUFFIX, Found, essence, parsed, unsealed

#: Bytes that metadata, or a record, may have.
MOST_BYTES = 1 << 28

Rows = dict[str, dict[str, Any]]


def is_crate(path: Path) -> bool:
    """Return whether a file is an archive of a campaign, and not, say, a core.

    Raises
    ------
    InputError
        If it is no zip at all.
    """
    with opened(path) as archive:
        return METADATA in archive.namelist()


@contextlib.contextmanager
def opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open an archive; what goes wrong while it is read is told as an error of this file.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (*zips.DAMAGED, OSError) as error:
        if isinstance(error, BunchtrainError):
            raise
        expected = "core.zip of synthesize, or what campaign archive has written"
        raise InputError("an archive cannot be read", file=path, found=error, expected=expected) from None


def verify(path: Path) -> None:
    """Check an archive and print what was found.

    Raises
    ------
    InputError
        At the first thing that is not as the archive claims.
    """
    files, records = check(path)
    print(f"[verify] {path}: sha256 {sha256(path)}, to be compared with what campaign archive printed", flush=True)
    print(f"[verify] {files} files are what the metadata say; {records} records hold together", flush=True)


def check(path: Path) -> tuple[int, int]:
    """Check an archive; return the numbers of its files and records.

    Raises
    ------
    InputError
        At the first thing that is not as the archive claims.
    """
    with opened(path) as archive:
        entries = _entries(path, archive)
        rows = _rows(path, archive)
        files = _check_files(path, archive, entries, rows)
        records = {name: read_record(path, archive, name) for name in sorted(files) if name.endswith(SUFFIX)}
        contents = {name: Content(entries[name].file_size, digest) for name, digest in files.items()}
    _check_records(path, files, records)
    _check_runs(path, rows, records)
    _check_metadata(path, rows, contents, records)
    return len(files), len(records)


def _entries(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    found: dict[str, zipfile.ZipInfo] = {}
    for entry in archive.infolist():
        if not zips.is_inside(entry.filename):
            raise InputError("a file would leave the archive's folder", file=path, found=repr(entry.filename))
        if entry.filename in found:
            raise InputError("an archive holds a file twice", file=path, found=entry.filename)
        found[entry.filename] = entry
    return found


def read_json(path: Path, archive: zipfile.ZipFile, name: str) -> Any:
    """Return a JSON file of an archive.

    Raises
    ------
    InputError
        If it is missing, too large, or not JSON.
    """
    try:
        if archive.getinfo(name).file_size > MOST_BYTES:
            raise InputError("a file of an archive is too large", file=path, key=name)
        return json.loads(archive.read(name))
    except KeyError:
        raise InputError("an archive lacks a file", file=path, key=name) from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError("a file of an archive is not JSON", file=path, key=name, found=error) from None


def read_record(path: Path, archive: zipfile.ZipFile, name: str) -> dict[str, Any]:
    """Return a record of an archive.

    Raises
    ------
    InputError
        If it is none.
    """
    return parsed(read_json(path, archive, name), f"{path}, {name}")


def _rows(path: Path, archive: zipfile.ZipFile) -> Rows:
    """Return the entities of the metadata by name, all that they refer to among them."""
    told = read_json(path, archive, METADATA)
    graph = told.get("@graph") if isinstance(told, dict) else None
    plain = isinstance(graph, list) and all(isinstance(row, dict) and isinstance(row.get("@id"), str) for row in graph)
    if not isinstance(graph, list) or not plain:
        raise InputError("metadata have no list of entities", file=path, key=f"{METADATA}: @graph")
    rows: Rows = {row["@id"]: row for row in graph}
    if len(rows) != len(graph):
        raise InputError("metadata name an entity twice", file=path, key=METADATA)
    descriptor, root = rows.get(METADATA, {}), rows.get("./", {})
    if descriptor.get("conformsTo") != {"@id": CRATE} or descriptor.get("about") != {"@id": "./"} or not root:
        raise InputError("metadata are not those of an RO-Crate 1.1", file=path, key=METADATA)
    for row in graph:
        for name in _references(row):
            if name not in rows and "://" not in name:
                raise InputError("metadata refer to nothing", file=path, key=row["@id"], found=name)
    parts = {name for name, row in rows.items() if row.get("@type") == "File"}
    if {*_references(root, "hasPart")} != parts:
        raise InputError("metadata do not list their files", file=path, key=f"{METADATA}: hasPart")
    return rows


def _references(row: Mapping[str, Any], *keys: str) -> Iterator[str]:
    """Yield the names of what an entity refers to, by some keys or by all."""
    for key in keys or row:
        value = row.get(key, [])
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, dict) and isinstance(one.get("@id"), str):
                yield one["@id"]


def _check_files(
    path: Path, archive: zipfile.ZipFile, entries: Mapping[str, zipfile.ZipInfo], rows: Rows
) -> dict[str, str]:
    """Compare the files with the metadata; return their digests by name."""
    stated = {unquote(name): row for name, row in rows.items() if row.get("@type") == "File"}
    for name in sorted({*stated, *entries} - {METADATA}):
        if name not in entries:
            raise InputError("an archive lacks a file that its metadata name", file=path, key=name)
        if name not in stated:
            raise InputError("an archive holds a file that its metadata do not name", file=path, key=name)
        size, digest = str(entries[name].file_size), stated[name].get("sha256")
        same = size == stated[name].get("contentSize")
        if not same or (found := _digest(archive, entries[name])) != digest:
            expected = f"{stated[name].get('contentSize')} bytes, {digest}"
            problem = "a file of an archive is not the one that was archived"
            raise InputError(problem, file=path, key=name, found=found if same else f"{size} bytes", expected=expected)
    return {name: str(row["sha256"]) for name, row in stated.items()}


def _digest(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> str:
    digest = hashlib.sha256()
    with archive.open(entry) as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _check_records(path: Path, files: Mapping[str, str], records: Mapping[str, dict[str, Any]]) -> None:
    """Demand that records are as they were sealed, of the files beside them, and vouch for one another."""
    for name, entry in records.items():
        if (line := unsealed(entry)) is not None:
            raise InputError("a record of an archive was edited", file=path, key=name, found=line)
        beside = files.get(name.removesuffix(SUFFIX))
        if beside not in (None, entry["output"]["sha256"]):
            raise InputError("a record of an archive is that of another file", file=path, key=name, found=beside)
    told = {(entry["output"]["path"], entry["output"]["sha256"]): entry for entry in records.values()}
    roots = tuple({root for name, entry in records.items() if (root := _root(name, entry))})
    for name, entry in records.items():
        for source in entry["inputs"]:
            other = told.get((source["path"], source["sha256"]))
            if "record" not in source or (other is None and not source["path"].startswith(roots)):
                continue  # nothing vouches for it, or it stood outside of the results
            if other is None or essence(other) != source["record"]:
                problem = "a record of an archive is not the one that another vouches for"
                raise InputError(problem, file=path, key=source["path"], found=name)


def _root(name: str, entry: Mapping[str, Any]) -> str:
    """Return how the path of a recorded file began that is below `results/` here."""
    below = name.removesuffix(SUFFIX).removeprefix("results")
    recorded: str = entry["output"]["path"]
    return f"{recorded.removesuffix(below)}/" if recorded.endswith(below) else ""


def _check_runs(path: Path, rows: Rows, records: Mapping[str, dict[str, Any]]) -> None:
    """Demand that the runs in the metadata are those of the records."""

    def digests(row: Mapping[str, Any], name: str) -> list[str]:
        return sorted(str(rows[one].get("sha256")) for one in _references(row, name) if one in rows)

    told = {
        (str(row.get("name")), str(row.get("endTime")), result, *digests(row, "object"))
        for row in rows.values()
        if row.get("@type") == "CreateAction"
        for result in digests(row, "result")
    }
    known = {
        (
            f"bunchtrain {entry['stage']}",
            entry["made"],
            entry["output"]["sha256"],
            *sorted(source["sha256"] for source in entry["inputs"]),
        )
        for entry in records.values()
    }
    if told != known:
        odd = min(told ^ known)
        raise InputError("metadata tell of other runs than the records", file=path, key=METADATA, found=odd[:3])


def _check_metadata(
    path: Path, rows: Rows, contents: Mapping[str, Content], records: Mapping[str, dict[str, Any]]
) -> None:
    """Demand of metadata of the present version that they are what follows from files and records, to the last word."""
    root = rows["./"]
    if root.get("version") != FORMAT:
        return
    licence = next(_references(root, "license"), "")
    about = About(root.get("name", ""), root.get("description", ""), None if licence == "#licence" else licence)
    names = {name.removesuffix(SUFFIX): entry for name, entry in records.items()}
    found = {name: Found(Path(name), entry) for name, entry in names.items()}
    expected: Rows = {row["@id"]: row for row in metadata(about, contents, found)["@graph"]}
    if odd := sorted(name for name in {*rows, *expected} if rows.get(name) != expected.get(name)):
        problem = "metadata are not what follows from files and records"
        raise InputError(problem, file=path, key=METADATA, found=", ".join(odd[:3]))
