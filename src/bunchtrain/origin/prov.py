"""Records as W3C PROV-JSON: files are entities, runs of a stage activities, this package and its commit the agent."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bunchtrain.files import fingerprint
from bunchtrain.provenance import Found

#: What the names in a document begin with.
PREFIXES = {"file": "urn:bunchtrain:file:", "run": "urn:bunchtrain:run:", "bunchtrain": "urn:bunchtrain:"}


def document(found: Iterable[Found]) -> dict[str, Any]:
    """Return the PROV-JSON document of some records.

    A file is told from another by path and content, so a changed file is an entity of its own. The outputs of one run
    of a stage have one activity in common.
    """
    told: dict[str, dict[str, Any]] = {"entity": {}, "activity": {}, "agent": {}}
    relations = ("wasGeneratedBy", "used", "wasAssociatedWith", "wasDerivedFrom")
    told |= {name: {} for name in relations}
    for one in found:
        _add(told, one)
    return {"prefix": PREFIXES, **{name: rows for name, rows in told.items() if rows}}


def run_of(one: Found) -> str:
    """Return what the outputs of one run of a stage have in common."""
    sources = [[source["path"], source["sha256"]] for source in one.entry["inputs"]]
    entry = one.entry
    folder = str(Path(entry["output"]["path"]).parent) if not sources else ""
    return fingerprint([entry["stage"], entry["spec"], sources, entry["made"], entry.get("slurm_job"), folder])


def _add(told: dict[str, dict[str, Any]], one: Found) -> None:
    entry, run = one.entry, f"run:{run_of(one)}"
    made, agent = _entity(told, entry["output"]), _agent(told, entry)
    told["activity"][run] = {
        "prov:endTime": {"$": entry["made"], "type": "xsd:dateTime"},
        "prov:label": entry["stage"],
        "prov:type": {"$": f"bunchtrain:{entry['stage']}", "type": "prov:QUALIFIED_NAME"},
        "bunchtrain:version": entry["spec"].get("version") or 0,
        "bunchtrain:spec": as_line(entry["spec"]),
        "bunchtrain:tools": as_line(entry["tools"]),
    }
    _relate(told, "wasGeneratedBy", {"prov:entity": made, "prov:activity": run})
    _relate(told, "wasAssociatedWith", {"prov:activity": run, "prov:agent": agent})
    for source in entry["inputs"]:
        used = _entity(told, source)
        read = {f"bunchtrain:{name}": as_line(source[name]) for name in ("tree", "entries") if name in source}
        _relate(told, "used", {"prov:activity": run, "prov:entity": used, **read})
        derived = {"prov:generatedEntity": made, "prov:usedEntity": used, "prov:activity": run}
        _relate(told, "wasDerivedFrom", derived)


def as_line(value: Any) -> str:
    """Return a value as JSON in one line, a text as it is."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _entity(told: dict[str, dict[str, Any]], what: Mapping[str, Any]) -> str:
    name = f"file:{fingerprint([what['path'], what['sha256']])}"
    told["entity"][name] = {
        "prov:label": what["path"],
        "bunchtrain:path": what["path"],
        "bunchtrain:sha256": what["sha256"],
    }
    return name


def _agent(told: dict[str, dict[str, Any]], entry: Mapping[str, Any]) -> str:
    version, commit = entry["tools"].get("bunchtrain", "unknown"), entry.get("commit") or "unknown"
    name = f"bunchtrain:{fingerprint([version, commit])}"
    told["agent"][name] = {
        "prov:type": {"$": "prov:SoftwareAgent", "type": "prov:QUALIFIED_NAME"},
        "prov:label": f"bunchtrain {version}",
        "bunchtrain:commit": commit,
    }
    return name


def _relate(told: dict[str, dict[str, Any]], relation: str, row: dict[str, Any]) -> None:
    told[relation][f"_:{relation}-{fingerprint(row)}"] = row
