"""MC dropout (Gal and Ghahramani, arXiv:1506.02142): the spread of a network's answers when its dropout stays on.

Only what dropout acts on is repeated: a network that offers `encode` and `decide` is encoded once. Mean, spread and
entropies are streamed, so memory does not grow with the number of passes.

B: batch, C: class.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from bunchtrain.errors import CampaignError

_DROPOUT = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


class Posterior(NamedTuple):
    """What the passes say of each jet."""

    mean_BC: Tensor
    score_mean_B: Tensor
    score_std_B: Tensor
    entropy_B: Tensor
    mutual_information_B: Tensor


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


def entropy(probabilities_BC: Tensor) -> Tensor:
    """Return the entropy of each row in nats."""
    return -torch.xlogy(probabilities_BC, probabilities_BC).sum(-1)


def predict(
    model: nn.Module,
    inputs: tuple[Tensor, ...],
    probabilities: Callable[[Tensor], Tensor],
    score: Callable[[Tensor], Tensor],
    *,
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
        Logits to class probabilities, and those to the discriminant.
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
        decide: Any = getattr(model, "decide", model)
        encoded = (model.encode(*inputs),) if hasattr(model, "encode") else inputs  # type: ignore[operator]
        mean_BC = probabilities(decide(*encoded)).double()
        first_B = score(mean_BC)
        score_mean_B, squares_B, entropies_B = first_B.clone(), torch.zeros_like(first_B), entropy(mean_BC)
        for count in range(2, passes + 1):
            p_BC = probabilities(decide(*encoded)).double()
            mean_BC += (p_BC - mean_BC) / count
            score_B = score(p_BC)
            delta_B = score_B - score_mean_B
            score_mean_B += delta_B / count
            squares_B += delta_B * (score_B - score_mean_B)
            entropies_B += (entropy(p_BC) - entropies_B) / count
    total_B = entropy(mean_BC)
    std_B = (squares_B / (passes - 1)).sqrt()
    return Posterior(mean_BC, score_mean_B, std_B, total_B, (total_B - entropies_B).clamp(min=0))
