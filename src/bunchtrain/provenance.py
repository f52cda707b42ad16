"""The record beside every output: where it came from, to the digest, and what made it."""

from __future__ import annotations

import datetime
import functools
import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bunchtrain.errors import BunchtrainError, InputError
from bunchtrain.files import read_json, sha256, write_json

SUFFIX = ".prov.json"

#: Version of the records; from 2 on they are sealed.
RECORD = 2

#: What another run of the same stage on the same inputs may say otherwise.
_WHEN = ("made", "machine", "slurm_job")

#: What to do about a record that is none.
_AGAIN = "make the file again with its stage"

_TOOLS = [
    "alkaid",
    "awkward",
    "bunchtrain",
    "deephyper",
    "fastjet",
    "h5py",
    "hls4ml",
    "horovod",
    "numpy",
    "pythia8mc",
    "snakemake",
    "torch",
    "uproot",
    "verilator",
]


def record_path(output: str | Path) -> Path:
    """Return where the record of `output` stands."""
    output = Path(output)
    return output.with_name(output.name + SUFFIX)


@functools.cache
def tool_versions() -> dict[str, str]:
    """Return the versions of the packages that shape results, as installed here."""
    versions = {"python": platform.python_version()}
    for name in _TOOLS:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def versions_of(*names: str) -> dict[str, str]:
    """Return those of `tool_versions` that are named and installed."""
    return {name: version for name, version in tool_versions().items() if name in names}


@functools.cache
def commit() -> str | None:
    """Return the commit of the checkout this package runs from, with `+changes` if it was edited; None outside git."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ".")
        return git("rev-parse", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def now() -> str:
    """Return date and time, in UTC, as records give them."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def seal(entry: Mapping[str, Any]) -> str:
    """Return the digest of all that a record says; it stands in the record itself."""
    return _digest(entry, {"seal"})


def essence(entry: Mapping[str, Any]) -> str:
    """Return the digest of what a record says, less when and where: records of what was made of the file hold it."""
    return _digest(entry, {"seal", *_WHEN})


