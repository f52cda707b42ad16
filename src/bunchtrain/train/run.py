"""One training, from the index of the events to weights, card and history."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bunchtrain import provenance
from bunchtrain.config import literals
from bunchtrain.config.base import Kind
from bunchtrain.config.campaign import parse_section
from bunchtrain.config.explain import checked_kind
from bunchtrain.config.specs import TrainSpec, with_best
from bunchtrain.errors import CampaignError, InputError
from bunchtrain.events.layout import CONTRACT
from bunchtrain.files import exclusive, read_json, sha256, write_json
from bunchtrain.models import base as models
from bunchtrain.parallel import base as parallels
from bunchtrain.parallel import pin
from bunchtrain.parallel.base import ParallelProtocol, Wire
from bunchtrain.tasks import base as tasks
from bunchtrain.train import rows
from bunchtrain.train.checkpoint import Checkpoints
from bunchtrain.train.device import be_deterministic, choose
from bunchtrain.train.launch import check_ranks
from bunchtrain.train.loop import Split, Trainer
from bunchtrain.train.memory import keep_freed
from bunchtrain.train.optimise import Optimisation
from bunchtrain.train.tracking import STEPS, Tracker

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
        Folder of this training. Checkpoints inside let an interrupted training go on; they are removed at the end.
    best : path, optional
        The scan's best configuration, which replaces values of `spec`.
    threads : int
        CPU threads of each rank.
    """
    pin(threads)
    torch.set_num_threads(threads)
    keep_freed()
    spec = with_best(spec, best)
    _check_kinds(spec)
    settings = spec.settings
    device = choose(settings)
    if settings.deterministic:
        be_deterministic()
    parallel = parallels.start(
        settings.backend, Wire(settings.compression, fusion_mb=settings.fusion_mb, cycle_ms=settings.cycle_ms)
    )
    check_ranks(settings, parallel.size)
    with exclusive(out / ".lock") if parallel.rank == 0 else contextlib.nullcontext():
        parallel.barrier()
        _train(spec, dataset, scaler, out, parallel, device, [dataset, scaler, *([best] if best else [])])
    # Only after success: a rank that fails leaves at once and its launcher ends the others.
    parallel.shutdown()


def _check_kinds(spec: TrainSpec) -> None:
    """Refuse networks and tasks that the spec cannot mean; a campaign's spec was checked with the campaign."""
    for key, family in (("model", "models"), ("task", "tasks")):
        checked_kind(parse_section(Kind, getattr(spec, key), f"--spec, {key}"), family, key, "--spec")
    fit, network = literals.taking(spec.task["kind"]), spec.model["kind"]
    if network not in fit:
        problem = f"the network takes no {literals.rows('tasks', spec.task['kind'])}, which the task has"
        raise CampaignError(problem, file="--spec", key="model.kind", found=network, choices=fit)


def _train(
    spec: TrainSpec,
    dataset: Path,
    scaler_path: Path,
    out: Path,
    parallel: ParallelProtocol,
    device: torch.device,
    inputs: list[Path],
) -> None:
    seen = rows.opened(spec.task["kind"], spec.model["kind"], dataset, scaler_path, spec.physics)
    settings = spec.settings
    data = seen.data
    say = _speaker(parallel)
    checkpoints = Checkpoints(out, identity(spec, dataset, scaler_path), settings.keep)
    if _finished(out, checkpoints.fingerprint):
        say("this training is finished")
        if parallel.rank == 0:
            checkpoints.clear()  # a kill may have come between the last record and this
        return
    task = tasks.build(spec.task, data.classes)
    shape = seen.shape(task.widths)
    torch.manual_seed(spec.seed)
    model = models.build(spec.model, shape)
    if isinstance(seen, rows.Surrogated):
        seen.adjust(model, spec.seed)
    state = Optimisation(model, task, parallel, settings, device)
    tracker = Tracker(out if parallel.rank == 0 else None, settings.log_every, settings.tensorboard)
    trainer = Trainer(state, checkpoints, tracker, seed=spec.seed, say=say, stops=spec.stops)
    kept = max(1, round(len(data.indices("validation")) * settings.validate_fraction))
    splits = [
        _split(seen, name, most, spec, state) for name, most in (("train", settings.max_jets), ("validation", kept))
    ]
    say(
        f"{spec.model['kind']} with {sum(p.numel() for p in state.model.parameters())} weights "
        f"on {len(splits[0].indices)} {data.ROWS}, {parallel.size} rank(s) of {parallel.name}, {device.type}"
    )
    if told := tasks.rows_told(task, data, splits[0].indices):
        say(told)
    state.judged.load_state_dict(trainer.fit(*splits))
    if parallel.rank == 0:
        shown = {"classes": data.classes, **seen.about}
        about = {"fingerprint": checkpoints.fingerprint, "shape": shape._asdict(), **shown}
        _keep(trainer, spec, about, out, inputs)
    parallel.barrier()


