"""What tasks without labels, and tasks without classes, may be asked: checked before any work starts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bunchtrain.config import literals
from bunchtrain.config.objectives import NAMES, OF_CLASSES
from bunchtrain.errors import CampaignError

if TYPE_CHECKING:
    from bunchtrain.config.campaign import Campaign

#: What the jets learned from are called beside samples of other kinds.
BACKGROUND = "background"

#: Columns of jets that follow from what every network sees, unless it sees named columns alone.
_SEEN = ("mass", "pt")

#: Options of tasks that name columns of jets.
_NAMED = ("column", "mass", "variables")

#: The class of a jet, as a column.
_LABEL = "label"


def check_anomalies(campaign: Campaign, file: str | Path) -> None:
    """Check that no label steers what learns without, and that samples and sizes fit to what has no classes.

    Raises
    ------
    CampaignError
        Naming file, key, what was found and what would do.
    """
    unlabelled, latent = literals.unlabelled(campaign.task.kind), literals.answers("tasks", campaign.task.kind)
    if unlabelled:
        _check_objectives(campaign, file)
        _check_column(campaign, file)
        _check_core(campaign, file)
    if latent == "latent":
        _check_names(campaign, file)
    if unlabelled or latent == "latent":
        _check_labels(campaign, file)
    _check_constituents(campaign, file)


def _check_objectives(campaign: Campaign, file: str | Path) -> None:
    """Refuse objectives that rest on labels: values of the scan would be chosen by them, or a student taught."""
    for name in campaign.scan.objectives:
        if campaign.scan.trials and name in OF_CLASSES:
            raise CampaignError(
                f"the task {campaign.task.kind} learns without labels, on which an objective rests",
                file=file,
                key="scan.objective",
                found=name,
                choices=[one for one in NAMES if one not in OF_CLASSES],
            )


def _check_column(campaign: Campaign, file: str | Path) -> None:
    """Refuse a column that the network sees without being told: it would learn the regions by that."""
    column = campaign.task.checked("tasks", "task").get("column")
    if column not in _SEEN or not _sees_jets(campaign):
        return
    raise CampaignError(
        "the network would see the column that its regions are cut from",
        file=file,
        key="task.column",
        found=f"{column}, which the network sees of every jet",
        mend="take another column, or a network that sees named columns alone: model: {kind: dense, globals: false}",
    )


def _sees_jets(campaign: Campaign) -> bool:
    """Whether a network sees more of a jet than columns that are named, for one value of the scan at least."""
    scanned = campaign.scan.trials and "model.globals" in campaign.scan.space
    networks = [campaign.model, *([campaign.baseline] if campaign.baseline else [])]
    return bool(scanned) or any(one.checked("models", "model").get("globals", True) for one in networks)


def _check_core(campaign: Campaign, file: str | Path) -> None:
    """Refuse settings of a core: there is none, for its student learns with labels."""
    if campaign.synthesize != type(campaign.synthesize)():
        problem = f"the student of a core learns with labels, and the task {campaign.task.kind} without"
        raise CampaignError(
            problem, file=file, key="synthesize", mend="take the section out: the chain ends in its page"
        )


def _check_labels(campaign: Campaign, file: str | Path) -> None:
    """Refuse labels where a task names columns."""
    for key, name in _columns(campaign):
        if name == _LABEL:
            problem, mend = "the label of a jet is no column to look at", "name another column"
            raise CampaignError(problem, file=file, key=f"task.{key}", found=name, mend=mend)


def _columns(campaign: Campaign) -> Iterator[tuple[str, str]]:
    options = campaign.task.checked("tasks", "task")
    for key in _NAMED:
        names = options.get(key) or []
        yield from ((key, name) for name in ([names] if isinstance(names, str) else names))


def _check_names(campaign: Campaign, file: str | Path) -> None:
    for name in campaign.unfamiliar:
        refuse_name(name, key=f"unfamiliar.{name}", file=file)


def refuse_name(name: str, *, key: str, file: str | Path | None = None) -> None:
    """Refuse a hidden signal that is called what the jets learned from are called.

    Raises
    ------
    CampaignError
        With `key`, and `file`.
    """
    if name == BACKGROUND:
        problem, mend = "a sample has the name of what it is judged beside", "give it another name"
        raise CampaignError(problem, file=file, key=key, found=name, mend=mend)


def _check_constituents(campaign: Campaign, file: str | Path) -> None:
    """Refuse a network of more constituents than the prepared jets keep."""
    kept, asked = campaign.prepare.constituents, campaign.model.checked("models", "model").get("constituents")
    if asked is not None and asked > kept:
        raise CampaignError(
            "the network sees more constituents than the prepared jets keep",
            file=file,
            key="model.constituents",
            found=asked,
            expected=f"at most {kept}, which prepare.constituents says",
        )
