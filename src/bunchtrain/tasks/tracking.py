"""Tracking: which edges of a graph of hits join consecutive hits of one particle, and the tracks that they make.

E: edges, M: edges of all events of a batch, B: events.
"""

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional

from bunchtrain.levels import GraphTargets, Items, Logits, Widths
from bunchtrain.tasks._tracks import Tracks
from bunchtrain.tasks.base import Merit
from bunchtrain.trackfinding import Sought

#: See `tasks.base`.
ROWS = "events"
LEVELS = ("edges",)
ITEMS = "edges"
JUDGED = ("threshold", "shortest", "min_hits", "pt_min", "eta_max")


class Config(BaseModel):
    """Which edges make candidates, and which particles are to be found."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    threshold: float = Field(0.5, ge=0, le=1, description="lowest p(true) of an edge that a candidate takes")
    shortest: int = Field(4, ge=2, le=100, description="hits of the shortest candidate")
    min_hits: int = Field(5, ge=1, le=100, description="hits of a particle that is to be found, at least")
    pt_min: float = Field(0.6, ge=0, description="pt of such a particle, GeV, above")
    eta_max: float = Field(2.0, gt=0, description="its largest |eta|")


class Task:
    """Binary cross entropy over the edges, in which every event counts once, and true and false edges half of it each.

    One edge in ten is true, or less. So a stated probability is that of a mixture with as many true as false edges, and
    it is judged with that mixture.
    """

    background, signal = 0, 1
    level = "edges"
    truth: tuple[str, ...] = ()
    bounds: tuple[tuple[int | None, int | None], ...] = ()
    variables: tuple[str, ...] = ()
    balanced = False
    score_told = "p(true), for a mixture with as many true as false edges"
    loss_told = "binary cross entropy of the edges; every event counts once, its true and its false edges half each"

    def __init__(self, config: Config, classes: list[str]) -> None:
        self.classes = ["false", "true"]
        self._config = config

    @property
    def widths(self) -> Widths:
        """A number for each edge."""
        return Widths(edges=1)

    def loss(self, logits: Logits, targets: GraphTargets) -> Tensor:
        """Return the weighted mean over each event's edges, summed over the batch."""
        logits_E = logits.edges_BPPC[:, 0]
        losses_E = functional.binary_cross_entropy_with_logits(
            logits_E, targets.true_E.to(logits_E.dtype), reduction="none"
        )
        return (losses_E * _shared(targets)).sum()

    def items(self, logits: Logits, targets: GraphTargets) -> Items:
        """Return the edges."""
        p_E = torch.sigmoid(logits.edges_BPPC[:, 0])
        return Items(torch.stack([1 - p_E, p_E], -1), targets.true_E.long(), _shared(targets), targets.event_E)

    def discriminant(self, probabilities_MC: Tensor) -> Tensor:
        """Return the probability of being true, shape [M]."""
        return probabilities_MC[..., self.signal]

    def merit(self) -> Merit:
        """Return efficiency, fakes, duplicates, purity and score of the tracks, beside a geometric baseline's."""
        config = self._config
        return Tracks(config.threshold, config.shortest, Sought(config.min_hits, config.pt_min, config.eta_max))


def _shared(targets: GraphTargets) -> Tensor:
    """Return each event's weight, shared out among its edges, [E]: half to its true ones, half to the others.

    Where an event has edges of one kind alone, these have all of its weight.
    """
    place_E = 2 * targets.event_E + targets.true_E.long()
    counts_2B = torch.bincount(place_E, minlength=2 * len(targets.weights_B))
    kinds_B = (counts_2B.view(-1, 2) > 0).sum(1)
    weights_B = targets.weights_B / kinds_B.clamp(min=1)
    return weights_B[targets.event_E] / counts_2B[place_E]
