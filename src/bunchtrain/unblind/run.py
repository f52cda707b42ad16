"""Open black boxes, once what was found in them stands, and score it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bunchtrain import provenance
from bunchtrain.config.campaign import load_campaign
from bunchtrain.dag import Plan
from bunchtrain.errors import CampaignError, InputError
from bunchtrain.files import read_json, sha256, write_json
from bunchtrain.rounding import together
from bunchtrain.unblind import answer
from bunchtrain.unblind.score import score

#: What is written, beside the results.
FILE = "unblinded.json"

#: Columns of the table at least: a verdict is one line.
_WIDTH = 150

#: What is frozen when a box is opened.
_FROZEN = ("result.json", "scores.h5")


def unblind(file: Path, box: str | None = None) -> None:
    """Open the boxes of a campaign, or one of them; print and keep what was hidden beside what was found.

    The digests of the results against which a box is opened first are kept in `unblinded.json`: one that is made
    afterwards is scored too, and called so.

    Raises
    ------
    BunchtrainError
        If a result does not stand yet, is not what its record says, or a seal does not open.
    """
    plan = Plan(load_campaign(file).model_dump(mode="json", exclude_none=True), file)
    boxes = _chosen(plan, file, box)
    for name in boxes:
        _check(plan, file, name)
    output = Path(plan.output)
    kept, told = _read(output / FILE), {}
    for name in boxes:
        told[name] = _opened(plan, name, kept.get(name))
        write_json(output / FILE, kept | told)  # box by box: what was opened is known to have been
    provenance.record(
        [output / FILE],
        stage="unblind",
        spec={"seed": plan.campaign.seed, "boxes": sorted(kept | told)},
        inputs=[output / "hunt" / name / one for name in boxes for one in _FROZEN],
    )
    _show(told)
    print(f"[unblind] {output / FILE}", flush=True)


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
    if _as_text(record["spec"]) != plan.spec("hunt", box=name):
        problem = "the box stays closed: the result is of other settings than the campaign's"
        raise InputError(problem, file=folder / _FROZEN[0], mend=again)
    if changed := provenance.altered(folder / _FROZEN[0]):
        problem = "the box stays closed: what the result was made from has changed since"
        raise InputError(problem, file=folder / _FROZEN[0], found=changed[0], mend=again)


def _as_text(spec: dict[str, Any]) -> str:
    return json.dumps(spec, sort_keys=True, separators=(",", ":"))


def _read(path: Path) -> dict[str, Any]:
    """Return what has been opened so far."""
    if not path.exists():
        return {}
    found = read_json(path)
    if not isinstance(found, dict) or not all(isinstance(one, dict) and "frozen" in one for one in found.values()):
        raise InputError("the file does not say what has been opened", file=path, mend="put back what unblind wrote")
    return found


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


def _show(told: dict[str, dict[str, Any]]) -> None:
    table = Table("box", "verdict", "mass, GeV", "true", "local", "global", "S, B", "after the cut", "improvement")
    for name, one in told.items():
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
