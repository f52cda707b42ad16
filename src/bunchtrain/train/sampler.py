"""Which jets are in which step: the same order for the same seed, whatever the number of ranks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray


def steps_per_epoch(n_jets: int, global_batch: int) -> int:
    """Return the number of steps in which every jet is seen once."""
    return -(-n_jets // global_batch)


def epoch_order(indices: NDArray[np.int64], seed: int, epoch: int) -> NDArray[np.int64]:
    """Return the jets of an epoch in their order, a function of seed and epoch alone."""
    return np.random.default_rng([seed, epoch]).permutation(indices)


def rank_batches(
    indices: NDArray[np.int64], *, seed: int, epoch: int, global_batch: int, rank: int, size: int, start: int = 0
) -> Iterator[tuple[int, NDArray[np.int64], int]]:
    """Yield (step, this rank's jets, jets of all ranks) from step `start` on.

    A global batch is a stretch of the epoch's order; rank r takes every `size`-th jet of it from r on. The last batch
    may be short, on a rank even empty.
    """
    order = epoch_order(indices, seed, epoch)
    for step in range(start, steps_per_epoch(len(order), global_batch)):
        batch = order[step * global_batch : (step + 1) * global_batch]
        yield step, batch[rank::size], len(batch)


def stream_seed(seed: int, step: int, rank: int) -> int:
    """Return the seed of a step's random numbers (dropout): resuming needs no saved generator state."""
    return int(np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0] >> np.uint64(1))
