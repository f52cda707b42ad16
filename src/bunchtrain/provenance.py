"""The record beside every output: where it came from, to the digest, and what made it."""

from __future__ import annotations

import datetime
import functools
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bunchtrain.files import read_json, sha256, write_json

SUFFIX = ".prov.json"

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


def record(
    outputs: Iterable[str | Path],
    *,
    stage: str,
    spec: Mapping[str, Any],
    inputs: Iterable[str | Path] = (),
    facts: Mapping[str, Any] | None = None,
    digests: Mapping[str, str] | None = None,
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
        Files that were read; each is stored with its digest.
    facts : mapping, optional
        Anything else worth keeping: seeds, cross sections, quarantined files.
    digests : mapping, optional
        SHA-256 of inputs that are known, by path: of what was really read.
    """
    known = digests or {}
    sources = [{"path": str(path), "sha256": known.get(str(path)) or sha256(path)} for path in inputs]
    common = {
        "record": 1,
        "stage": stage,
        "spec": dict(spec),
        "inputs": sources,
        "facts": dict(facts or {}),
        "tools": tool_versions(),
        "commit": commit(),
        "made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": platform.machine(),
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
    }
    for output in outputs:
        write_json(record_path(output), {**common, "output": {"path": str(output), "sha256": sha256(output)}})


def read(output: str | Path) -> dict[str, Any]:
    """Return the record of `output`."""
    found: dict[str, Any] = read_json(record_path(output))
    return found


def chain(output: str | Path) -> list[dict[str, Any]]:
    """Return the records of `output` and of everything it was made from, nearest first, each once.

    Inputs without a record (a collaboration's own ROOT files) end the chain.
    """
    found: dict[str, dict[str, Any]] = {}
    waiting = [Path(output)]
    while waiting:
        path = waiting.pop(0)
        if str(path) in found or not record_path(path).exists():
            continue
        found[str(path)] = read(path)
        waiting += [Path(source["path"]) for source in found[str(path)]["inputs"]]
    return list(found.values())


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


def altered(output: str | Path) -> list[str]:
    """Return a line for every file in the chain of `output` whose content is no longer what its record says."""
    lines: list[str] = []
    for entry in chain(output):
        for what in (entry["output"], *entry["inputs"]):
            path = Path(what["path"])
            if not path.exists():
                line = f"{path}: gone"
            elif sha256(path) != what["sha256"]:
                line = f"{path}: changed since {entry['made']}"
            else:
                continue
            if line not in lines:
                lines.append(line)
    return lines
