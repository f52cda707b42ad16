"""MC dropout (Gal and Ghahramani, arXiv:1506.02142): the spread of a network's answers when its dropout stays on.

Only what dropout acts on is repeated: a network that offers `encode` and `decide` is encoded once. What the passes say
is streamed (`posterior`), so memory does not grow with their number.

K: passes of a chunk, M: item, that is what a task tells apart, C: class.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from bunchtrain.errors import CampaignError
from bunchtrain.levels import LEVELS, Logits
from bunchtrain.posterior import Posterior, Summary

_DROPOUT = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


#: Passes whose answers are summed up together; as many on every machine, so that the same seed gives the same masks.
CHUNK = 10


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
        See `posterior.Summary`.

    Raises
    ------
    CampaignError
        If there are fewer than two passes.
    """
    if passes < 2:
        problem, mend = "one pass has no spread", "set evaluate.passes, e.g. to 50"
        raise CampaignError(problem, key="evaluate.passes", found=passes, expected="at least 2", mend=mend)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        draws, summary = _draws(model, inputs, probabilities, levels), Summary(score)
        for start in range(0, passes, CHUNK):
            summary.add(draws(min(CHUNK, passes - start)))
    return summary.posterior()


def _draws(
    model: Any, inputs: tuple[Tensor, ...], probabilities: Callable[[Logits], Tensor], levels: Sequence[str]
) -> Callable[[int], Tensor]:
    """Return what gives so many draws, shape [K, M, C]."""
    parted = hasattr(model, "encode")
    repeated = partial(model.decide, model.encode(*inputs), levels=levels) if parted else partial(model, *inputs)
    # Answers for whole jets are small enough to be computed side by side; those of pairs would leave the cache.
    if parted and tuple(levels) == ("graph",):
        side_by_side = torch.vmap(lambda _: probabilities(repeated()), randomness="different")
        return lambda count: side_by_side(torch.empty(count))
    return lambda count: torch.stack([probabilities(repeated()) for _ in range(count)])
