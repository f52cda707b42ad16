"""What a trained network says of the test split: of every item that the task tells apart, and on all levels.

B: batch, M: item.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bunchtrain.config.specs import EvaluateSpec
from bunchtrain.errors import InputError, TrainingError
from bunchtrain.evaluate import dropout
from bunchtrain.events.reader import Dataset
from bunchtrain.events.scaling import Scaler
from bunchtrain.levels import Targets
from bunchtrain.models import base as models
from bunchtrain.progress import track
from bunchtrain.tasks.base import Merit, TaskProtocol

#: Jets of one batch; with answers for all pairs of constituents there are fewer.
BATCH, BATCH_OF_PAIRS = 1024, 128

Columns = dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Answers:
    """A network's answers.

    Attributes
    ----------
    columns : dict
        By name, each of shape [M] or [M, C]: `single` pass and its `single_score`; of MC dropout the `mean`, its
        `score` and `spread`, `entropy` and `mutual_information`.
    labels, weights, jets : [M]
        Class and weight of each item, and the index of its jet.
    merit : Merit
        To which all jets were added.
    """

    columns: Columns
    labels: NDArray[np.int64]
    weights: NDArray[np.float64]
    jets: NDArray[np.int64]
    merit: Merit


def weights_of(data: Dataset, task: TaskProtocol, indices: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the weights [B] by which jets are judged: that of the event.

    Where a task does not make classes equal, what a network states follows from the mixture that it saw; so it is
    judged with the mixture of the training, in which the classes of jets weigh the same.
    """
    weights = data.column("weight", indices).astype(np.float64)
    return weights if task.balanced else weights * data.class_weights[data.column("label", indices)]


def answer(spec: EvaluateSpec, data: Dataset, task: TaskProtocol, folder: Path, indices: NDArray[np.int64]) -> Answers:
    """Return the answers of the network in `folder` for some jets.

    Raises
    ------
    InputError
        If the network was trained for other classes or inputs.
    TrainingError
        If an answer is not finite.
    """
    model, card = models.load_model(folder)
    if card["classes"] != data.classes:
        raise InputError(
            "a network was trained for other classes", file=folder, found=card["classes"], expected=data.classes
        )
    scaler = Scaler(**card["scaler"])
    scaler.require(data.inputs, data.variables, data.path)
    data.require(task.truth)
    merit, parts = task.merit(), []
    size = BATCH_OF_PAIRS if task.widths.edges else BATCH
    starts = range(0, len(indices), size)
    for start in track(starts, len(starts), f"evaluate {folder.name}"):
        chosen = indices[start : start + size]
        features = scaler(data.features(chosen, card["particles"])).of_width(card["shape"]["globals"])
        inputs = tuple(torch.from_numpy(values) for values in features)
        targets = _targets(data, task, chosen, inputs[3])
        parts.append(_batch(spec, task, model, inputs, targets, merit, seed=spec.seed + start))
        parts[-1]["jets"] = chosen[parts[-1]["jets"]]
    return _joined(parts, merit, folder)


def _targets(data: Dataset, task: TaskProtocol, chosen: NDArray[np.int64], mask_BP: torch.Tensor) -> Targets:
    labels = torch.from_numpy(data.column("label", chosen).astype(np.int64))
    truth = torch.from_numpy(data.truth(task.truth, chosen, mask_BP.shape[1]))
    return Targets(labels, torch.from_numpy(weights_of(data, task, chosen)), truth, mask_BP)


def _batch(
    spec: EvaluateSpec,
    task: TaskProtocol,
    model: torch.nn.Module,
    inputs: tuple[torch.Tensor, ...],
    targets: Targets,
    merit: Merit,
    *,
    seed: int,
) -> dict[str, NDArray[Any]]:
    """Return the columns of a batch's items, and add the batch to the figures of merit."""
    model.eval()
    with torch.no_grad():
        logits = model(*inputs)
        items = task.items(logits, targets)
        merit.add(inputs[1], logits, targets)
    single = items.probabilities_MC.double()
    dropout.switch_on(model)
    posterior = dropout.predict(
        model,
        inputs,
        lambda logits: task.items(logits, targets).probabilities_MC,
        task.discriminant,
        levels=(task.level,),
        passes=spec.settings.passes,
        seed=seed,
    )
    names = ("mean", "score", "spread", "entropy", "mutual_information")
    found = {"single": single, "single_score": task.discriminant(single), **dict(zip(names, posterior, strict=True))}
    found |= {"labels": items.labels_M, "weights": items.weights_M.double(), "jets": items.rows_M}
    return {name: tensor.numpy() for name, tensor in found.items()}


def _joined(parts: list[dict[str, NDArray[Any]]], merit: Merit, folder: Path) -> Answers:
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    labels, weights, jets = (columns.pop(name) for name in ("labels", "weights", "jets"))
    for name, values in columns.items():
        if not np.isfinite(values).all():
            raise TrainingError("a network answers with NaN or infinity", file=folder, key=name, mend="train again")
    return Answers(columns, labels, weights, jets, merit)
