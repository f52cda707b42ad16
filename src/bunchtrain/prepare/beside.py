"""The index of rows that stand beside the training: none of them trains, validates, or shapes a scaler or a weight."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bunchtrain import provenance
from bunchtrain.config.specs import IndexSpec
from bunchtrain.errors import InputError
from bunchtrain.events.splits import SPLITS
from bunchtrain.prepare import index as shards_
from bunchtrain.prepare.index import ShardInfo
from bunchtrain.prepare.run import assigned, attributes
from bunchtrain.prepare.weights import class_weights

_TEST = SPLITS.index("test")


def index(spec: IndexSpec, shards: list[Path], out: Path) -> None:
    """Write `dataset.h5` into `out`, of all rows of the shards.

    All are in the split `test`; but with a seed those of an event that would train or validate are there, so that an
    event which a network has seen, simulated again, is not asked for. The classes are those of the training; they weigh
    the same, as they do there. Rows of none of them have the label `samples.NO_CLASS`.

    Raises
    ------
    ContractError, InputError
        If a shard is not usable, an input comes twice, or there are no rows for testing.
    """
    infos = shards_.survey(shards, spec.classes)
    shards_.refuse_duplicates(infos)
    rows = infos[0].rows
    split = _split(infos, spec)
    total = int(np.sum(split == _TEST))
    if not total:
        mend = "look at the sample's files, at what convert.select leaves of them, and at prepare.split"
        raise InputError(f"there are no {rows} to look at", file=infos[0].path, found=0, mend=mend)
    about = attributes(infos, spec.classes, _weights(infos, spec, split == _TEST), spec.settings)
    path = out / "dataset.h5"
    shards_.write(path, infos, {"split": split}, about)
    provenance.record([path], stage="index", spec=spec.model_dump(mode="json"), inputs=shards, facts={rows: total})
    print(f"[index] {total} {rows} for testing in {len(infos)} shards", flush=True)


def _split(infos: Sequence[ShardInfo], spec: IndexSpec) -> NDArray[np.uint8]:
    if spec.seed is None:
        return np.full(sum(info.jets for info in infos), _TEST, np.uint8)
    return assigned(infos, spec.settings.split, spec.seed)[1]


def _weights(infos: Sequence[ShardInfo], spec: IndexSpec, tested: NDArray[np.bool_]) -> list[float]:
    """Return the weights of the classes; all 1 where the rows are of none."""
    if spec.seed is None:
        return [1.0] * len(spec.classes)
    labels, weights = (shards_.column(infos, name) for name in ("label", "weight"))
    return class_weights(labels, weights, tested, len(spec.classes))
