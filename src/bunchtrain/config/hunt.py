"""Section `hunt`: how black boxes are searched."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, field_validator, model_validator

from bunchtrain.config.base import Positive, Section
from bunchtrain.config.dijets import HIDDEN, WINDOW, Dijets
from bunchtrain.errors import CampaignError

if TYPE_CHECKING:
    from bunchtrain.config.campaign import Campaign

Width = Annotated[float, Field(gt=0, le=1)]
Bin = Annotated[float, Field(ge=0.001, le=1)]
Cut = Annotated[float, Field(gt=0, lt=1)]

#: Where a spectrum begins, in units of the lowest mass of the boxes: nearer to that, jets that lose or gain energy
#: are missing from one side, and a cut on their masses has an edge there.
_BEGINS = 1.06

#: Columns of jets that every file has.
_ALWAYS = ("pt", "eta", "phi", "mass")


#: Bins that a spectrum has at least.
_FEWEST = 8


def bins(low: float, high: float, width: float) -> int:
    """Return how many bins a spectrum from `low` to `high` has, about `width` wide in the logarithm."""
    return max(_FEWEST, round(math.log(high / low) / width))


class Hunt(Section):
    """Windows of the dijet mass, classifiers that tell a window from its neighbours, cuts, and the bump hunt."""

    mass: str = Field("dijet_mass", description="column of jets whose bump is sought, GeV")
    features: list[str] = Field(
        ["mass", "second_mass", "tau21", "second_tau21"],
        min_length=1,
        description="columns of jets that the classifiers see",
    )
    scaled: list[str] = Field(
        ["mass", "second_mass"], description="those of them that are divided by the dijet mass, which they grow with"
    )
    low: float | None = Field(None, gt=0, description="where the spectrum begins, GeV; null: above where boxes do")
    high: float | None = Field(None, gt=0, description="where it ends, GeV; null: simulate.dijets.mass_max")
    bin: Bin = Field(0.02, description="width of its bins, in the logarithm")
    window: Width = Field(0.18, description="width of a window, in the logarithm")
    step: Width = Field(0.06, description="from one window to the next, in the logarithm")
    fewest: Positive = Field(200, description="events that a window and either side of it hold at least")
    cuts: list[Cut] = Field(
        [0.1, 0.03, 0.01, 0.003], min_length=1, max_length=20, description="shares of the events that a cut keeps"
    )
    folds: int = Field(5, ge=2, le=20, description="no event is judged by a classifier that has seen it")
    ensemble: Positive = Field(3, description="classifiers whose mean judges, of each fold")
    trees: Positive = Field(60, description="boosted trees of a classifier")
    leaves: int = Field(16, ge=2, le=256, description="leaves of a tree")
    pseudo_experiments: int = Field(1000, ge=50, le=1_000_000, description="of no signal, for the global p-value")
    claim: float = Field(3.0, gt=0, description="global significance from which a resonance is claimed")

    @field_validator("cuts")
    @classmethod
    def _falling(cls, cuts: list[float]) -> list[float]:
        if sorted(set(cuts), reverse=True) != cuts:
            raise ValueError("give the shares from the largest to the smallest, each once")
        return cuts

    @model_validator(mode="after")
    def _possible(self) -> Hunt:
        if self.step > self.window:
            raise ValueError("step is larger than window: what lies between two windows would not be searched")
        if self.bin > self.window / 3:
            raise ValueError("a window has less than three bins: lower bin")
        if strange := set(self.scaled) - set(self.features):
            raise ValueError(f"scaled names {min(strange)}, which is none of the features")
        if self.mass in self.features:
            raise ValueError(f"the classifiers would see {self.mass}, whose bump is sought")
        if self.low is not None and self.high is not None and self.high <= self.low:
            raise ValueError("high must exceed low")
        return self


def hunted(campaign: Campaign) -> Hunt:
    """Return how boxes are searched, with the range of masses that boxes have where none is given."""
    settings, (low, high) = campaign.hunt, _range(campaign)
    return settings.model_copy(update={"low": low, "high": high})


def _range(campaign: Campaign) -> tuple[float, float]:
    pairs = campaign.simulate.dijets or Dijets()
    return campaign.hunt.low or round(_BEGINS * pairs.mass_min, 3), campaign.hunt.high or pairs.mass_max


def check_hunt(campaign: Campaign, file: str | Path) -> None:
    """Check that boxes can be searched: labelled samples to learn from, and columns to look at.

    Raises
    ------
    CampaignError
        Naming file, key, what was found and what would do.
    """
    if not campaign.boxes:
        if campaign.hunt != Hunt():
            problem, mend = "there is a hunt, and no box to search", "name one under `boxes`, or take the section out"
            raise CampaignError(problem, file=file, key="hunt", mend=mend)
        return
    if campaign.task.kind != "jet_tagging":
        problem = "a hunt learns from labelled samples what it can find, and the task has no labels of signal"
        expected = "jet_tagging, with `signal` and `background`"
        raise CampaignError(problem, file=file, key="task.kind", found=campaign.task.kind, expected=expected)
    pairs, (low, high) = campaign.simulate.dijets or Dijets(), _range(campaign)
    if not pairs.mass_min <= low < high <= pairs.mass_max:
        raise CampaignError(
            "boxes are not made in all of the range that is searched",
            file=file,
            key="hunt.low",
            found=f"{low:g} to {high:g} GeV",
            expected=f"within {pairs.mass_min:g} to {pairs.mass_max:g} GeV, as simulate.dijets says",
        )
    _check_masses(campaign, file, pairs)
    _check_range(campaign, file, low, high)
    _check_columns(campaign, file)


def _check_masses(campaign: Campaign, file: str | Path, pairs: Dijets) -> None:
    """Check that what boxes may hide, and its window, has room in them."""
    highest = HIDDEN[1] * WINDOW[1] * pairs.mass_min
    if pairs.mass_max < highest:
        raise CampaignError(
            "a resonance that a box may hide would lie above the masses that boxes have",
            file=file,
            key="simulate.dijets.mass_max",
            found=f"{pairs.mass_max:g} GeV, with mass_min {pairs.mass_min:g} GeV",
            expected=f"at least {math.ceil(highest):g} GeV, {HIDDEN[1] * WINDOW[1]:.3f} of mass_min",
            mend="raise mass_max, or lower mass_min",
        )


def _check_range(campaign: Campaign, file: str | Path, low: float, high: float) -> None:
    """Check that the range has room for a window and both neighbours, and holds the labelled signal."""
    settings, energy = campaign.hunt, campaign.simulate.collision_energy
    count = bins(low, high, settings.bin)
    room = math.log(high / low)
    if 3 * round(settings.window * count / room) > count:
        raise CampaignError(
            "no window has a neighbour on either side in the range that is searched",
            file=file,
            key="hunt.window",
            found=f"{settings.window:g}, in a range of {room:.2g} in the logarithm, {low:g} to {high:g} GeV",
            expected="a third of the range at most",
            mend="widen hunt.low to hunt.high, or lower hunt.window, hunt.step and hunt.bin",
        )
    if high >= energy:
        raise CampaignError(
            "the spectrum reaches the energy of the collisions",
            file=file,
            key="hunt.high" if campaign.hunt.high else "simulate.dijets.mass_max",
            found=f"{high:g} GeV",
            expected=f"below simulate.collision_energy, which is {energy:g} GeV",
        )
    resonance = (campaign.simulate.dijets or Dijets()).resonance
    made = any(one.generate and one.generate.process == "dijet_resonance" for one in campaign.samples.values())
    if made and not low < resonance < high:
        raise CampaignError(
            "the labelled signal lies outside the range that is searched",
            file=file,
            key="simulate.dijets.resonance",
            found=f"{resonance:g} GeV",
            expected=f"between {low:g} and {high:g} GeV, where the hunt looks",
        )


def _check_columns(campaign: Campaign, file: str | Path) -> None:
    options = campaign.convert.format.checked("convert.formats", "convert.format")
    known = {*_ALWAYS, *options.get("columns", {}).get("jets", {}), *campaign.convert.derive.get("jets", {})}
    for key, names in (("mass", [campaign.hunt.mass]), ("features", campaign.hunt.features)):
        for name in names:
            if name not in known:
                raise CampaignError(
                    "the hunt looks at a column that is not converted",
                    file=file,
                    key=f"hunt.{key}",
                    found=name,
                    choices=known,
                    mend=f"add it to convert.format.columns.jets, such as `{name}: {{branch: {name}}}`",
                )
