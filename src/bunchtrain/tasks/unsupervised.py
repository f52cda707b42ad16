"""Anomaly detection without labels: a network learns the samples' jets, and what it has not learned stands out.

All jets of the campaign's samples count as background. What is to be found stands beside them, under `unfamiliar`:
neither weights nor scaler follow from it.

The divergence of the code from a standard normal distribution, Σ (μ² + σ² - 1 - log σ²) / 2, can be had step by step
for less in hardware: without the logarithm, without σ at all, and with μ² cut off, for a fixed number of bits.

B: batch, L: number of the code, N: rows, V: column.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from bunchtrain.errors import InputError, TrainingError
from bunchtrain.levels import Latent, Targets, Widths

#: See `tasks.base`.
ROWS = "jets"
ANSWERS = "latent"
LEVELS = ("graph",)
ITEMS = "jets"
JUDGED = ("variables",)

#: Scores by name, in words: more of each is more unlike the background.
SCORES = {
    "likelihood": "reconstruction and divergence: minus the bound on the logarithm of the likelihood",
    "reconstruction": "what the reconstruction misses",
    "divergence": "divergence of the code, Σ (μ² + σ² - 1 - log σ²)",
    "no logarithm": "Σ (μ² + σ² - 1)",
    "mean": "Σ μ²",
    "clipped mean": "Σ min(μ², clip)",
}

#: A number of the code tells something of a jet from so many nats of divergence on.
_ALIVE = 0.01

#: No variance of a code is further from 1 in a network that learns: its logarithm.
_WIDEST = 20.0


class Config(BaseModel):
    """How reconstruction and divergence are weighed, and what is taken for the score."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    beta: float = Field(0.3, ge=0, description="weight of the divergence beside the reconstruction")
    free_bits: float = Field(0.0, ge=0, description="nats of divergence that each number of the code has for nothing")
    score: Literal["likelihood", "reconstruction", "divergence", "no logarithm", "mean", "clipped mean"] = Field(
        "likelihood", description="what counts as the score; all are reported"
    )
    clip: float = Field(4.0, gt=0, description="where the clipped mean cuts μ² off")
    decorrelate: float = Field(
        0.0, ge=0, description="weight of the distance correlation of score and mass; 0: the score may follow the mass"
    )
    mass: str = Field("mass", description="column of jets that the score is compared with, and decorrelated from")
    variables: list[str] = Field(["mass"], max_length=4, description="columns of jets that are judged alone beside it")


