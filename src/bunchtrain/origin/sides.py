"""What is known of a campaign that is to be compared: from its file, its output folder, or its archive."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bunchtrain.config.campaign import load_campaign
from bunchtrain.errors import InputError
from bunchtrain.files import read_json
from bunchtrain.origin import unpacked
from bunchtrain.origin.crate import METADATA
from bunchtrain.origin.records import ending, outputs_in
from bunchtrain.provenance import SUFFIX, Found, read

#: Where the figures stand below the results, and what of them: all, or these sections.
FIGURES: dict[str, tuple[str, ...]] = {
    "evaluate/metrics.json": (),
    "synthesize/report.json": ("auc", "resources", "timing", "utilisation", "working_points", "student", "certainty"),
}

#: What is measured with a watch.
_CLOCKS = ("seconds",)

Flat = dict[str, Any]


@dataclass
class Side:
    """One of two campaigns.

    Attributes
    ----------
    settings : dict or None
        All that the campaign file says, defaults included, by key; None where only the results are known.
    specs : dict
        What the stages were told, by stage and key.
    inputs : dict
        SHA-256 of what no stage made, by path.
    versions, tools : dict
        VERSIONs of stages, and versions of packages; several where runs differ.
    commits : str
        The commits of the runs.
    figures : dict
        Numbers of the evaluation and of the core, by file and key.
    """

    settings: Flat | None = None
    specs: Flat = field(default_factory=dict)
    inputs: Flat = field(default_factory=dict)
    versions: Flat = field(default_factory=dict)
    tools: Flat = field(default_factory=dict)
    commits: str = ""
    figures: Flat = field(default_factory=dict)


def side(path: Path) -> Side:
    """Read one side: a campaign file, an output folder, or an archive.

    Raises
    ------
    InputError
        If there is nothing to compare.
    CampaignError
        If a campaign file is none.
    """
    if path.is_dir():
        return _of_folder(path)
    if not path.exists():
        raise InputError("there is no such file or folder", file=path)
    if path.suffix in (".yaml", ".yml"):
        campaign = load_campaign(path)
        found = _of_folder(_results(path, campaign.output))
        found.settings = _settings(campaign.model_dump(mode="json"))
        return found
    return _of_archive(path)


def _settings(values: Any) -> Flat:
    """Return what a campaign says by key; the folder that its results go to is no part of it."""
    return {key: value for key, value in flat(values).items() if key != "output"}


def _results(file: Path, output: str) -> Path:
    """Return the results of a campaign: those beside its file, if there are any, else those in the present folder."""
    beside = file.parent / output
    return beside if beside.is_dir() else Path(output)


def _of_folder(folder: Path) -> Side:
    paths = list(outputs_in(folder)) if folder.is_dir() else []
    if not paths:
        raise InputError("no stage has written here", file=folder, mend="name the output folder of a campaign")
    found = _of_records(ending([Found(path, read(path)) for path in paths]))
    present = {name: read_json(folder / name) for name in FIGURES if (folder / name).exists()}
    found.figures = _figures(present)
    return found


def _of_archive(path: Path) -> Side:
    with unpacked.opened(path) as archive:
        names = archive.namelist()
        if METADATA not in names:
            mend = "make one with bunchtrain campaign archive"
            raise InputError("a file is no archive of a campaign", file=path, expected=METADATA, mend=mend)
    unpacked.check(path)  # figures of an archive that was changed are nobody's
    with unpacked.opened(path) as archive:
        told = {name: unpacked.read_record(path, archive, name) for name in sorted(names) if name.endswith(SUFFIX)}
        found = _of_records(ending([Found(Path(name.removesuffix(SUFFIX)), entry) for name, entry in told.items()]))
        here = {name: f"results/{name}" for name in FIGURES if f"results/{name}" in names}
        found.figures = _figures({name: unpacked.read_json(path, archive, here[name]) for name in here})
        found.settings = _settings(unpacked.read_json(path, archive, "campaign.json"))
    return found


def _of_records(records: Iterable[Found]) -> Side:
    found = Side()
    several: dict[str, dict[str, set[str]]] = {name: defaultdict(set) for name in ("specs", "versions", "tools")}
    commits: set[str] = set()
    made: set[str] = set()
    sources: Flat = {}
    for one in records:
        record, stage = one.entry, one.entry["stage"]
        for key, value in flat(record["spec"]).items():
            several["specs"][f"{stage}.{key}"].add(json.dumps(value))
        several["versions"][stage].add(str(record["spec"].get("version")))
        for tool, version in record["tools"].items():
            several["tools"][tool].add(str(version))
        commits.add(str(record.get("commit") or "unknown"))
        made |= {record["output"]["sha256"], record["output"]["path"]}
        sources |= {source["path"]: source["sha256"] for source in record["inputs"]}
    found.specs = {key: values for key, values in _joined(several["specs"]).items() if not key.endswith(".version")}
    found.versions, found.tools = _joined(several["versions"]), _joined(several["tools"])
    found.commits = ", ".join(sorted(commits))
    found.inputs = {path: digest for path, digest in sources.items() if made.isdisjoint((path, digest))}
    return found


def _joined(several: Mapping[str, set[str]]) -> Flat:
    return {name: ", ".join(sorted(values)) for name, values in several.items()}


def _figures(files: Mapping[str, Any]) -> Flat:
    found: Flat = {}
    for name, wanted in FIGURES.items():
        content = files.get(name)
        if not isinstance(content, dict):
            continue
        kept = {key: value for key, value in content.items() if not wanted or key in wanted}
        numbers = {key: value for key, value in flat(kept).items() if _is_figure(key, value)}
        found |= {f"{name.partition('/')[0]}.{key}": value for key, value in numbers.items()}
    return found


def _is_figure(key: str, value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and key.split(".")[-1] not in _CLOCKS


def flat(value: Any, before: str = "") -> Flat:
    """Return the leaves of a JSON-like value by their keys, joined by dots; `working_points.0.rejection`."""
    rows: Iterable[tuple[str, Any]]
    if isinstance(value, dict) and value:
        rows = value.items()
    elif isinstance(value, list) and any(isinstance(one, dict | list) for one in value):
        rows = ((str(number), one) for number, one in enumerate(value))
    else:
        return {before: value}
    return {key: leaf for name, one in rows for key, leaf in flat(one, f"{before}.{name}" if before else name).items()}
