"""Splits, scaler, weights and the index of all shards."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunchtrain import provenance
from bunchtrain.config.prepare import Prepare, Split
from bunchtrain.config.specs import PrepareSpec
from bunchtrain.errors import CampaignError, InputError
from bunchtrain.events.hitdata import HitDataset
from bunchtrain.events.hitscaling import GraphScaler
from bunchtrain.events.reader import Dataset
from bunchtrain.events.responses import ITEMS, ParameterScaler
from bunchtrain.events.scaling import Moments, Quantiles, Scaler
from bunchtrain.events.splits import SPLITS, assign, assign_folds, assign_parity, event_hash
from bunchtrain.files import write_json
from bunchtrain.prepare import hits, index, responses
from bunchtrain.prepare.audit import audit, content
from bunchtrain.prepare.index import ShardInfo
from bunchtrain.prepare.weights import class_weights, kinematic

#: Jets whose features are computed at once.
_STEP = 8192

#: Rows of a split below which a word is said.
FEW = 20


def prepare(spec: PrepareSpec, shards: list[Path], out: Path, *, threads: int = 1) -> None:
    """Write `dataset.h5` (the index), `scaler.json` and `summary.json` into `out`.

    Raises
    ------
    ContractError, InputError, CampaignError
        If a shard is not usable, an input comes twice, an event leaks, a class is missing from a split, or the classes
        have no bin in common that they could be reweighted in.
    """
    infos = index.survey(shards, spec.classes)
    index.refuse_duplicates(infos)
    rows = infos[0].rows
    if rows != "jets":
        spec.settings.refuse_keys_of_jets(rows=rows)
    names = ("label", "weight", *(("pt", "eta") if rows == "jets" else ()))
    columns = {name: index.column(infos, name) for name in names}
    labels, weights = columns["label"], columns["weight"]
    events, split = assigned(infos, spec.settings.split, spec.seed)
    training = split == SPLITS.index("train")
    looked_at = audit(events, np.concatenate([content(info.path) for info in infos]), split, rows[:-1])
    counts = _counts(labels, split, spec.classes, rows[:-1])
    own: dict[str, NDArray[Any]] = {"split": split}
    if spec.settings.reweight is not None:
        own["kinematic_weight"] = kinematic(spec.settings.reweight, spec.classes, columns, training)
        weights = weights * own["kinematic_weight"]
    by_class = class_weights(labels, weights, training, len(spec.classes))
    index.write(out / "dataset.h5", infos, own, attributes(infos, spec.classes, by_class, spec.settings))
    _fitted(out / "dataset.h5", rows, spec.settings.scaler, threads).save(out / "scaler.json")
    summary = {"rows": rows, "classes": spec.classes, "jets": counts, "class_weights": by_class, "audit": looked_at}
    write_json(out / "summary.json", {**summary, "shards": len(infos), "scheme": spec.settings.split.scheme})
    written = [out / "dataset.h5", out / "scaler.json", out / "summary.json"]
    provenance.record(written, stage="prepare", spec=spec.model_dump(mode="json"), inputs=shards, facts=looked_at)
    total = {name: sum(one.values()) for name, one in counts.items()}
    told = f" of {looked_at['events']} events" if rows == "jets" else ""
    print(f"[prepare] {len(labels)} {rows}{told} in {len(infos)} shards: {total}", flush=True)
    for name, number in total.items():
        if number < FEW:
            print(f"[prepare] {name} has {number} {rows}: what they decide or show is mostly chance", flush=True)


def attributes(
    infos: Sequence[ShardInfo], classes: list[str], weights: list[float], settings: Prepare
) -> dict[str, Any]:
    """Return what an index says of its rows: classes with their weights, and what a network sees of a row.

    Raises
    ------
    InputError
        If a shard has not the columns that the settings name.
    """
    index.require(infos, "constituents", settings.inputs, "prepare.inputs")
    index.require(infos, "jets", settings.variables, "prepare.variables")
    about = {
        "classes": json.dumps(classes),
        "class_weights": json.dumps(weights),
        "particles": settings.constituents,
        "inputs": json.dumps(settings.inputs),
        "variables": json.dumps(settings.variables),
    }
    further = {"events": hits.attributes, **dict.fromkeys(ITEMS, responses.attributes)}.get(infos[0].rows)
    return about | further(infos, settings) if further else about


def assigned(infos: Sequence[ShardInfo], split: Split, seed: int) -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
    """Return the hash of each row's event and the split that it is in, an index into `SPLITS`, each of shape [N].

    Raises
    ------
    CampaignError
        If the split goes by event numbers and a sample has none.
    """
    hashes, numbers = [], []
    for info in infos:
        if split.scheme == "even_odd" and info.attributes["jets/event_number"].get("source_branch") == "":
            raise CampaignError(
                "even and odd need event numbers, and a sample has none",
                file=info.path,
                key="prepare.split.scheme",
                found="even_odd",
                mend="name the event number under convert.format, or take another scheme",
            )
        run, event = index.column([info], "run_number"), index.column([info], "event_number")
        hashes.append(event_hash(info.sample, run, event, seed))
        numbers.append(event)
    events = np.concatenate(hashes)
    return events, _assigned(events, np.concatenate(numbers), split)


def _assigned(events: NDArray[np.uint64], numbers: NDArray[Any], split: Split) -> NDArray[np.uint8]:
    if split.scheme == "folds":
        return assign_folds(events, split.folds, split.fold)
    if split.scheme == "even_odd":
        return assign_parity(events, numbers, split.validation)
    return assign(events, (split.train, split.validation, split.test))


def _counts(labels: NDArray[Any], split: NDArray[np.uint8], classes: list[str], row: str) -> dict[str, dict[str, int]]:
    counts = {
        name: {kind: int(np.sum((split == side) & (labels == label))) for label, kind in enumerate(classes)}
        for side, name in enumerate(SPLITS)
    }
    for name, found in counts.items():
        for kind, count in found.items():
            if count == 0:
                raise InputError(
                    f"a class has no {row} in a split",
                    key=name,
                    found=f"no {kind}",
                    expected="some of every class",
                    mend=f"add {row}s",
                )
    return counts


def _fitted(dataset: Path, rows: str, kind: str, threads: int) -> Scaler | GraphScaler | ParameterScaler:
    if rows in ITEMS:
        return responses.fit_scaler(rows, dataset)
    if rows == "events":
        return hits.fit_scaler(HitDataset(dataset), kind, threads)
    return fit_scaler(Dataset(dataset), kind, threads)


def fit_scaler(data: Dataset, kind: str = "standard", threads: int = 1) -> Scaler:
    """Fit the scaler to the training split alone, in one pass.

    The parts are the same and merge in the same order however many threads there are: so is the result.
    """
    make: Any = Quantiles if kind == "robust" else Moments
    indices = data.indices("train")
    parts = [indices[start : start + _STEP] for start in range(0, len(indices), _STEP)]
    nodes, jets = make(len(data.nodes)), make(len(data.globals))
    with ThreadPoolExecutor(threads) as pool:
        for of_nodes, of_jets in pool.map(partial(_statistics, data, make), parts):
            nodes.merge(of_nodes)
            jets.merge(of_jets)
    return Scaler.fitted(nodes, jets, data.inputs, data.variables)


def _statistics(data: Dataset, make: Any, indices: NDArray[np.int64]) -> tuple[Any, Any]:
    features = data.features(indices)
    nodes, jets = make(len(data.nodes)), make(len(data.globals))
    nodes.add(features.nodes_BPF[features.mask_BP])
    jets.add(features.globals_BG)
    return nodes, jets
