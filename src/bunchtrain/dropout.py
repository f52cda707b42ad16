"""MC dropout (Gal and Ghahramani, arXiv:1506.02142): the spread of a network's answers when its dropout stays on.

Only what dropout acts on is repeated: a network that offers `encode` and `decide` is encoded once. What the passes say
is streamed (`posterior`), so memory does not grow with their number.

K: passes of a chunk, M: item, that is what a task tells apart, C: class.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
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
    for layer in _layers(model):
        layer.train()


def _layers(model: nn.Module) -> list[Any]:
    """Return the layers of dropout that act; it is an error if there is none."""
    layers = [module for module in model.modules() if isinstance(module, _DROPOUT) and module.p > 0]
    if not layers:
        raise CampaignError(
            "MC dropout needs a network with dropout, and this one has none",
            key="model.dropout",
            found=0,
            expected="a number above 0",
            mend="set model.dropout, e.g. to 0.1, and train again",
        )
    return layers


@contextlib.contextmanager
def one_network(model: nn.Module, number: int, seed: int) -> Iterator[None]:
    """Let a network be, within, one that dropout makes of it: the masks are the same for every row it is shown.

    Passes of `predict` draw masks for each row. That is right for what is asked of a row alone; what many rows have in
    common, an efficiency, needs networks that are the same for all.

    Parameters
    ----------
    model : nn.Module
        In evaluation mode.
    number, seed : int
        Which of the networks.

    Raises
    ------
    CampaignError
        If it has no dropout above 0.
    """
    hooks = []
    for place, layer in enumerate(_layers(model)):
        own = int(np.random.SeedSequence([seed, number, place]).generate_state(1)[0])
        random = torch.Generator().manual_seed(own)
        hooks.append(layer.register_forward_hook(_mask(layer.p, random)))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _mask(share: float, random: torch.Generator) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
    """Return a hook that leaves out the same features of every row."""
    kept: list[Tensor] = []

    def hook(_: nn.Module, inputs: tuple[Tensor, ...], __: Tensor) -> Tensor:
        x = inputs[0]
        if not kept:
            kept.append((torch.rand(x.shape[-1], generator=random) >= share) / (1 - share))
        return x * kept[0].to(x)

    return hook


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
    answer = repeated(model, inputs, levels)
    # Answers for whole jets are small enough to be computed side by side; those of pairs would leave the cache.
    if hasattr(model, "encode") and tuple(levels) == ("graph",):
        side_by_side = torch.vmap(lambda _: probabilities(answer()), randomness="different")
        return lambda count: side_by_side(torch.empty(count))
    return lambda count: torch.stack([probabilities(answer()) for _ in range(count)])


def repeated(model: Any, inputs: tuple[Tensor, ...], levels: Sequence[str]) -> Callable[[], Logits]:
    """Return what answers a batch again and again: of a network that is parted the heads alone, on what it encoded."""
    if hasattr(model, "encode"):
        return partial(model.decide, model.encode(*inputs), levels=levels)
    return partial(model, *inputs)
