"""Pile-up: which neutral constituents of a jet come from the hard collision; the vertex of charged ones is known.

B: batch, P: constituent, M: neutral constituent, C: class.
"""

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional

from bunchtrain.levels import Items, Logits, Targets, Widths
from bunchtrain.tasks._masses import Masses
from bunchtrain.tasks.base import Merit, score

#: See `tasks.base`.
ROWS = "jets"
LEVELS = ("nodes",)
ITEMS = "neutral constituents"
SECRET = ("vertex",)
TRUTH = ("vertex", "charge")
NEEDS = ("pileup",)


class Config(BaseModel):
    """Where the truth stands."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    vertex: str = Field(
        "vertex", description="column of constituents: 0 for those of the hard collision, above 0 for those of pile-up"
    )
    charge: str = Field("charge", description="column of constituents: the charge, 0 for those that the task is about")


class Task:
    """Cross entropy over the neutral constituents, in which every jet counts once, however many it has."""

    background, signal = 0, 1
    level = "nodes"
    variables: tuple[str, ...] = ()
    balanced = False
    loss_told = "cross entropy of the neutral constituents; every jet counts once, however many it has"

    def __init__(self, config: Config, classes: list[str]) -> None:
        self.classes = ["pileup", "hard"]
        self.truth = (config.vertex, config.charge)
        self.bounds = ((0, None), (None, None))

    @property
    def widths(self) -> Widths:
        """Two numbers for each constituent."""
        return Widths(nodes=len(self.classes))

    def loss(self, logits: Logits, targets: Targets) -> Tensor:
        """Return the weighted mean over each jet's neutral constituents, summed over the batch."""
        neutral_BP, hard_BP = told_apart(targets)
        shared_BP = _shared(targets.weights_B, neutral_BP)
        losses_BP = functional.cross_entropy(logits.nodes_BPC.mT, hard_BP.long(), reduction="none")
        return (losses_BP * shared_BP).sum()

    def items(self, logits: Logits, targets: Targets) -> Items:
        """Return the neutral constituents."""
        neutral_BP, hard_BP = told_apart(targets)
        probabilities_MC = torch.softmax(logits.nodes_BPC[neutral_BP], -1)
        rows_M = neutral_BP.nonzero()[:, 0]
        weights_M = _shared(targets.weights_B, neutral_BP)[neutral_BP]
        return Items(probabilities_MC, hard_BP[neutral_BP].long(), weights_M, rows_M)

    def discriminant(self, probabilities_MC: Tensor) -> Tensor:
        """Return the probability of the hard collision, shape [M]."""
        return score(probabilities_MC, self.signal, self.background)

    def merit(self) -> Merit:
        """Return the resolution of the jet mass after removal, beside a local shape's."""
        return Masses()


def told_apart(targets: Targets) -> tuple[Tensor, Tensor]:
    """Return which constituents are neutral, and which are of the hard collision, both bool [B, P]."""
    vertex_BP, charge_BP = targets.truth_BPT.unbind(-1)
    return targets.mask_BP & (charge_BP == 0), targets.mask_BP & (vertex_BP == 0)


def _shared(weights_B: Tensor, chosen_BP: Tensor) -> Tensor:
    """Return each jet's weight, shared out among its chosen constituents, shape [B, P]; zero for the others."""
    return chosen_BP * (weights_B / chosen_BP.sum(1).clamp(min=1))[:, None]
