"""One training, from the index of the events to weights, card and history."""

from __future__ import annotations

import contextlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bunchtrain import provenance
from bunchtrain.config.campaign import parse_section
from bunchtrain.config.specs import TrainSpec
from bunchtrain.config.train import Train
from bunchtrain.errors import InputError
from bunchtrain.events.features import GLOBALS, NODES
from bunchtrain.events.reader import Dataset
from bunchtrain.events.scaling import Scaler
from bunchtrain.files import exclusive, fingerprint, read_json, sha256, write_json
from bunchtrain.models import base as models
from bunchtrain.parallel import base as parallels
from bunchtrain.parallel.base import ParallelProtocol
from bunchtrain.tasks import base as tasks
from bunchtrain.train.batches import BatchSource
from bunchtrain.train.loop import Split, Trainer

HISTORY = "history.json"


def train(
    spec: TrainSpec, dataset: Path, scaler: Path, out: Path, *, best: Path | None = None, threads: int = 1
) -> None:
    """Train and write `model.safetensors`, `model.json` and `history.json` into `out`.

    Parameters
    ----------
    spec : TrainSpec
        Task, model, settings and seed.
    dataset, scaler : path
        What `prepare` wrote.
    out : path
        Folder of this training. A checkpoint inside lets an interrupted training go on; it is removed at the end.
    best : path, optional
        The scan's best configuration, which replaces values of `spec`.
    threads : int
        CPU threads of each rank.
    """
    torch.set_num_threads(threads)
    spec = with_best(spec, best)
    parallel = parallels.start(spec.settings.backend)
    with exclusive(out / ".lock") if parallel.rank == 0 else contextlib.nullcontext():
        parallel.barrier()
        _train(spec, dataset, scaler, out, parallel, [dataset, scaler, *([best] if best else [])])
    # Only after success: a rank that fails leaves at once and its launcher ends the others.
    parallel.shutdown()


def with_best(spec: TrainSpec, best: Path | None) -> TrainSpec:
    """Return `spec` with the values that the scan found, checked again."""
    if best is None:
        return spec
    found: dict[str, Any] = read_json(best)["values"]
    model, settings = dict(spec.model), spec.settings.model_dump()
    for name, value in found.items():
        section, _, key = name.partition(".")
        (model if section == "model" else settings)[key] = value
    return spec.model_copy(update={"model": model, "settings": parse_section(Train, settings, best)})


def _train(
    spec: TrainSpec, dataset: Path, scaler_path: Path, out: Path, parallel: ParallelProtocol, inputs: list[Path]
) -> None:
    data, scaler = Dataset(dataset), Scaler.load(scaler_path)
    say = _speaker(parallel)
    identity = fingerprint([spec.model_dump(mode="json"), sha256(dataset), sha256(scaler_path), parallel.size])
    if _finished(out, identity):
        say("this training is finished")
        return
    task = tasks.build(spec.task, data.classes)
    shape = models.Shape(len(NODES), len(GLOBALS), task.outputs)
    torch.manual_seed(spec.seed)
    model = models.build(spec.model, shape)
    trainer = Trainer(
        model,
        task,
        parallel,
        spec.settings,
        seed=spec.seed,
        fingerprint=identity,
        checkpoint_path=out / "checkpoint.safetensors",
        say=say,
    )
    train_split = _split(data, scaler, "train", spec.settings.max_jets, spec.seed)
    kept = max(1, round(len(data.indices("validation")) * spec.settings.validate_fraction))
    validation = _split(data, scaler, "validation", kept, spec.seed)
    say(
        f"{spec.model['kind']} with {sum(p.numel() for p in model.parameters())} weights "
        f"on {len(train_split.indices)} jets, "
        f"{parallel.size} rank(s) of {parallel.name}"
    )
    model.load_state_dict(trainer.fit(train_split, validation))
    if parallel.rank == 0:
        scaled = {"classes": data.classes, "particles": data.particles, "scaler": asdict(scaler)}
        _keep(trainer, spec, {"fingerprint": identity, "shape": shape._asdict(), **scaled}, out, inputs)
    parallel.barrier()


def _keep(trainer: Trainer, spec: TrainSpec, about: dict[str, Any], out: Path, inputs: list[Path]) -> None:
    """Write weights, card, history and records; then the checkpoint has served."""
    facts = {"seed": spec.seed, "ranks": trainer.parallel.size, "backend": trainer.parallel.name}
    training = {"settings": spec.settings.model_dump(), **facts}
    card = {"model": spec.model, "task": spec.task, "training": training, **about}
    written = models.save_model(out, trainer.model, card)
    progress = trainer.progress
    history = {"rows": progress.history, "best_epoch": progress.best_epoch + 1, "ranks": facts["ranks"]}
    write_json(out / HISTORY, history)
    outputs = [*written, out / HISTORY]
    provenance.record(outputs, stage="train", spec=spec.model_dump(mode="json"), inputs=inputs, facts=facts)
    trainer.path.unlink(missing_ok=True)


def _finished(out: Path, identity: str) -> bool:
    """Return whether `out` holds this very training's result, e.g. by a process that outlived its driver."""
    outputs = [out / name for name in (models.WEIGHTS, models.CARD, HISTORY)]
    records = [provenance.record_path(output) for output in outputs]
    if not all(path.exists() for path in (*outputs, *records)):
        return False
    return bool(read_json(out / models.CARD).get("fingerprint") == identity)


def _split(data: Dataset, scaler: Scaler, name: str, most: int | None, seed: int) -> Split:
    indices: NDArray[np.int64] = data.indices(name)
    if len(indices) == 0:
        raise InputError(
            "a split has no jets", file=data.path, key=name, mend="convert more jets, or change prepare.split"
        )
    if most is not None and most < len(indices):
        indices = np.sort(np.random.default_rng([seed, len(indices)]).choice(indices, most, replace=False))
    return Split(indices, BatchSource(data, scaler, indices))


def _speaker(parallel: ParallelProtocol) -> Any:
    def say(text: str) -> None:
        if parallel.rank == 0:
            print(f"[train] {text}", flush=True)

    return say
