"""What a search evaluates, and how: a process of its own for every point of the space."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from bunchtrain.config.scan import Trials
from bunchtrain.errors import CampaignError
from bunchtrain.scan import process
from bunchtrain.scan.space import Values

#: What an evaluation says, in its folder.
LOG = "train.log"

#: Larger is better; a list has a number for every objective; a text is the reason of a failure, `F_...`.
Result = float | list[float] | str


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

    def command(self, values: Values, folder: Path) -> list[str]:
        """Return what evaluates `values` and writes into `folder`."""

    def result(self, folder: Path) -> tuple[Result, dict[str, Any]]:
        """Return the result of a finished evaluation, and facts for the record."""

    def told(self, facts: Mapping[str, Any]) -> str:
        """Return a result in words, from its facts."""


def evaluate(evaluation: Evaluation, values: Values, folder: Path) -> tuple[Result, dict[str, Any]]:
    """Evaluate `values`; return the result, and facts for the record."""
    try:
        command, log = evaluation.command(values, folder), folder / LOG
    except CampaignError as error:  # values that fit alone, but not together
        return "F_invalid", {"error": error.problem}
    reason = process.evaluate(command, log, evaluation.settings.timeout)
    return (reason, {}) if reason else evaluation.result(folder)
