"""What a task asks of the samples: columns that a format maps, and a simulation that can hold what is looked for."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bunchtrain import registry
from bunchtrain.config import literals
from bunchtrain.config.barrel import Barrel
from bunchtrain.config.prepare import Graph
from bunchtrain.config.samples import OF_EVENTS, OF_PAIRS, OF_PROBES, OF_SHOWERS
from bunchtrain.errors import CampaignError

if TYPE_CHECKING:
    from bunchtrain.config.campaign import Campaign

#: Columns that every file of jets has; those of `events.layout`, which is too heavy to import where a DAG is parsed.
ALWAYS = {
    "jets": ("pt", "eta", "phi", "mass", "label", "weight", "run_number", "event_number", "file_id"),
    "constituents": ("px", "py", "pz", "energy"),
}


def check_asked(campaign: Campaign, file: str | Path) -> None:
    """Check that the samples can have what the task, and what it is told to see, asks for.

    Raises
    ------
    CampaignError
        Naming file, key, what was found and what would do.
    """
    _check_simulated(campaign, file)
    if campaign.task.kind == "tracking":
        _check_tracking(campaign, file)
    if registry.constant("convert.formats", campaign.convert.format.kind, "COLUMNS") == "mapped":
        _check_columns(campaign, file)


def _check_simulated(campaign: Campaign, file: str | Path) -> None:
    """Check that simulated samples hold what the task tells apart, and no section is there for nothing."""
    simulate = campaign.simulate
    processes = {one.generate.process for one in campaign.samples.values() if one.generate is not None}
    of_events, of_pairs = processes & set(OF_EVENTS), processes & set(OF_PAIRS)
    of_showers = processes & set(OF_SHOWERS)
    of_probes = processes & set(OF_PROBES)
    of_jets = processes - of_events - of_pairs - of_showers - of_probes
    for key in literals.needs(campaign.task.kind):
        if (of_jets or of_pairs) and not getattr(simulate, key):
            raise CampaignError(
                f"the samples are simulated without what the task {campaign.task.kind} looks for",
                file=file,
                key=f"simulate.{key}",
                found=getattr(simulate, key),
                expected=type(simulate).model_fields[key].description,
                mend=f"set simulate.{key}; a section takes its defaults with `{{}}`",
            )
    pairs = [*of_pairs, *campaign.boxes]
    told: list[tuple[str, Collection[str], str]] = [
        ("barrel", of_events, "collisions"),
        ("calorimeter", of_showers, "showers"),
        ("magnet", of_probes, "field"),
        ("tracks", of_jets, "processes that give jets"),
    ]
    for key, made, wanted in [*told, ("dijets", pairs, "dijets, dijet_resonance, or a box")]:
        if processes and not made and getattr(simulate, key) is not None:
            problem = "a section of the simulation has no sample that it would change"
            found = ", ".join(sorted(processes))
            raise CampaignError(problem, file=file, key=f"simulate.{key}", found=found, expected=f"one of {wanted}")


def _check_tracking(campaign: Campaign, file: str | Path) -> None:
    """Check that the particles that are sought can be found: in the layers that there are, by edges that are kept."""
    task, graph = campaign.task.checked("tasks", "task"), campaign.prepare.graph or Graph()
    if any(one.generate is not None for one in campaign.samples.values()):
        layers = len((campaign.simulate.barrel or Barrel()).radii)
        for key in ("min_hits", "shortest"):
            if task[key] > layers:
                problem = "no particle has as many hits: the detector has fewer layers"
                expected = f"at most {layers}, the layers of simulate.barrel.radii"
                raise CampaignError(problem, file=file, key=f"task.{key}", found=task[key], expected=expected)
    problem = "particles are sought whose edges the graphs leave out"
    if task["pt_min"] < graph.pt_min:
        expected = f"at least {graph.pt_min:g} GeV, as prepare.graph.pt_min says"
        raise CampaignError(problem, file=file, key="task.pt_min", found=f"{task['pt_min']:g} GeV", expected=expected)
    if task["eta_max"] > graph.eta_max:
        expected = f"at most {graph.eta_max:g}, as prepare.graph.eta_max says"
        raise CampaignError(problem, file=file, key="task.eta_max", found=task["eta_max"], expected=expected)


def _check_columns(campaign: Campaign, file: str | Path) -> None:
    """Check the columns that are named against those that the campaign maps or derives: the format has no others."""
    mapped: Mapping[str, Any] = campaign.convert.format.options().get("columns") or {}
    derived: Mapping[Any, Any] = campaign.convert.derive
    for axis, key, name in _named(campaign):
        had = {*ALWAYS[axis], *mapped.get(axis, {}), *derived.get(axis, {})}
        if name not in had:
            raise CampaignError(
                f"there is no such column of {axis}",
                file=file,
                key=key,
                found=name,
                choices=sorted(had),
                mend="map it under convert.format.columns, or make it under convert.derive",
            )


def _named(campaign: Campaign) -> Iterator[tuple[str, str, str]]:
    """Yield axis, key and name of each column that must be there."""
    kind, task = campaign.task.kind, campaign.task.checked("tasks", "task")
    yield from (("constituents", "prepare.inputs", name) for name in campaign.prepare.inputs)
    yield from (("jets", "prepare.variables", name) for name in campaign.prepare.variables)
    yield from (("jets", "task.variables", name) for name in task.get("variables", ()))
    secret = [key for key in literals.secret(kind) if key not in literals.truth(kind)]
    yield from (("jets", f"task.{key}", task[key]) for key in secret)
    yield from (("jets", f"task.{key}", task[key]) for key in ("mass",) if key in task)
    alone: dict[str, Any] = literals.alone(kind)
    if not alone or any(task[key] != value for key, value in alone.items()):
        yield from (("constituents", f"task.{key}", task[key]) for key in literals.truth(kind))
