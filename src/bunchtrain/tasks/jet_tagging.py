"""Jet tagging: which class a jet belongs to.

B: batch, C: class.
"""

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional

from bunchtrain.errors import CampaignError
from bunchtrain.levels import Items, Logits, Targets, Widths
from bunchtrain.tasks.base import Merit, score

#: See `tasks.base`.
ROWS = "jets"
LEVELS = ("graph",)
ITEMS = "jets"
JUDGED = ("variables",)


class Config(BaseModel):
    """The two classes that working points are quoted for; the network learns all of them."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    signal: str = Field("top", description="label of the signal")
    background: str = Field("qcd", description="label of the background")
    variables: list[str] = Field(
        ["mass"], max_length=4, description="columns of jets whose cut and best window are shown beside the network"
    )


class Task:
    """Cross entropy over the classes, and the discriminant p_signal / (p_signal + p_background)."""

    level = "graph"
    truth: tuple[str, ...] = ()
    bounds: tuple[tuple[int | None, int | None], ...] = ()
    balanced = True

    def __init__(self, config: Config, classes: list[str]) -> None:
        for key in ("signal", "background"):
            if getattr(config, key) not in classes:
                raise CampaignError(
                    "the task names a class that no sample has",
                    key=f"task.{key}",
                    found=getattr(config, key),
                    choices=classes,
                )
        self.classes = classes
        self.signal = classes.index(config.signal)
        self.background = classes.index(config.background)
        self.variables = config.variables

    @property
    def widths(self) -> Widths:
        """A number for each class of jets."""
        return Widths(graph=len(self.classes))

    def loss(self, logits: Logits, targets: Targets) -> Tensor:
        """Return the weighted cross entropy summed over the batch."""
        losses_B = functional.cross_entropy(logits.graph_BC, targets.labels_B, reduction="none")
        return (losses_B * targets.weights_B).sum()

    def items(self, logits: Logits, targets: Targets) -> Items:
        """Return the jets."""
        rows_B = torch.arange(len(targets.labels_B), device=targets.labels_B.device)
        return Items(torch.softmax(logits.graph_BC, -1), targets.labels_B, targets.weights_B, rows_B)

    def discriminant(self, probabilities_MC: Tensor) -> Tensor:
        """Return the signal-against-background score, shape [M]."""
        return score(probabilities_MC, self.signal, self.background)

    def merit(self) -> Merit:
        """Return no more than that."""
        return Merit()
