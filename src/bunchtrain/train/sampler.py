"""Which jets are in which step: the same order for the same seed, whatever the number of ranks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Piece(NamedTuple):
    """A part of a step that is computed in one go."""

    number: int
    jets: NDArray[np.int64]


class Step(NamedTuple):
    """One step of an epoch: what this rank computes of it, and how many jets all ranks have in it."""

    number: int
    mine: list[Piece]
    jets: int


def steps_per_epoch(n_jets: int, batch: int, most: int | None = None) -> int:
    """Return the number of steps in which every jet is seen once, or `most` where those are fewer."""
    steps = -(-n_jets // batch)
    return steps if most is None else min(steps, most)


def epoch_order(indices: NDArray[np.int64], seed: int, epoch: int) -> NDArray[np.int64]:
    """Return the jets of an epoch in their order, a function of seed and epoch alone."""
    return np.random.default_rng([seed, epoch]).permutation(indices)


def rank_steps(
    indices: NDArray[np.int64],
    *,
    seed: int,
    epoch: int,
    batch: int,
    pieces: int,
    sizes: Callable[[NDArray[np.int64]], NDArray[np.int64]] | None = None,
    rank: int = 0,
    size: int = 1,
    start: int = 0,
    stop: int | None = None,
) -> Iterator[Step]:
    """Yield the steps from `start` up to `stop`, else the last, as a rank of `size` sees them.

    A step is a stretch of `batch` jets of the epoch's order. Its jets are dealt out to the pieces, forth and back, the
    largest first where `sizes` tells their sizes: ranks wait for each other at every step, so pieces should take
    equally long. Rank r computes every `size`-th piece from r on. Pieces do not depend on the ranks, so neither do
    results. The last step may be short, a piece of it even empty.
    """
    order = epoch_order(indices, seed, epoch)
    for number in range(start, steps_per_epoch(len(order), batch, stop)):
        jets = order[number * batch : (number + 1) * batch]
        if sizes is not None:
            jets = jets[np.argsort(-sizes(jets), kind="stable")]
        mine = [Piece(piece, _dealt(jets, piece, pieces)) for piece in range(rank, pieces, size)]
        yield Step(number, mine, len(jets))


def _dealt(jets: NDArray[np.int64], piece: int, pieces: int) -> NDArray[np.int64]:
    """Return what a piece gets when jets are dealt out to all of them forth and back."""
    turn = np.arange(len(jets)) % (2 * pieces)
    dealt: NDArray[np.int64] = jets[np.minimum(turn, 2 * pieces - 1 - turn) == piece]
    return dealt


def stream_seed(seed: int, step: int, piece: int) -> int:
    """Return the seed of a piece's random numbers (dropout): resuming needs no saved generator state."""
    return int(np.random.SeedSequence([seed, step, piece]).generate_state(1, np.uint64)[0] >> np.uint64(1))
