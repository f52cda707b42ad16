"""Splits, scaler, class weights and the index of all shards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunchtrain import provenance
from bunchtrain.config.specs import PrepareSpec
from bunchtrain.errors import InputError
from bunchtrain.events.features import GLOBALS, NODES
from bunchtrain.events.reader import Dataset
from bunchtrain.events.scaling import Moments, Scaler
from bunchtrain.events.splits import SPLITS, assign, event_hash
from bunchtrain.files import write_json
from bunchtrain.prepare import index
from bunchtrain.prepare.audit import audit, content
from bunchtrain.prepare.index import ShardInfo


def prepare(spec: PrepareSpec, shards: list[Path], out: Path) -> None:
    """Write `dataset.h5` (the index), `scaler.json` and `summary.json` into `out`.

    Raises
    ------
    ContractError, InputError
        If a shard is not usable, an input comes twice, an event leaks, or a class is missing from a split.
    """
    infos = index.survey(shards, spec.classes)
    index.refuse_duplicates(infos)
    labels, weights = index.column(infos, "label"), index.column(infos, "weight")
    events, split = _split(infos, spec)
    looked_at = audit(events, np.concatenate([content(info.path) for info in infos]), split)
    counts = _counts(labels, split, spec.classes)
    class_weights = _class_weights(labels, weights, split == SPLITS.index("train"), len(spec.classes))
    attributes = {
        "classes": json.dumps(spec.classes),
        "class_weights": json.dumps(class_weights),
        "particles": spec.settings.constituents,
    }
    index.write(out / "dataset.h5", infos, split, attributes)
    data = Dataset(out / "dataset.h5")
    scaler = fit_scaler(data)
    scaler.save(out / "scaler.json")
    write_json(
        out / "summary.json",
        {
            "classes": spec.classes,
            "jets": counts,
            "class_weights": class_weights,
            "audit": looked_at,
            "shards": len(infos),
        },
    )
    written = [out / "dataset.h5", out / "scaler.json", out / "summary.json"]
    provenance.record(written, stage="prepare", spec=spec.model_dump(mode="json"), inputs=shards, facts=looked_at)
    total = {name: sum(row.values()) for name, row in counts.items()}
    print(f"[prepare] {len(labels)} jets of {looked_at['events']} events in {len(infos)} shards: {total}", flush=True)


def _split(infos: list[ShardInfo], spec: PrepareSpec) -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
    hashes = []
    for info in infos:
        run, event = index.column([info], "run_number"), index.column([info], "event_number")
        hashes.append(event_hash(info.sample, run, event, spec.seed))
    events = np.concatenate(hashes)
    shares = spec.settings.split
    return events, assign(events, (shares.train, shares.validation, shares.test))


def _counts(labels: NDArray[Any], split: NDArray[np.uint8], classes: list[str]) -> dict[str, dict[str, int]]:
    counts = {
        name: {kind: int(np.sum((split == side) & (labels == label))) for label, kind in enumerate(classes)}
        for side, name in enumerate(SPLITS)
    }
    for name, row in counts.items():
        for kind, count in row.items():
            if count == 0:
                raise InputError(
                    "a class has no jet in a split",
                    key=name,
                    found=f"no {kind}",
                    expected="some of every class",
                    mend="add jets",
                )
    return counts


def _class_weights(
    labels: NDArray[Any], weights: NDArray[Any], training: NDArray[np.bool_], classes: int
) -> list[float]:
    """Return the weights that give every class the same sum and the whole training split the mean weight 1."""
    sums = np.bincount(labels[training], weights[training].astype(np.float64), classes)
    if np.any(sums <= 0):
        raise InputError(
            "the event weights of a class do not add up to a positive number", key="weight", found=sums.tolist()
        )
    return [float(value) for value in training.sum() / (classes * sums)]


def fit_scaler(data: Dataset, step: int = 8192) -> Scaler:
    """Fit the scaler to the training split alone, step by step."""
    nodes, jets = Moments(len(NODES)), Moments(len(GLOBALS))
    indices = data.indices("train")
    for start in range(0, len(indices), step):
        features = data.features(indices[start : start + step])
        nodes.add(features.nodes_BPF[features.mask_BP])
        jets.add(features.globals_BG)
    return Scaler.from_moments(nodes, jets)
