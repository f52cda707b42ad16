"""Training on variations: in every step each jet is seen as the simulation has it, or as one of some variations do.

What a network learns in this way is an average over them, and the differences between them are noise to it
(marginalisation; data augmentation by nuisance parameters, e.g. arXiv:2105.08742).

B: batch.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bunchtrain.events.chance import keys, seeded, uniform
from bunchtrain.levels import Targets
from bunchtrain.train.batches import Batch, BatchSource
from bunchtrain.train.packing import packs


class VariedSource:
    """Makes the batches of one split of jets, each jet as one of several sources has it; see `batches.Source`.

    Which one follows from seed, step and jet alone: not from ranks, pieces or packs. Outside of steps, as in a
    validation, it is the first.

    Parameters
    ----------
    sources : list of BatchSource
        The nominal jets, then the same jets as the variations have them. None has more constituents than the first.
    seed : int
        Of the choice.
    padding : float
        Largest share of padding in the batches of a call.
    """

    rows, at_once = BatchSource.rows, BatchSource.at_once

    def __init__(self, sources: list[BatchSource], seed: int, padding: float = 1.0) -> None:
        self._sources, self._seed, self._padding = sources, seed, padding

    @property
    def kept(self) -> bool:
        """Whether all features are on the device."""
        return all(source.kept for source in self._sources)

    def sizes(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how many constituents the given jets have, before any is lost, int64 [B]."""
        return self._sources[0].sizes(indices)

    def describe(self, path: Path, jets: NDArray[np.int64], where: str) -> None:
        """Write to `path` which jets these are: their events, labels and weights."""
        self._sources[0].describe(path, jets, where)

    def chosen(self, indices: NDArray[np.int64], turn: int) -> NDArray[np.int64]:
        """Return which of the sources gives each jet in a step, int64 [B]."""
        share_B = uniform(keys(seeded("train.vary", self._seed, turn), indices))
        found: NDArray[np.int64] = (share_B * len(self._sources)).astype(np.int64)
        return found

    def __call__(self, indices: NDArray[np.int64], turn: int | None = None) -> list[Batch]:
        """Return the given jets in packs of similar size, in a step each as one of the sources has it."""
        if turn is None:
            return self._sources[0](indices)
        chosen = self.chosen(indices, turn)
        return [
            self._pack(indices[pack.rows], chosen[pack.rows], pack.width)
            for pack in packs(self.sizes(indices), self._padding)
        ]

    def _pack(self, indices: NDArray[np.int64], chosen: NDArray[np.int64], width: int) -> Batch:
        parts = [
            source.pack(indices[chosen == number], width)
            for number, source in enumerate(self._sources)
            if (chosen == number).any()
        ]
        inputs = tuple(torch.cat(one) for one in zip(*(part.inputs for part in parts), strict=True))
        targets = Targets(*(torch.cat(one) for one in zip(*(part.targets for part in parts), strict=True)))
        return Batch(inputs, targets, sum(part.constituents for part in parts), sum(part.slots for part in parts))
