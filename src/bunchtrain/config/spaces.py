"""Whether the spaces of the searches fit: that of the scan, and that of the search for students."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from bunchtrain import registry
from bunchtrain.config import points
from bunchtrain.config.candidates import own_value, varied
from bunchtrain.config.combinations import check_combinations, described, lies_in
from bunchtrain.config.explain import explain
from bunchtrain.config.scan import Dimension, Trials
from bunchtrain.config.synthesize import Student
from bunchtrain.config.train import Train
from bunchtrain.errors import CampaignError

if TYPE_CHECKING:
    from bunchtrain.config.campaign import Campaign

#: Keys that a scan cannot vary, with the reason.
_FIXED = {
    "train.epochs": "every evaluation takes scan.epochs",
    "train.patience": "every evaluation runs all of scan.epochs",
    "train.max_jets": "every evaluation takes scan.max_jets",
    "train.ranks": "every evaluation has scan.ranks",
    "train.backend": "it has no say in what a training comes to",
    "train.seeds": "every evaluation is one training",
}


#: Combinations of ends that are looked at; few spaces have more.
_MOST_TOGETHER = 2000

SPACE = "synthesize.search.space"


def check_spaces(campaign: Campaign, file: str | Path) -> None:
    """Check that what is to be varied can be, and that the campaign's own values are among those looked at.

    Raises
    ------
    CampaignError
        Naming the dimension.
    """
    for name, dimension in campaign.scan.space.items():
        _check_dimension(campaign, name, dimension, file)
    own = {name: _own_value(campaign, name) for name in campaign.scan.space}
    if campaign.scan.trials:
        for name, value in points.active(campaign.scan.space, own).items():
            _check_own_value(value, name, campaign.scan.space[name], f"scan.space.{name}", file)
    check_combinations(campaign.scan, own, "scan", file)
    _check_together(campaign.synthesize.student, campaign.scan, file, "scan.space.student", "student.")
    search = campaign.synthesize.search
    if search is None:
        return
    for name, student in searched(campaign, file):
        value = own_value(student, name)
        if not lies_in(value, search.space[name]):
            raise CampaignError("a value does not fit", file=file, key=f"{SPACE}.{name}", expected=_kind_of(value))
    own = {name: own_value(campaign.synthesize.student, name) for name in search.space}
    for name, value in points.active(search.space, own).items():
        _check_own_value(value, f"synthesize.student.{name}", search.space[name], f"{SPACE}.{name}", file)
    check_combinations(search, own, "synthesize.search", file)
    _check_together(campaign.synthesize.student, search, file, SPACE)


def _check_together(student: Student, settings: Trials, file: str | Path, where: str, prefix: str = "") -> None:
    """Check that the student's dimensions go together: whatever stands in one, the values of the others must fit."""
    space = {name: one for name, one in settings.space.items() if name.startswith(prefix)}
    for values in itertools.islice(itertools.product(*(points.ends(one) for one in space.values())), _MOST_TOGETHER):
        point = dict(zip(space, values, strict=True))
        if space and not points.forbidden(settings, point):
            counting = points.active(settings.space, point)
            varied(student, {name.removeprefix(prefix): value for name, value in counting.items()}, file, where)


def _kind_of(value: Any) -> str:
    kinds = ((bool, "true or false"), (int, "whole numbers"), (float, "numbers"), (str, "words"))
    return next((f"{name}, as in {value}" for kind, name in kinds if isinstance(value, kind)), "another key")


def searched(campaign: Campaign, file: str | Path) -> Iterator[tuple[str, Student]]:
    """Yield students at the ends of every dimension of the search, with the dimension's name.

    Raises
    ------
    CampaignError
        If a student has no such key, or does not take such a value.
    """
    search = campaign.synthesize.search
    for name, dimension in search.space.items() if search else ():
        for value in points.ends(dimension):
            yield name, varied(campaign.synthesize.student, {name: value}, file, SPACE)


def _check_dimension(campaign: Campaign, name: str, dimension: Dimension, file: str | Path) -> None:
    """Check that a dimension is a key that a scan can vary, and that the key takes the dimension's values."""
    if name.startswith("student."):
        return  # see `scanned`
    model = registry.declared("models", campaign.model.kind)
    keys = [*(f"model.{key}" for key in model.model_fields), *(f"train.{key}" for key in Train.model_fields)]
    known = [name for name in keys if name not in _FIXED]
    key = f"scan.space.{name}"
    if name in _FIXED:
        expected = f"another key: {_FIXED[name]}, so this one would change nothing"
        raise CampaignError("the scan cannot vary this key", file=file, key=key, found=name, expected=expected)
    if name not in known:
        raise CampaignError("the scan varies a key that does not exist", file=file, key=key, found=name, choices=known)
    head, _, tail = name.partition(".")
    for value in points.ends(dimension):
        try:
            if head == "model":
                model.model_validate({**campaign.model.options(), tail: value})
            else:
                Train.model_validate({**campaign.train.model_dump(), tail: value})
        except ValidationError as error:
            raise explain(error, file, model, key) from None


def _own_value(campaign: Campaign, name: str) -> Any:
    """Return the campaign's own value of a dimension of the scan."""
    head, _, tail = name.partition(".")
    if head == "student":
        return own_value(campaign.synthesize.student, tail)
    section = campaign.model.checked("models", "model") if head == "model" else campaign.train.model_dump()
    return section[tail]


def _check_own_value(value: Any, key: str, dimension: Dimension, space: str, file: str | Path) -> None:
    """Check that the campaign's own value, which a search evaluates first, lies in the dimension."""
    if lies_in(value, dimension):
        return
    raise CampaignError(
        "the search starts from the campaign's own value, which its space does not hold",
        file=file,
        key=key,
        found=value,
        expected=f"{described(dimension)}, as {space} says",
        mend=f"change {key}, or widen the space",
    )