class Task:
    """Minus the bound on the likelihood, and the distance correlation with the mass where it is asked for."""

    level = "graph"
    truth: tuple[str, ...] = ()
    bounds: tuple[tuple[int | None, int | None], ...] = ()
    balanced = False
    by_event = True
    widths = Widths()
    loss_told = "reconstruction and weighted divergence: minus the bound on the logarithm of the likelihood"

    def __init__(self, config: Config, classes: list[str]) -> None:
        self.config, self.classes = config, classes
        self.columns = (config.mass,) if config.decorrelate else ()
        self.variables, self.mass = config.variables, config.mass

    def require(self, columns_NV: NDArray[Any], file: object) -> None:
        """Refuse jets of one mass, where the score is to be independent of it."""
        if len(self.columns) and len(columns_NV) and not columns_NV[:, 0].max() > columns_NV[:, 0].min():
            raise InputError(
                "the score is to be decorrelated from a column that is the same for all jets",
                file=str(file),
                key="task.mass",
                found=f"{self.mass}, {columns_NV[0, 0]:g} for all",
                mend="name another column in task.mass, or set task.decorrelate to 0",
            )

    def scores(self, latent: Latent) -> dict[str, Tensor]:
        """Return all scores by name, each of shape [B]."""
        mean_BL, log_variance_BL = latent.mean_BL, latent.log_variance_BL
        square_BL, variance_BL = mean_BL.square(), log_variance_BL.exp()
        divergence_B = (square_BL + variance_BL - 1 - log_variance_BL).sum(-1)
        found = {
            "likelihood": latent.error_B + divergence_B / 2,
            "reconstruction": latent.error_B,
            "divergence": divergence_B,
            "no logarithm": (square_BL + variance_BL - 1).sum(-1),
            "mean": square_BL.sum(-1),
            "clipped mean": square_BL.clamp(max=self.config.clip).sum(-1),
        }
        return {name: found[name] for name in SCORES}

    def loss(self, latent: Latent, targets: Targets) -> Tensor:
        """Return the weighted loss summed over the batch."""
        weights_B = targets.weights_B
        divergence_BL = nats(latent).clamp(min=self.config.free_bits)
        losses_B = latent.error_B + self.config.beta * divergence_BL.sum(-1)
        total = (losses_B * weights_B).sum()
        if not self.config.decorrelate:
            return total
        likeness = distance_correlation(self.scores(latent)[self.config.score], targets.columns_BV[:, 0], weights_B)
        return total + self.config.decorrelate * likeness * weights_B.sum()

    def sums(self, latent: Latent, targets: Targets) -> Tensor:
        """Return what adds up over batches and ranks to `figures`, float64."""
        weights_B = targets.weights_B.double()
        score_B = self.scores(latent)[self.config.score].double()
        columns = [
            torch.ones_like(score_B),
            latent.error_B.double(),
            score_B,
            score_B.square(),
            latent.log_variance_BL.abs().amax(-1).double(),
            *nats(latent).double().unbind(-1),
        ]
        return (torch.stack(columns, -1) * weights_B[:, None]).sum(0).cpu()

    def figures(self, sums: Tensor) -> dict[str, float]:
        """Return what a validation says: errors, divergence, how many numbers of the code tell something.

        Raises
        ------
        TrainingError
            If the variance of the code runs away.
        """
        total, error, score, square, widest = sums[:5].tolist()
        each = (sums[5:] / total).tolist()
        if widest / total > _WIDEST:
            raise TrainingError(
                "the variance of the code runs away",
                key="model",
                found=f"a logarithm of {widest / total:.0f} in the mean",
                expected=f"less than {_WIDEST:.0f}",
                mend="lower train.learning_rate, set train.clip_norm, or raise task.beta",
            )
        return {
            "validation_reconstruction": error / total,
            "validation_divergence": sum(each),
            "validation_alive": float(sum(one > _ALIVE for one in each)),
            "validation_score_spread": max(square / total - (score / total) ** 2, 0.0) ** 0.5,
        }

    def told(self, figures: Mapping[str, float]) -> str:
        """Return these figures in words."""
        return (
            f"reconstruction {figures['validation_reconstruction']:.4f}  "
            f"divergence {figures['validation_divergence']:.4f} in {figures['validation_alive']:.0f} numbers"
        )

    def warnings(self, figures: Mapping[str, float]) -> list[str]:
        """Return what is wrong with a trained network, and what may mend it."""
        found = []
        if not figures["validation_alive"]:
            found.append(
                "the code tells nothing of a jet: its divergence has collapsed, and scores made of it are noise; "
                "lower task.beta, give task.free_bits, e.g. 0.1, or train longer"
            )
        if figures["validation_score_spread"] <= 1e-6 * max(1.0, abs(figures["validation_reconstruction"])):
            found.append(
                f"the score {self.config.score} is the same for all jets; take another task.score, or lower task.beta"
            )
        return found


def nats(latent: Latent) -> Tensor:
    """Return the divergence of each number of the code from a standard normal one, shape [B, L]."""
    log_variance_BL = latent.log_variance_BL
    return (latent.mean_BL.square() + log_variance_BL.exp() - 1 - log_variance_BL) / 2


def distance_correlation(one_B: Tensor, other_B: Tensor, weights_B: Tensor) -> Tensor:
    """Return the squared distance correlation of two numbers (Székely, Rizzo and Bakirov, arXiv:0803.4101).

    It is 0 where they are independent, and 1 where one is a linear function of the other; in a training it was proposed
    by Kasieczka and Shih (arXiv:2001.05310). Jets with a weight below zero count as nothing.
    """
    weights_B = weights_B.to(one_B)
    weights_B = weights_B.clamp(min=0) / weights_B.clamp(min=0).sum().clamp(min=1e-12)
    apart = [_centred(values_B, weights_B) for values_B in (one_B, other_B.to(one_B))]
    pairs_BB = weights_B[:, None] * weights_B[None]

    def together(first_BB: Tensor, second_BB: Tensor) -> Tensor:
        return (first_BB * second_BB * pairs_BB).sum()

    scale = together(apart[0], apart[0]) * together(apart[1], apart[1])
    return together(*apart) / scale.clamp(min=1e-12).sqrt()


def _centred(values_B: Tensor, weights_B: Tensor) -> Tensor:
    """Return the distances of all pairs, with the means of rows and columns taken off."""
    values_B = (values_B - values_B.detach().mean()) / values_B.detach().std(correction=0).clamp(min=1e-6)
    distance_BB = (values_B[:, None] - values_B[None]).abs()
    mean_B = distance_BB @ weights_B
    return distance_BB - mean_B[:, None] - mean_B[None] + mean_B @ weights_B
