"""Whose rows are simulated and converted: the campaign's samples, and those that stand beside the training.

Each has a place below `simulate` and `convert`: `top`, `unfamiliar/odd`, `boxes/black`, `systematics/tune/other/top`.
What stands beside the training is joined in an index of its own; neither splits, scaler nor weights of the training are
made of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bunchtrain.config.samples import NO_CLASS, Box, Generate, Origin, Sample
from bunchtrain.config.simulate import Simulate, overridden
from bunchtrain.config.systematics import Variation, paired, variations
from bunchtrain.errors import CampaignError

if TYPE_CHECKING:
    from bunchtrain.config.campaign import Campaign


class Source(NamedTuple):
    """Rows of one kind.

    Attributes
    ----------
    key : str
        Where the campaign names them.
    name : str
        Of the sample: random numbers follow from it.
    origin : Origin
        Files, or what is generated.
    simulate : Simulate
        With which settings.
    classes : list of str
        Of the rows; none of those that are of no class.
    """

    key: str
    name: str
    origin: Origin | Box
    simulate: Simulate
    classes: list[str]

    def labels(self, classes: list[str]) -> dict[str, object]:
        """Return what the conversion is told of the label: a place in `classes`, or formulas with such places."""
        sample = self.origin
        if not isinstance(sample, Sample):
            return {"label": NO_CLASS}
        return {
            "label": None if sample.label is None else classes.index(sample.label),
            "labels": [(classes.index(name), formula) for name, formula in sample.labels.items()],
        }


def sources(campaign: Campaign, file: str | Path = "") -> dict[str, Source]:
    """Return all that is converted, by its place below `simulate` and `convert`.

    Raises
    ------
    CampaignError
        If settings of the simulation that a sample has for itself do not fit.
    """
    found = {
        name: Source(f"samples.{name}", name, sample, campaign.simulate, sample.classes)
        for name, sample in campaign.samples.items()
    }
    for name, one in campaign.unfamiliar.items():
        key = f"unfamiliar.{name}"
        if name in campaign.samples:
            problem, mend = "a sample and an unfamiliar one share a name, and so their random numbers", "rename one"
            raise CampaignError(problem, file=file, key=key, found=name, mend=mend)
        settings = overridden(campaign.simulate, one.simulate, f"{key}.simulate", file)
        found[f"unfamiliar/{name}"] = Source(key, name, one, settings, [])
    for name, box in campaign.boxes.items():
        if name in campaign.samples or name in campaign.unfamiliar:
            problem, mend = "a box has the name of a sample", "rename it"
            raise CampaignError(problem, file=file, key=f"boxes.{name}", found=name, mend=mend)
        found[f"boxes/{name}"] = Source(f"boxes.{name}", name, box, campaign.simulate, [])
    for variation in simulated(campaign):
        found |= _varied(campaign, variation, file)
    return found


def simulated(campaign: Campaign) -> list[Variation]:
    """Return the variations that have samples of their own."""
    return [one for one in variations(campaign) if not paired(one.kind.kind)]


def _varied(campaign: Campaign, variation: Variation, file: str | Path) -> dict[str, Source]:
    """Return the samples of a variation: with the names, and so the random numbers, of the campaign's own."""
    options, found = variation.checked(file), {}
    settings = overridden(campaign.simulate, options["simulate"], f"{variation.key}.simulate", file)
    for name, sample in campaign.samples.items():
        generate = sample.generate
        if generate is not None and options["shards"] is not None:
            generate = generate.model_copy(update={"shards": options["shards"]})
        origin = sample.model_copy(update={"generate": generate})
        found[f"{variation.folder}/{name}"] = Source(variation.key, name, origin, settings, sample.classes)
    return found


def beside(campaign: Campaign) -> dict[str, list[str]]:
    """Return what stands beside the training, by its folder: the places of what its index joins."""
    unfamiliar = {f"unfamiliar/{name}": [f"unfamiliar/{name}"] for name in campaign.unfamiliar}
    unfamiliar |= {f"boxes/{name}": [f"boxes/{name}"] for name in campaign.boxes}
    folders = [one.folder for one in simulated(campaign)]
    return unfamiliar | {folder: [f"{folder}/{name}" for name in campaign.samples] for folder in folders}


def generated(campaign: Campaign, file: str | Path = "") -> dict[str, tuple[Source, Generate | Box]]:
    """Return all that is generated, by its place."""
    found = sources(campaign, file)
    return {place: (one, one.origin.generate) for place, one in found.items() if one.origin.generate is not None}
