"""How a task is built from a campaign.

A task module has a `Config` and a `Task(config, classes)` with `outputs`, `loss`, `probabilities` and `discriminant`;
and `ROWS`, a literal: the rows that it learns from, as a format's `ROWS` names them.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor

from bunchtrain import registry


class TaskProtocol(Protocol):
    """What the stages ask of a task."""

    classes: list[str]
    signal: int
    background: int

    @property
    def outputs(self) -> int:
        """Width of the network's answer."""
        ...

    def loss(self, logits_BC: Tensor, labels_B: Tensor, weights_B: Tensor) -> Tensor:
        """Return the weighted loss summed over the batch."""
        ...

    def probabilities(self, logits_BC: Tensor) -> Tensor:
        """Return the class probabilities, shape [B, C]."""
        ...

    def discriminant(self, probabilities_BC: Tensor) -> Tensor:
        """Return the signal-against-background score, shape [B]."""
        ...


def build(section: Mapping[str, Any], classes: list[str]) -> TaskProtocol:
    """Build a task from a campaign's `task` section (kind and options)."""
    options = dict(section)
    module = registry.load("tasks", options.pop("kind"), "task.kind")
    task: TaskProtocol = module.Task(module.Config.model_validate(options), classes)
    return task