def _digest(entry: Mapping[str, Any], without: set[str]) -> str:
    said = {key: value for key, value in entry.items() if key not in without}
    return hashlib.sha256(json.dumps(said, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def record(
    outputs: Iterable[str | Path],
    *,
    stage: str,
    spec: Mapping[str, Any],
    inputs: Iterable[str | Path] = (),
    facts: Mapping[str, Any] | None = None,
    digests: Mapping[str, str] | None = None,
    about: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Write one record beside each output.

    Parameters
    ----------
    outputs : iterable of path
        Finished files.
    stage : str
        The verb that made them.
    spec : mapping
        The part of the campaign that the stage read, its VERSION included.
    inputs : iterable of path
        Files that were read; each is stored with its digest, and with what its own record says, as a digest.
    facts : mapping, optional
        Anything else worth keeping: seeds, cross sections, quarantined files.
    digests : mapping, optional
        SHA-256 of inputs that are known, by path: of what was really read.
    about : mapping, optional
        What else is to be said of inputs, by path, such as which entries were read.
    """
    known, more = digests or {}, about or {}
    sources = [
        {**more.get(str(path), {}), "path": str(path), "sha256": known.get(str(path)) or sha256(path), **_vouched(path)}
        for path in inputs
    ]
    common = {
        "record": RECORD,
        "stage": stage,
        "spec": dict(spec),
        "inputs": sources,
        "facts": dict(facts or {}),
        "tools": tool_versions(),
        "commit": commit(),
        "made": now(),
        "machine": platform.machine(),
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
    }
    for output in outputs:
        entry = {**common, "output": {"path": str(output), "sha256": sha256(output)}}
        entry = json.loads(json.dumps(entry))  # as it will be read again
        write_json(record_path(output), {**entry, "seal": seal(entry)})


def _vouched(path: str | Path) -> dict[str, str]:
    """Return the digest of what the record of an input says, if it has one."""
    try:
        return {"record": essence(read(path))}
    except BunchtrainError:
        return {}


def read(output: str | Path) -> dict[str, Any]:
    """Return the record of `output`.

    Raises
    ------
    InputError
        If there is none, or it is not a record.
    """
    path = record_path(output)
    return parsed(read_json(path, _AGAIN), path)


def parsed(found: Any, file: object) -> dict[str, Any]:
    """Return what was read from a record's file, as a record.

    Raises
    ------
    InputError
        If it is none.
    """
    if (key := _lacking(found)) is not None:
        raise InputError("a provenance record is damaged", file=file, key=key, mend=_AGAIN)
    entry: dict[str, Any] = found
    return entry


def _lacking(found: Any) -> str | None:
    """Return the first key that keeps something from being a record, or None."""
    kinds = {"stage": str, "spec": dict, "inputs": list, "output": dict, "made": str, "facts": dict, "tools": dict}
    if not isinstance(found, dict):
        return "record"
    if wrong := next((key for key, kind in kinds.items() if not isinstance(found.get(key), kind)), None):
        return wrong
    files = [("output", found["output"]), *(("inputs", one) for one in found["inputs"])]
    return next((key for key, one in files if not _is_file(one)), None)


def _is_file(what: Any) -> bool:
    if not isinstance(what, dict) or not all(isinstance(what.get(key), str) for key in ("path", "sha256")):
        return False
    return bool(what["path"]) and "\0" not in what["path"]


@dataclass(frozen=True)
class Found:
    """A record, and where the output that it speaks of stands now."""

    output: Path
    entry: dict[str, Any]

    @functools.cached_property
    def _moved(self) -> tuple[Path, Path]:
        """What recorded and present path of the output begin with; what they end in alike is the same place."""
        recorded, now = Path(self.entry["output"]["path"]).parts, self.output.parts
        pairs = list(zip(reversed(recorded), reversed(now), strict=False))
        alike = next((count for count, (one, other) in enumerate(pairs) if one != other), len(pairs))
        return Path(*recorded[: len(recorded) - alike]), Path(*now[: len(now) - alike])

    def where(self, name: str) -> Path:
        """Return where a file that the record names stands now: the folder may have been moved since."""
        path, (before, now) = Path(name), self._moved
        if before == now == Path():
            return path
        if path.is_relative_to(before):
            moved = now / path.relative_to(before)
        elif path.is_absolute() or before.is_absolute():
            return path
        else:
            moved = Path(os.path.normpath(now.joinpath(*[".."] * len(before.parts)) / path))
        stays = before != Path() and path.exists() and not moved.exists()
        return path if stays else moved

    @functools.cached_property
    def inputs(self) -> list[tuple[Path, dict[str, Any]]]:
        """Where each input stands, and what the record says of it; none that lies on another machine."""
        sources = self.entry["inputs"]
        return [(self.where(source["path"]), source) for source in sources if "://" not in source["path"]]

    @property
    def elsewhere(self) -> list[dict[str, Any]]:
        """Return what the record says of inputs on other machines."""
        return [source for source in self.entry["inputs"] if "://" in source["path"]]


def check_target(out: Path, suffix: str) -> None:
    """Refuse to write over what a stage has made, or over a file of another kind.

    Raises
    ------
    InputError
        If `out` does not end in `suffix`, or a record stands beside it.
    """
    if out.suffix != suffix:
        raise InputError("this is no name for such a file", key="--out", found=str(out), expected=f"a name in {suffix}")
    if record_path(out).exists():
        mend = f"another name, e.g. {out.with_name('status' + suffix)}"
        raise InputError("a result of the campaign would be overwritten", key="--out", found=str(out), mend=mend)


def walk(output: str | Path) -> tuple[list[Found], list[str]]:
    """Return the records of `output` and of all it was made from, nearest first, and a line for each unreadable one.

    Inputs without a record (a collaboration's own ROOT files) end the chain.
    """
    found: dict[Path, Found] = {}
    broken: dict[Path, str] = {}
    waiting = [Path(output)]
    while waiting:
        path = waiting.pop(0)
        if path in found or path in broken or not record_path(path).exists():
            continue
        try:
            found[path] = Found(path, read(path))
            waiting += [source for source, _ in found[path].inputs]
        except BunchtrainError as error:
            broken[path] = f"{record_path(path)}: {error.problem}"
    return list(found.values()), list(broken.values())


def chain(output: str | Path) -> list[dict[str, Any]]:
    """Return the records of `output` and of everything it was made from, nearest first, each once.

    Raises
    ------
    InputError
        If one of them cannot be read.
    """
    found, broken = walk(output)
    if broken:
        raise InputError("a provenance record cannot be read", file=output, found=broken[0])
    return [one.entry for one in found]


def ancestry(outputs: Iterable[str | Path]) -> list[dict[str, Any]]:
    """Return of everything that `outputs` were made from by which stage, of what, and all digests; nothing of when.

    Equal content gives equal text. Files are named by the last two parts of their paths.
    """
    records = {entry["output"]["sha256"]: entry for output in outputs for entry in chain(output)}
    return [
        {
            "stage": entry["stage"],
            "version": entry["spec"].get("version"),
            "output": _brief(entry["output"]),
            "inputs": [_brief(source) for source in entry["inputs"]],
        }
        for entry in records.values()
    ]


def _brief(what: Mapping[str, str]) -> dict[str, str]:
    return {"name": "/".join(Path(what["path"]).parts[-2:]), "sha256": what["sha256"]}


@dataclass(frozen=True)
class Change:
    """A file, or a record, that is no longer what it was."""

    path: Path
    what: str

    def __str__(self) -> str:
        """Return it as one line."""
        return f"{self.path}: {self.what}"


def altered(output: str | Path) -> list[str]:
    """Return a line for every file in the chain of `output` whose content, or record, is no longer what it was."""
    found, broken = walk(output)
    return [*broken, *map(str, problems(found))]


def problems(found: Sequence[Found], reads: Callable[[Path], bool] = lambda _: True) -> list[Change]:
    """Return every file that these records speak of, and every record, that is no longer what it was.

    Parameters
    ----------
    found : sequence of Found
        The records.
    reads : callable, optional
        Whether a file is to be read, by its path; of the others the records alone are looked at.
    """
    changes: dict[Path, str] = {}
    digests: dict[Path, str | None] = {}
    known = {one.output: essence(one.entry) for one in found}
    said_now = functools.cache(lambda path: known.get(path) or _said(path))
    for one in found:
        for path, said in [(one.output, one.entry["output"]), *one.inputs]:
            if path not in digests and reads(path):
                digests[path] = sha256(path) if path.is_file() else None
            if digests.get(path, said["sha256"]) != said["sha256"]:
                changes.setdefault(path, f"changed since {one.entry['made']}" if digests[path] else "gone")
        if (line := unsealed(one.entry)) is not None:
            changes[record_path(one.output)] = line
        for path, said in one.inputs:
            same = digests.get(path) in (None, said["sha256"])
            if "record" in said and same and (now := said_now(path)) not in (said["record"], _DAMAGED):
                line = "not the record of the file that" if now else "gone; a record stood beside the file that"
                changes.setdefault(record_path(path), f"{line} {one.output} was made from")
    return [Change(path, what) for path, what in changes.items()]


def unsealed(entry: Mapping[str, Any]) -> str | None:
    """Return how a record has been edited, as its seal tells, or None; records of version 1 have no seal."""
    if "seal" in entry:
        return None if entry["seal"] == seal(entry) else "edited, its seal does not fit"
    return None if entry.get("record") == 1 else "edited, its seal is missing"


#: What a record says that cannot be read; it has been told already.
_DAMAGED = "damaged"


def _said(path: Path) -> str | None:
    """Return the digest of what the record of a file says; None if there is no record."""
    if not record_path(path).exists():
        return None
    try:
        return essence(read(path))
    except BunchtrainError:
        return _DAMAGED
