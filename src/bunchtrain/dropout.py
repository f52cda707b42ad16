"""MC dropout (Gal and Ghahramani, arXiv:1506.02142): the spread of a network's answers when its dropout stays on.

Only what dropout acts on is repeated: a network that offers `encode` and `decide` is encoded once. Mean, spread and
entropies are streamed, so memory does not grow with the number of passes.

M: item, that is what a task tells apart, C: class.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from bunchtrain.errors import CampaignError
from bunchtrain.levels import LEVELS, Logits

_DROPOUT = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


class Posterior(NamedTuple):
    """What the passes say of each item."""

    mean_MC: Tensor
    score_mean_M: Tensor
    score_std_M: Tensor
    entropy_M: Tensor
    mutual_information_M: Tensor


def switch_on(model: nn.Module) -> None:
    """Put a network into evaluation mode with its dropout alone switched on.

    Raises
    ------
    CampaignError
        If it has no dropout above 0.
    """
    model.eval()
    layers = [module for module in model.modules() if isinstance(module, _DROPOUT) and module.p > 0]
    if not layers:
        raise CampaignError(
            "MC dropout needs a network with dropout, and this one has none",
            key="model.dropout",
            found=0,
            expected="a number above 0",
            mend="set model.dropout, e.g. to 0.1, and train again",
        )
    for layer in layers:
        layer.train()


def entropy(probabilities_MC: Tensor) -> Tensor:
    """Return the entropy of each row in nats."""
    return -torch.xlogy(probabilities_MC, probabilities_MC).sum(-1)


def _parted(
    model: Any, inputs: tuple[Tensor, ...], levels: Sequence[str]
) -> tuple[Callable[..., Logits], tuple[Any, ...]]:
    """Return what is to be repeated, and what to call it with."""
    if not hasattr(model, "encode"):
        return model, inputs
    return partial(model.decide, levels=levels), (model.encode(*inputs),)


def predict(
    model: nn.Module,
    inputs: tuple[Tensor, ...],
    probabilities: Callable[[Logits], Tensor],
    score: Callable[[Tensor], Tensor],
    *,
    levels: Sequence[str] = LEVELS,
    passes: int,
    seed: int,
) -> Posterior:
    """Run stochastic passes over one batch.

    Parameters
    ----------
    model : nn.Module
        With its dropout on (`switch_on`).
    inputs : tensors
        What the network is called with.
    probabilities, score : callable
        Logits to class probabilities of the items, and those to the discriminant.
    levels : sequence of str
        The levels whose logits are asked for.
    passes : int
        Number of passes, at least 2.
    seed : int
        Of the dropout masks; the global generator is left as it was.

    Returns
    -------
    Posterior
        Mean probabilities; mean and standard deviation of the score over passes (dividing by passes - 1); entropy of
        the mean; mutual information between answer and weights, i.e. that entropy less the mean entropy of the passes
        (nats).
    """
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        decide, encoded = _parted(model, inputs, levels)
        mean_MC = probabilities(decide(*encoded)).double()
        first_M = score(mean_MC)
        score_mean_M, squares_M, entropies_M = first_M.clone(), torch.zeros_like(first_M), entropy(mean_MC)
        for count in range(2, passes + 1):
            p_MC = probabilities(decide(*encoded)).double()
            mean_MC += (p_MC - mean_MC) / count
            score_M = score(p_MC)
            delta_M = score_M - score_mean_M
            score_mean_M += delta_M / count
            squares_M += delta_M * (score_M - score_mean_M)
            entropies_M += (entropy(p_MC) - entropies_M) / count
    total_M = entropy(mean_MC)
    std_M = (squares_M / (passes - 1)).sqrt()
    return Posterior(mean_MC, score_mean_M, std_M, total_M, (total_M - entropies_M).clamp(min=0))
