"""What a campaign tells the job that makes a file, in the words of the file's record."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bunchtrain.config.specs import SynthesizeSpec, TrainSpec, best_values, parse_spec, with_best, with_values
from bunchtrain.dag import Plan
from bunchtrain.provenance import Found

#: Files below the results, with the stage whose spec their record holds; the groups are wildcards of the rules.
_PLACES = {
    r"simulate/(?P<sample>.+)/(?P<shard>\d{4,})\.root": "simulate",
    r"convert/(?P<sample>.+)/(?P<group>\d{4,})\.(h5|json)": "convert",
    r"prepare/(dataset\.h5|scaler\.json|summary\.json)": "prepare",
    r"(?P<beside>.+)/dataset\.h5": "index",
    r"scan/(results\.csv|best\.json|front\.json)": "scan",
    r"train/seed(?P<number>\d+)/(model\.safetensors|model\.json|history\.json)": "train",
    r"train/baseline/(model\.safetensors|model\.json|history\.json)": "baseline",
    r"evaluate/(metrics\.json|predictions\.h5)": "evaluate",
    r"systematics/(?P<source>[^/]+)/(?P<variation>[^/]+)/(metrics\.json|predictions\.h5)": "vary",
    r"systematics/summary\.json": "systematics",
    r"synthesize/(core\.zip|report\.json|student\.safetensors|student\.json)": "synthesize",
    r"synthesize/candidates/(?P<candidate>[^/]+)/figures\.json": "candidate",
    r"synthesize/search/(results\.csv|front\.json)": "search",
    r"hunt/sensitivity\.json": "sensitivity",
    r"hunt/(?P<box>[^/]+)/(result\.json|scores\.h5)": "hunt",
    r"report\.html": "report",
}

#: Which of them a spec depends on.
_ASKED = {
    "simulate": ("sample", "shard"),
    "convert": ("sample",),
    "index": ("beside",),
    "train": ("number",),
    "vary": ("source", "variation"),
    "candidate": ("candidate",),
    "hunt": ("box",),
}


def place(name: str) -> tuple[str, dict[str, str]] | None:
    """Return the stage and the wildcards of a file below the results; None for what no rule makes."""
    for pattern, stage in _PLACES.items():
        if found := re.fullmatch(pattern, name):
            return stage, found.groupdict()
    return None


def has(plan: Plan, stage: str, wildcards: Mapping[str, str]) -> bool:
    """Return whether the campaign has such a job."""
    if stage == "vary":
        return f"{plan.output}/systematics/{wildcards['source']}/{wildcards['variation']}" in plan.varied()
    lacks = {
        "baseline": plan.baseline() is None,
        "synthesize": not plan.core,
        "search": not plan.searched,
        "systematics": not plan.varied(),
        "sensitivity": not plan.boxes(),
    }
    return not lacks.get(stage, False) and plan.has(wildcards)


def told(plan: Plan, name: str) -> dict[str, Any] | None:
    """Return the spec that the record of a file has to hold.

    Parameters
    ----------
    plan : Plan
        The campaign.
    name : str
        The file, below the campaign's results.

    Returns
    -------
    dict or None
        None for a file that the campaign does not ask for, or that follows from one that is not there.
    """
    found = place(name)
    if found is None or not has(plan, *found):
        return None
    stage, wildcards = found
    text = plan.spec(stage, **{key: wildcards[key] for key in _ASKED.get(stage, ())})
    best = Path(plan.output) / "scan/best.json"
    if stage == "train" or (stage == "synthesize" and plan.scans_student):
        return _chosen(stage, text, best) if best.exists() else None
    values: dict[str, Any] = json.loads(text)
    if stage == "convert":
        number, _, parts = plan.part(wildcards["sample"], wildcards["group"]).partition("/")
        values["part"] = [int(number), int(parts)]
    return values


def of_file(plan: Plan, path: Path) -> dict[str, Any] | None:
    """Return the same for a file by its path."""
    return told(plan, os.path.relpath(path, plan.output))


def otherwise(plan: Plan, one: Found, name: str) -> tuple[str, list[str]] | None:
    """Return with what an output was made that the campaign says otherwise now.

    Parameters
    ----------
    plan : Plan
        The campaign.
    one : Found
        The output and its record.
    name : str
        The output, below the campaign's results.

    Returns
    -------
    tuple or None
        Its stage and the keys that differ, none if the campaign does not ask for it; None if all is as it says, or for
        what no rule makes.
    """
    if (found := place(name)) is None:
        return None
    stage, wildcards = found
    if not has(plan, stage, wildcards):
        return stage, []
    asked = told(plan, name)
    keys = [] if asked is None else differences(asked, one.entry["spec"])
    if stage == "convert" and _sources(plan, one, wildcards):
        keys.append("files")
    return (stage, keys) if keys else None


def _sources(plan: Plan, one: Found, wildcards: Mapping[str, str]) -> bool:
    """Whether a shard was made of other files of this machine than it would be now."""
    asked = plan.files(wildcards["sample"], wildcards["group"])
    return {os.path.abspath(name) for name in asked} != {os.path.abspath(path) for path, _ in one.inputs}  # noqa: PTH100


def _chosen(stage: str, text: str, best: Path) -> dict[str, Any]:
    """Return a spec with the values that the scan found best."""
    if stage == "train":
        return with_best(parse_spec(TrainSpec, text), best).model_dump(mode="json")
    return with_values(parse_spec(SynthesizeSpec, text), best_values(best), best).model_dump(mode="json")


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Return the keys in which two specs differ, those of sections by their own: `settings.epochs`."""
    keys: list[str] = []
    for name in sorted({*one, *other}):
        here, there = one.get(name), other.get(name)
        if isinstance(here, Mapping) and isinstance(there, Mapping):
            keys += [f"{name}.{key}" for key in differences(here, there)]
        elif here != there:
            keys.append(name)
    return keys
