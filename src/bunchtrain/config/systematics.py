"""Section `systematics`: sources of uncertainty, each with the variations that stand for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bunchtrain import registry
from bunchtrain.config import literals
from bunchtrain.config.base import Kind
from bunchtrain.config.explain import checked_kind
from bunchtrain.errors import CampaignError

if TYPE_CHECKING:
    from bunchtrain.config.campaign import Campaign

#: Kinds of variations.
FAMILY = "events.variations"


class Variation(NamedTuple):
    """One variation of one source, and where it stands in the campaign and among the results."""

    source: str
    name: str
    kind: Kind

    @property
    def key(self) -> str:
        """Where the campaign names it."""
        return f"systematics.{self.source}.{self.name}"

    @property
    def folder(self) -> str:
        """Where its results are, below those of the campaign."""
        return f"systematics/{self.source}/{self.name}"

    def checked(self, file: str | Path = "") -> dict[str, Any]:
        """Return kind and options with the defaults filled in."""
        return checked_kind(self.kind, FAMILY, self.key, file)


def variations(campaign: Campaign) -> Iterator[Variation]:
    """Yield all variations of a campaign by their names: in which order the campaign has them changes nothing."""
    for source, several in sorted(campaign.systematics.items()):
        yield from (Variation(source, name, kind) for name, kind in sorted(several.items()))


def paired(kind: str) -> bool:
    """Return whether a kind varies the very jets of the test split; else it has samples of its own."""
    return bool(registry.constant(FAMILY, kind, "PAIRED"))


def check_systematics(campaign: Campaign, file: str | Path) -> None:
    """Check that each variation can be made of the campaign's samples.

    Raises
    ------
    CampaignError
        Naming file, key, what was found and what would do.
    """
    for source, several in campaign.systematics.items():
        if not several:
            problem, expected = "a source has no variations", "at least one: `{up: {kind: energy_scale, factor: 1.02}}`"
            raise CampaignError(problem, file=file, key=f"systematics.{source}", found="none", expected=expected)
    for one in variations(campaign):
        options = one.checked(file)
        if literals.rows("tasks", campaign.task.kind) == "events":
            problem, mend = "variations change what is seen of jets, and the rows are events", "take the section out"
            raise CampaignError(problem, file=file, key=one.key, found=one.kind.kind, mend=mend)
        _check_columns(campaign, one, options, file)
        if not paired(one.kind.kind):
            _check_generated(campaign, one, file)
    for number, source in enumerate(campaign.train.vary):
        if source in campaign.train.vary[:number]:
            raise CampaignError(
                "a source is named twice", file=file, key="train.vary", found=source, mend="once will do"
            )
        _check_trained(campaign, source, file)


def _check_trained(campaign: Campaign, source: str, file: str | Path) -> None:
    """Check that a source that is trained on varies the nominal jets."""
    if source not in campaign.systematics:
        problem, choices = "the training names a source that there is not", campaign.systematics
        raise CampaignError(problem, file=file, key="train.vary", found=source, choices=choices)
    for name, kind in campaign.systematics[source].items():
        if not paired(kind.kind):
            raise CampaignError(
                "a training sees variations of its own jets, and this one has other jets",
                file=file,
                key="train.vary",
                found=f"{source}, whose variation {name} is of kind {kind.kind}",
                mend="take the source out of train.vary",
            )


def _check_columns(campaign: Campaign, one: Variation, options: Mapping[str, Any], file: str | Path) -> None:
    """Check the names that a variation gives: of a variation of the conversion, of a column of constituents."""
    if one.kind.kind == "columns" and options["variation"] not in campaign.convert.systematics:
        raise CampaignError(
            "the conversion has no such variation",
            file=file,
            key=f"{one.key}.variation",
            found=options["variation"],
            choices=campaign.convert.systematics,
            mend="define it under convert.systematics",
        )
    mapped = registry.constant("convert.formats", campaign.convert.format.kind, "COLUMNS") == "mapped"
    if one.kind.kind != "efficiency" or options["column"] is None or not mapped:
        return
    columns: Mapping[str, Any] = campaign.convert.format.options().get("columns") or {}
    derived: Mapping[Any, Any] = campaign.convert.derive
    known = {*columns.get("constituents", {}), *derived.get("constituents", {})}
    if options["column"] not in known:
        raise CampaignError(
            "there is no such column of constituents",
            file=file,
            key=f"{one.key}.column",
            found=options["column"],
            choices=known,
            mend="map it under convert.format.columns, or make it under convert.derive",
        )


def _check_generated(campaign: Campaign, one: Variation, file: str | Path) -> None:
    for name, sample in campaign.samples.items():
        if sample.generate is None:
            raise CampaignError(
                "another simulation needs samples that are simulated, and one has files",
                file=file,
                key=one.key,
                found=f"samples.{name}.files",
                mend="take another kind of variation, or give the files of the variation a campaign of their own",
            )
