"""Open black boxes, once what was found in them stands, and score it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bunchtrain import provenance, told
from bunchtrain.config.campaign import load_campaign
from bunchtrain.dag import Plan
from bunchtrain.errors import CampaignError, InputError
from bunchtrain.files import read_json, sha256, write_json
from bunchtrain.provenance import record_path
from bunchtrain.rounding import together
from bunchtrain.unblind import answer
from bunchtrain.unblind.score import score

#: What is written, beside the results.
FILE = "unblinded.json"

#: Columns of the table at least: a verdict is one line.
_WIDTH = 150

#: What is frozen when a box is opened.
_FROZEN = ("result.json", "scores.h5")

#: What is kept of an opening and read again.
_KEPT = {"opened": str, "frozen": dict, "result": dict}


def unblind(file: Path, box: str | None = None) -> None:
    """Open the boxes of a campaign, or one of them; print and keep what was hidden beside what was found.

    The digests of the results against which a box is opened first are kept in `unblinded.json`, by seed and box: one
    that is made afterwards is scored too, and called so.

    Raises
    ------
    BunchtrainError
        If a result does not stand yet, is not what its record says, or a seal does not open.
    """
    plan = Plan(load_campaign(file).model_dump(mode="json", exclude_none=True), file)
    boxes = _chosen(plan, file, box)
    for name in boxes:
        _check(plan, file, name)
    path, seed = Path(plan.output) / FILE, str(plan.campaign.seed)
    kept, scored = _read(path), {}
    before = kept.get(seed, {})
    for name in boxes:
        scored[name] = _opened(plan, name, before.get(name))
        _write(plan, path, kept | {seed: before | scored})  # box by box: what was opened is known to have been
    _show(scored)
    print(f"[unblind] {path}", flush=True)


def _chosen(plan: Plan, file: Path, box: str | None) -> list[str]:
    if not plan.boxes():
        raise CampaignError("the campaign has no black boxes", file=file, key="boxes", mend="name some under `boxes`")
    if box is not None and box not in plan.boxes():
        raise CampaignError("there is no such box", file=file, key="--box", found=box, choices=plan.boxes())
    return plan.boxes() if box is None else [box]


def _check(plan: Plan, file: Path, name: str) -> None:
    """Refuse to open a box before what was found in it stands."""
    folder = Path(plan.output) / "hunt" / name
    again = f"bunchtrain campaign run {file} --cores 2"
    for one in _FROZEN:
        if not (folder / one).exists():
            problem = "the box stays closed: what was found in it does not stand yet"
            raise InputError(problem, file=folder / one, found="no such file", mend=again)
        record = provenance.read(folder / one)
        if record["output"]["sha256"] != sha256(folder / one):
            problem = "the box stays closed: the result is not what the hunt wrote"
            raise InputError(problem, file=folder / one, found="another digest than its record's", mend=again)
    _check_settings(plan, folder / _FROZEN[0], name, again)
    if changed := provenance.altered(folder / _FROZEN[0]):
        problem = "the box stays closed: what the result was made from has changed since"
        raise InputError(problem, file=folder / _FROZEN[0], found=changed[0], mend=again)


def _check_settings(plan: Plan, result: Path, name: str, again: str) -> None:
    """Refuse a result if it, or anything that it was made from, would be made with other settings now."""
    problem = "the box stays closed: the result is of other settings than the campaign's"
    made = {}
    for one in (found for file in _FROZEN for found in provenance.walk(result.with_name(file))[0]):
        made[os.path.relpath(one.output, plan.output)] = one
    for place, one in made.items():
        if differs := told.otherwise(plan, one, place):
            stage, keys = differs
            raise InputError(problem, file=one.output, key=f"{stage}: {', '.join(keys) or 'not asked for'}", mend=again)
    for shard in plan.converted([*plan.campaign.samples, f"boxes/{name}"]):
        if os.path.relpath(shard, plan.output) not in made:
            raise InputError(problem, file=result, found=f"nothing was made of {shard}", mend=again)


def _read(path: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """Return what has been opened so far, by seed and box: with another seed boxes of one name are others."""
    if not path.exists():
        return {}
    found, mend = read_json(path), "put back what unblind wrote"
    if not isinstance(found, dict) or not all(isinstance(boxes, dict) for boxes in found.values()):
        raise InputError("the file does not say what has been opened", file=path, mend=mend)
    for boxes in found.values():
        for name, one in boxes.items():
            if not isinstance(one, dict) or any(not isinstance(one.get(key), kind) for key, kind in _KEPT.items()):
                raise InputError("the file does not say what has been opened", file=path, key=name, mend=mend)
    record = record_path(path)
    entry = provenance.read(path) if record.exists() else None
    if entry is None or entry["output"]["sha256"] != sha256(path) or provenance.unsealed(entry):
        problem = "the file that says what has been opened is not what unblind wrote"
        raise InputError(
            problem, file=path, found="no file that its record speaks of", mend=f"{mend}, and {record.name}"
        )
    opened: dict[str, dict[str, dict[str, Any]]] = found
    return opened


def _write(plan: Plan, path: Path, opened: dict[str, dict[str, dict[str, Any]]]) -> None:
    """Write what has been opened, and the record of the results of all boxes of this seed, as they were scored."""
    write_json(path, opened)
    boxes = opened[str(plan.campaign.seed)]
    hunts = path.parent / "hunt"
    digests = {
        str(hunts / name / file): digest for name, one in boxes.items() for file, digest in one["result"].items()
    }
    spec = {"seed": plan.campaign.seed, "boxes": sorted(boxes)}
    provenance.record([path], stage="unblind", spec=spec, inputs=digests, digests=digests)


def _opened(plan: Plan, name: str, before: dict[str, Any] | None) -> dict[str, Any]:
    """Return the score of a box, and whether its result was there before it was opened first."""
    folder = Path(plan.output) / "hunt" / name
    hidden = answer.read(plan.files_of_box(name), plan.campaign.seed, name)
    result = read_json(folder / _FROZEN[0])
    found = score(result, folder / _FROZEN[1], read_json(folder.parent / "sensitivity.json"), hidden)
    digests = {one: sha256(folder / one) for one in _FROZEN}
    made = provenance.read(folder / _FROZEN[0])["made"]
    first = {"opened": provenance.now(), "frozen": digests} if before is None else before
    return {
        "opened": first["opened"],
        "frozen": first["frozen"],
        "result": digests,
        "result_made": made,
        "blind": digests == first["frozen"],
        **found,
    }


def _show(scored: dict[str, dict[str, Any]]) -> None:
    table = Table("box", "verdict", "mass, GeV", "true", "local", "global", "S, B", "after the cut", "improvement")
    for name, one in scored.items():
        found = one["found"]
        held = [f"{found[key]['signal']}, {found[key]['background']}" for key in ("before", "after")]
        blind = "" if one["blind"] else " (its result was made after the opening)"
        z = (f"{one['local_z']:.1f} σ", f"{one['global_z']:.1f} σ")
        table.add_row(name, one["verdict"] + blind, *_masses(one), *z, *held, _gain(one))
    Console(width=max(Console().width, _WIDTH)).print(table)


def _masses(one: dict[str, Any]) -> tuple[str, str]:
    mass = one.get("mass")
    found = together(mass["found"], mass["error"]) if mass and one["claimed"] else "-"
    return found, f"{one['true']['mass']:.0f}" if mass else "-"


def _gain(one: dict[str, Any]) -> str:
    """Return the largest significance improvement, beside what was expected."""
    if "improvement" not in one or "achieved" not in one["improvement"]["largest"]:
        return "-"
    largest = one["improvement"]["largest"]
    return f"{largest['achieved']:.1f} of {largest['expected_with_labels']:.1f} with labels"
