"""Jet tagging: which class a jet belongs to.

B: batch, C: class.
"""

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional

from bunchtrain.errors import CampaignError

#: What it learns from: see `tasks.base`.
ROWS = "jets"


class Config(BaseModel):
    """The two classes that working points are quoted for; the network learns all of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    signal: str = Field("top", description="label of the signal")
    background: str = Field("qcd", description="label of the background")


class Task:
    """Cross entropy over the classes, and the discriminant p_signal / (p_signal + p_background)."""

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

    @property
    def outputs(self) -> int:
        """Width of the network's answer."""
        return len(self.classes)

    def loss(self, logits_BC: Tensor, labels_B: Tensor, weights_B: Tensor) -> Tensor:
        """Return the weighted cross entropy summed over the batch."""
        return (functional.cross_entropy(logits_BC, labels_B, reduction="none") * weights_B).sum()

    def probabilities(self, logits_BC: Tensor) -> Tensor:
        """Return the class probabilities, shape [B, C]."""
        return torch.softmax(logits_BC, -1)

    def discriminant(self, probabilities_BC: Tensor) -> Tensor:
        """Return the signal-against-background score, shape [B]."""
        signal, background = probabilities_BC[..., self.signal], probabilities_BC[..., self.background]
        return signal / (signal + background).clamp(min=1e-12)
