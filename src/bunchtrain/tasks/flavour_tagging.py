"""Flavour tagging with vertexing: the class of a jet, the origin of its tracks, and which of them share a vertex.

The two latter are learned beside the first, which they help (GN1, ATL-PHYS-PUB-2022-027): the loss is that of the jet,
plus the means over its tracks and over its pairs of tracks, each with a weight.

B: batch, P: track, C: class, M: item.
"""

from typing import Annotated

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional

from bunchtrain.errors import CampaignError
from bunchtrain.levels import Logits, Targets, Widths
from bunchtrain.tasks import jet_tagging
from bunchtrain.tasks._vertices import ORIGINS, Vertices
from bunchtrain.tasks.base import Merit

#: See `tasks.base`.
ROWS = "jets"
LEVELS = ("graph", "nodes", "edges")
ITEMS = "jets"
JUDGED = ("mixture", "variables")
SECRET = ("origin", "vertex")
TRUTH = ("origin", "vertex")
NEEDS = ("tracks",)
ALONE = {"origin_weight": 0.0, "vertex_weight": 0.0}


class Config(BaseModel):
    """The classes that working points are quoted for, and what is learned beside them."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    signal: str = Field("b", description="label of the signal")
    background: str = Field("light", description="label of the background")
    mixture: dict[str, Annotated[float, Field(gt=0)]] = Field(
        {},
        description="share of each background class in the score: `{light: 0.95, c: 0.05}`; {}: the background alone",
    )
    variables: list[str] = Field(
        [], max_length=4, description="columns of jets whose cut and best window are shown beside the network"
    )
    origin: str = Field("origin", description="column of tracks, the truth: 0 to 6, see docs/networks.md")
    vertex: str = Field("vertex", description="column of tracks, the truth: number of the vertex in the jet, -1 none")
    origin_weight: float = Field(0.5, ge=0, description="of the tracks' origins in the loss; 0: not learned")
    vertex_weight: float = Field(1.5, ge=0, description="of the pairs of tracks in the loss; 0: not learned")


class Task(jet_tagging.Task):
    """Cross entropy over the classes of jets, beside it over origins of tracks and over pairs of tracks."""

    def __init__(self, config: Config, classes: list[str]) -> None:
        plain = {"signal": config.signal, "background": config.background, "variables": config.variables}
        super().__init__(jet_tagging.Config.model_validate(plain), classes)
        learned = config.origin_weight or config.vertex_weight
        self.truth = (config.origin, config.vertex) if learned else ()
        self.bounds = ((0, len(ORIGINS) - 1), (-1, None)) if learned else ()
        self._origin_weight, self._vertex_weight = config.origin_weight, config.vertex_weight
        self._mixture = torch.zeros(len(classes), dtype=torch.float64)
        for name, share in (config.mixture or {config.background: 1.0}).items():
            others = [one for one in classes if one != config.signal]
            if name not in others:
                problem = "the score mixes a class that is no background"
                raise CampaignError(problem, key="task.mixture", found=name, choices=others)
            self._mixture[classes.index(name)] = share
        self._mixture /= self._mixture.sum()

    @property
    def widths(self) -> Widths:
        """A number for each class of jets, for each origin of tracks, and one for each pair."""
        return Widths(len(self.classes), len(ORIGINS) * (self._origin_weight > 0), int(self._vertex_weight > 0))

    @property
    def score_told(self) -> str:
        """The score in words."""
        p_signal = f"p({self.classes[self.signal]})"
        shares = zip(self.classes, self._mixture.tolist(), strict=True)
        mixed = " + ".join(f"{share:.3g} p({name})" if share != 1 else f"p({name})" for name, share in shares if share)
        return f"{p_signal} / ({p_signal} + {mixed})"

    @property
    def loss_told(self) -> str:
        """The loss in words."""
        weights = {
            "origins of its tracks": self._origin_weight,
            "pairs of tracks that share a vertex": self._vertex_weight,
        }
        beside = [f"{weight:g} times that of the {name}" for name, weight in weights.items() if weight]
        return " plus ".join(["cross entropy of the jet's class", *beside])

    def loss(self, logits: Logits, targets: Targets) -> Tensor:
        """Return the weighted loss summed over the batch."""
        total = super().loss(logits, targets)
        if self._origin_weight:
            total = total + self._origin_weight * (_origin_loss(logits, targets) * targets.weights_B).sum()
        if self._vertex_weight:
            total = total + self._vertex_weight * (_pair_loss(logits, targets) * targets.weights_B).sum()
        return total

    def discriminant(self, probabilities_MC: Tensor) -> Tensor:
        """Return p_signal over the sum of it and the mixture of background classes, shape [M]."""
        p_signal = probabilities_MC[..., self.signal]
        p_background = (probabilities_MC * self._mixture.to(probabilities_MC)).sum(-1)
        return p_signal / (p_signal + p_background).clamp(min=1e-12)

    def merit(self) -> Merit:
        """Return how well vertices are found, where they are learned."""
        if self._origin_weight and self._vertex_weight:
            return Vertices(self.classes)
        return Merit()


def _origin_loss(logits: Logits, targets: Targets) -> Tensor:
    """Return the mean cross entropy of each jet's tracks, shape [B]; 0 for a jet without any."""
    origin_BP = targets.truth_BPT[..., 0].long()
    losses_BP = functional.cross_entropy(logits.nodes_BPC.mT, origin_BP, reduction="none") * targets.mask_BP
    return losses_BP.sum(1) / targets.mask_BP.sum(1).clamp(min=1)


def _pair_loss(logits: Logits, targets: Targets) -> Tensor:
    """Return the mean binary cross entropy of each jet's pairs of tracks, shape [B]; 0 for a jet without any."""
    real_BPP, same_BPP = pairs(targets)
    answers_BPP = logits.edges_BPPC[..., 0]
    losses_BPP = functional.binary_cross_entropy_with_logits(answers_BPP, same_BPP.to(answers_BPP), reduction="none")
    return (losses_BPP * real_BPP).sum((1, 2)) / real_BPP.sum((1, 2)).clamp(min=1)


def pairs(targets: Targets) -> tuple[Tensor, Tensor]:
    """Return which places hold a pair of different tracks, each pair once, and which of them share a vertex."""
    mask_BP, vertex_BP = targets.mask_BP, targets.truth_BPT[..., 1]
    real_BPP = (mask_BP[:, :, None] & mask_BP[:, None]).triu(1)
    same_BPP = (vertex_BP[:, :, None] == vertex_BP[:, None]) & (vertex_BP >= 0)[:, None]
    return real_BPP, real_BPP & same_BPP
