"""What a surrogate asks of a campaign: parameters to start from, quantities to answer with, physics that fits both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bunchtrain import registry
from bunchtrain.config import literals
from bunchtrain.config.objectives import NAMES, OF_CLASSES
from bunchtrain.config.physics import Physics
from bunchtrain.errors import CampaignError

if TYPE_CHECKING:
    from bunchtrain.config.campaign import Campaign

#: Columns that every row has.
_ALWAYS = ("label", "weight", "run_number", "event_number", "file_id")

#: Columns of items that a format gives by itself.
_OF_ITEMS = {"showers": ("layer", "row", "column", "index"), "responses": ("index",)}


def surrogate(campaign: Campaign) -> bool:
    """Return whether the task maps parameters to quantities."""
    return literals.answers("tasks", campaign.task.kind) == "response"


def check_surrogate(campaign: Campaign, file: str | Path) -> None:
    """Check that a surrogate has what it starts from, and that other tasks are not told what is for surrogates alone.

    Raises
    ------
    CampaignError
        Naming file, key, what was found and what would do.
    """
    if not surrogate(campaign):
        _refuse_idle(campaign, file)
        return
    rows = literals.rows("tasks", campaign.task.kind)
    campaign.prepare.refuse_keys_of_jets(file, rows)
    if not campaign.prepare.parameters:
        problem, mend = "a surrogate has nothing to start from", "name columns, e.g. `{energy: log, x: linear}`"
        raise CampaignError(problem, file=file, key="prepare.parameters", found="none", mend=mend)
    _check_columns(campaign, rows, file)
    _check_sections(campaign, file)
    _check_flow(campaign, file)
    physics, parameters = campaign.physics or Physics(), campaign.prepare.parameters
    check_field(physics, campaign.model.kind, parameters, None, file)
    if campaign.baseline is not None:
        check_field(physics.loose, campaign.baseline.kind, parameters, None, file)


def check_field(
    physics: Physics, model: str, parameters: Mapping[str, str], quantities: int | None, file: str | Path
) -> None:
    """Check that the network can keep Maxwell's equations as declared, and that there are places and a field.

    Parameters
    ----------
    physics : Physics
    model : str
        Kind of the network.
    parameters : mapping
        How each parameter is scaled.
    quantities : int, optional
        How many there are, where that is known.
    file : path
        Where these are from.

    Raises
    ------
    CampaignError
        Naming the key, and what would do.
    """
    how, can = physics.maxwell, literals.maxwell(model)
    if how not in can:
        kinds = [kind for kind in registry.kinds("models") if literals.answers("models", kind) == "response"]
        fit = [kind for kind in kinds if how in literals.maxwell(kind)]
        raise CampaignError(
            f"the network {model} cannot keep Maxwell's equations in this way",
            file=file,
            key="physics.maxwell",
            found=how,
            expected=" or ".join(can),
            mend=f"set it so, or model.kind to a network that can: {', '.join(fit)}",
        )
    if how == "none":
        return
    if len(parameters) != 3 or set(parameters.values()) != {"linear"}:
        problem, found = "the parameters of a field are a place, and nothing else", dict(parameters)
        expected = "three columns along axes at right angles, all `linear` and in one unit: {x: linear, ...}"
        raise CampaignError(problem, file=file, key="prepare.parameters", found=found, expected=expected)
    if quantities not in (None, 3):
        problem, mend = (
            "a field has three components, along its parameters' axes",
            "see convert.format.quantities",
        )
        raise CampaignError(problem, file=file, key="quantities", found=quantities, expected=3, mend=mend)


def _refuse_idle(campaign: Campaign, file: str | Path) -> None:
    idle = {"physics": campaign.physics}
    idle |= {f"prepare.{key}": getattr(campaign.prepare, key) for key in ("parameters", "quantities")}
    for key, value in idle.items():
        if value:
            problem = f"this is for surrogates, and the task {campaign.task.kind} is none"
            raise CampaignError(problem, file=file, key=key, mend="take it out, or take a task such as calorimeter")


def _check_columns(campaign: Campaign, rows: str, file: str | Path) -> None:
    options = campaign.convert.format.checked("convert.formats", "convert.format")
    mapped: Mapping[str, Any] = options.get("columns") or {}
    derived: Mapping[Any, Any] = campaign.convert.derive
    items = {"showers": "cells", "responses": "quantities"}[rows]
    known = {
        rows: [*_ALWAYS, *mapped.get(rows, {}), *derived.get(rows, {})],
        items: [*_OF_ITEMS[rows], *mapped.get(items, {}), *derived.get(items, {})],
    }
    for axis, key, name in _named(campaign, rows, items):
        if name not in known[axis]:
            raise CampaignError(
                f"there is no such column of {axis}",
                file=file,
                key=key,
                found=name,
                choices=known[axis],
                mend="map it under convert.format.columns, or make it under convert.derive",
            )


def _named(campaign: Campaign, rows: str, items: str) -> Iterator[tuple[str, str, str]]:
    """Yield axis, key and name of each column that must be there."""
    prepare, physics = campaign.prepare, campaign.physics or Physics()
    task = campaign.task.checked("tasks", "task")
    yield from ((rows, "prepare.parameters", name) for name in prepare.parameters)
    yield from ((rows, "prepare.quantities", name) for name in prepare.quantities)
    yield from ((rows, f"task.{key}", task[key]) for key in literals.columns(campaign.task.kind) if task[key])
    if physics.total:
        yield rows, "physics.total", physics.total
    if physics.groups:
        yield items, "physics.groups", physics.groups


def _check_sections(campaign: Campaign, file: str | Path) -> None:
    """Check that a surrogate is not asked for what follows from classes alone."""
    for key in ("unfamiliar", "systematics", "synthesize"):
        if getattr(campaign, key) != type(campaign).model_fields[key].get_default(call_default_factory=True):
            problem, mend = f"the task {campaign.task.kind} tells no classes apart", "take the section out"
            raise CampaignError(f"{problem}, on which this rests", file=file, key=key, mend=mend)
    for name in campaign.scan.objectives if campaign.scan.trials else ():
        if name in OF_CLASSES:
            problem = f"the task {campaign.task.kind} tells no classes apart, on which an objective rests"
            fit = [one for one in NAMES if one not in OF_CLASSES]
            raise CampaignError(problem, file=file, key="scan.objective", found=name, choices=fit)


def _check_flow(campaign: Campaign, file: str | Path) -> None:
    physics = campaign.physics or Physics()
    if campaign.model.kind == "flow" and physics.groups and physics.positive != "construction":
        problem, mend = "a flow of groups shares out what is positive", "set it so, or leave physics.groups out"
        found, expected = physics.positive, "construction"
        raise CampaignError(problem, file=file, key="physics.positive", found=found, expected=expected, mend=mend)
