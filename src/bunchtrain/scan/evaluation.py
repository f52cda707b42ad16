"""What a search evaluates, and how: processes of its own for every point of the space."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from bunchtrain.config.scan import Trials
from bunchtrain.errors import CampaignError
from bunchtrain.scan import machine, process
from bunchtrain.scan.journal import Trial
from bunchtrain.scan.slots import Slot
from bunchtrain.scan.space import Values

#: What an evaluation says, in its folder.
LOG = "train.log"

#: Larger is better; a list has a number for every objective; a text is the reason of a failure, `F_...`.
Result = float | list[float] | str


class Asked(NamedTuple):
    """One evaluation that is asked for; `known` are the earlier ones on which it may rest."""

    number: int
    values: Values
    folder: Path
    known: Sequence[Trial] = ()


class Evaluation(Protocol):
    """What a search evaluates."""

    @property
    def settings(self) -> Trials:
        """Space, number of evaluations, and how many run at the same time."""

    @property
    def seed(self) -> int:
        """What the suggestions follow from, beside the results."""

    def own(self) -> Values:
        """Return the campaign's own values of the dimensions: the first evaluation."""

    def steps(self, asked: Asked, slot: Slot) -> list[list[str]]:
        """Return the commands that evaluate, one after the other."""

    def result(self, folder: Path) -> tuple[Result, dict[str, Any]]:
        """Return the result of a finished evaluation, and facts for the record."""

    def told(self, facts: Mapping[str, Any]) -> str:
        """Return a result in words, from its facts."""


def evaluate(evaluation: Evaluation, asked: Asked, slot: Slot) -> tuple[Result, dict[str, Any]]:
    """Evaluate what is asked in a slot; return the result, and facts for the record."""
    place = {"slot": slot.number, "node": slot.node or machine.name()}
    try:
        result, facts = _evaluated(evaluation, asked, slot)
    except OSError as error:  # no room for its files, or none that can be written
        result, facts = "F_crash", {"error": str(error)}
    return result, {**facts, **place}


def _evaluated(evaluation: Evaluation, asked: Asked, slot: Slot) -> tuple[Result, dict[str, Any]]:
    try:
        steps, log = evaluation.steps(asked, slot), asked.folder / LOG
    except CampaignError as error:  # values that fit alone, but not together
        return "F_invalid", {"error": error.problem}
    end = time.monotonic() + evaluation.settings.timeout
    for command in steps:
        if reason := process.evaluate(command, log, end - time.monotonic()):
            return reason, {}
    return evaluation.result(asked.folder)