#: Settings that change neither the result nor what a checkpoint holds.
_FREE = {
    "backend",
    "device",
    "seeds",
    "fusion_mb",
    "cycle_ms",
    "restarts",
    "checkpoint_minutes",
    "keep",
    "log_every",
    "tensorboard",
    "ranks",
    "accumulation",
}


def identity(spec: TrainSpec, dataset: Path, scaler: Path) -> dict[str, Any]:
    """Return all that a training's result depends on; where it runs does not belong to it."""
    values = spec.model_dump(mode="json")
    values["settings"] = {name: value for name, value in values["settings"].items() if name not in _FREE}
    values["settings"]["pieces"] = spec.settings.pieces
    return {**values, "dataset": sha256(dataset), "scaler": sha256(scaler), "contract": CONTRACT}


def _keep(trainer: Trainer, spec: TrainSpec, about: dict[str, Any], out: Path, inputs: list[Path]) -> None:
    """Write weights, card, history and records; then the checkpoint has served."""
    parallel = trainer.parallel
    device = trainer.state.device.type
    facts = {"seed": spec.seed, "ranks": parallel.size, "backend": parallel.name, "device": device}
    training = {"settings": spec.settings.model_dump(), **facts}
    card = {"model": spec.model, "task": spec.task, "training": training, **about}
    written = models.save_model(out, trainer.state.judged, card)
    progress = trainer.progress
    history = {"rows": progress.history, "best_epoch": progress.best_epoch + 1, "ranks": facts["ranks"]}
    history |= {"stopped_early": trainer.stopped_early} if spec.stops else {}
    if warnings := tasks.warnings(trainer.state.task, progress.history[progress.best_epoch]):
        history["warnings"] = warnings
        print(*(f"[train] warning: {one}" for one in warnings), sep="\n", flush=True)
    write_json(out / HISTORY, history)
    outputs = [*written, out / HISTORY, out / STEPS]
    provenance.record(outputs, stage="train", spec=spec.model_dump(mode="json"), inputs=inputs, facts=facts)
    trainer.tracker.close()
    trainer.checkpoints.clear()


def _finished(out: Path, identity: str) -> bool:
    """Return whether `out` holds this very training's result, e.g. by a process that outlived its driver."""
    outputs = [out / name for name in (models.WEIGHTS, models.CARD, HISTORY, STEPS)]
    records = [provenance.record_path(output) for output in outputs]
    if not all(path.exists() for path in (*outputs, *records)):
        return False
    try:
        card, history = read_json(out / models.CARD), read_json(out / HISTORY)
    except InputError:
        return False
    whole = isinstance(card, dict) and card.get("weights_sha256") == sha256(out / models.WEIGHTS)
    return whole and isinstance(history, dict) and "rows" in history and bool(card.get("fingerprint") == identity)


def _split(
    seen: rows.Jets | rows.Events | rows.Surrogated, name: str, most: int | None, spec: TrainSpec, state: Optimisation
) -> Split:
    data, indices, seed = seen.data, seen.data.indices(name), spec.seed
    if len(indices) == 0:
        mend = f"convert more {data.ROWS}, or change prepare.split"
        raise InputError(f"a split has no {data.ROWS}", file=data.path, key=name, mend=mend)
    if most is not None and most < len(indices):
        indices = np.sort(np.random.default_rng([seed, len(indices)]).choice(indices, most, replace=False))
    about = indices, (state.precision.dtype, state.device), state.settings.padding, state.task
    if name == "train" and spec.variations and isinstance(seen, rows.Jets):
        return Split(indices, seen.varied(*about, spec.variations, seed))
    return Split(indices, seen.source(*about))


def _speaker(parallel: ParallelProtocol) -> Any:
    def say(text: str) -> None:
        if parallel.rank == 0:
            print(f"[train] {text}", flush=True)

    return say
