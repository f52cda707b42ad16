"""The index of rows that stand beside the training: none of them trains, validates, or shapes a scaler or a weight."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bunchtrain import provenance
from bunchtrain.config.specs import IndexSpec
from bunchtrain.errors import InputError
from bunchtrain.events.splits import SPLITS
from bunchtrain.prepare import index as shards_
from bunchtrain.prepare.run import attributes


def index(spec: IndexSpec, shards: list[Path], out: Path) -> None:
    """Write `dataset.h5` into `out`: all rows of the shards, all of them in the split `test`.

    It has the classes of the training, which all weigh 1. Rows of none of them have the label `samples.NO_CLASS`.

    Raises
    ------
    ContractError, InputError
        If a shard is not usable, an input comes twice, or there are no rows.
    """
    infos = shards_.survey(shards, spec.classes)
    shards_.refuse_duplicates(infos)
    total, rows = sum(info.jets for info in infos), infos[0].rows
    if not total:
        mend = "look at the sample's files, and at what convert.select leaves of them"
        raise InputError(f"there are no {rows} to look at", file=infos[0].path, found=0, mend=mend)
    about = attributes(infos, spec.classes, [1.0] * len(spec.classes), spec.settings)
    own = {"split": np.full(total, SPLITS.index("test"), np.uint8)}
    path = out / "dataset.h5"
    shards_.write(path, infos, own, about)
    provenance.record([path], stage="index", spec=spec.model_dump(mode="json"), inputs=shards, facts={rows: total})
    print(f"[index] {total} {rows} in {len(infos)} shards", flush=True)
