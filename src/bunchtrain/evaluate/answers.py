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

from bunchtrain import dropout
from bunchtrain.config.specs import EvaluateSpec
from bunchtrain.discrimination import Scores
from bunchtrain.errors import InputError, TrainingError
from bunchtrain.evaluate.batches import Batches, Part
from bunchtrain.evaluate.lastlayer import LastLayer, watched
from bunchtrain.events.reader import Index
from bunchtrain.models import base as models
from bunchtrain.progress import track
from bunchtrain.tasks.base import Merit, TaskProtocol

Columns = dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Answers:
    """A network's answers.

    Attributes
    ----------
    columns : dict
        By name, each of shape [M] or [M, C]: `single` pass and its `single_score`; of MC dropout the `mean`, its
        `score` and `spread`, `entropy` and `mutual_information`; what the last layer says, see `LastLayer.columns`.
    labels, weights, jets : [M]
        Class and weight of each item, and the index of its jet or event.
    merit : Merit
        To which all rows were added.
    """

    columns: Columns
    labels: NDArray[np.int64]
    weights: NDArray[np.float64]
    jets: NDArray[np.int64]
    merit: Merit

    def scores(
        self, score_M: NDArray[Any], signal: int, background: int, often_M: NDArray[np.int64] | None = None
    ) -> Scores:
        """Return the scores of two classes with their weights, each item as often as is said, else once."""
        weights = self.weights if often_M is None else self.weights * often_M
        chosen = [self.labels == number for number in (signal, background)]
        return Scores(*(score_M[one] for one in chosen), *(weights[one] for one in chosen))


def answer(
    spec: EvaluateSpec,
    data: Index,
    task: TaskProtocol,
    folder: Path,
    indices: NDArray[np.int64],
    *,
    passes: int,
    last: LastLayer | None = None,
    judged: bool = True,
) -> Answers:
    """Return the answers of the network in `folder` for some rows.

    Parameters
    ----------
    spec : EvaluateSpec
    data : Index
    task : TaskProtocol
    folder : path
    indices : int64 [N]
        The rows.
    passes : int
        Of MC dropout; 0 for a single pass alone, then there are no columns of MC dropout.
    last : LastLayer, optional
        Fitted to this network.
    judged : bool
        Whether the task's figures of merit are added up too.

    Raises
    ------
    InputError
        If the network was trained for other classes or inputs.
    CampaignError
        If MC dropout is asked for and the network has no dropout.
    TrainingError
        If an answer is not finite.
    """
    model, card = load(data, task, folder)
    if not len(indices):
        problem, mend = f"there are no {data.ROWS} to answer for", "take more of them, or change prepare.split"
        raise InputError(problem, file=data.path, found=0, expected="some in every split", mend=mend)
    merit, parts, batches = task.merit() if judged else Merit(), [], Batches(data, task, card, indices)
    start = 0
    for step in track(batches, len(batches), f"evaluate {folder.name}"):
        for part in step:
            seed = spec.seed + start
            columns = _single(task, model, part, merit, last, seed)
            if passes:
                columns |= _posterior(task, model, part, passes, seed)
            parts.append(columns)
            parts[-1]["jets"] = part.rows[parts[-1]["jets"]]
            start += len(part.rows)
    return _joined(parts, merit, folder)


def load(data: Index, task: TaskProtocol, folder: Path) -> tuple[torch.nn.Module, dict[str, Any]]:
    """Return the network in `folder` and its card, if it was trained for these classes and this task.

    Raises
    ------
    InputError
        If it was not.
    """
    model, card = models.load_model(folder)
    if card["classes"] != data.classes:
        raise InputError(
            "a network was trained for other classes", file=folder, found=card["classes"], expected=data.classes
        )
    _require_answers(card, task, folder)
    return model, card


def _require_answers(card: dict[str, Any], task: TaskProtocol, folder: Path) -> None:
    """Refuse a network that was trained for another task, by how many answers it has on each level."""
    if not hasattr(task, "items"):
        problem, mend = "the task tells no classes apart, on which this rests", "judge it by `bunchtrain evaluate`"
        raise InputError(problem, file=folder, key="task", found=card["task"]["kind"], mend=mend)
    names = ("outputs", "node_outputs", "edge_outputs")
    found, expected = tuple(card["shape"].get(name, 0) for name in names), tuple(task.widths)
    if found != expected:
        told = [f"{row[0]} for a whole, {row[1]} for each node, {row[2]} for each edge" for row in (found, expected)]
        problem, mend = "a network has the answers of another task", "name a training of this task, or train again"
        raise InputError(problem, file=folder, key="task", found=told[0], expected=told[1], mend=mend)


def _single(
    task: TaskProtocol, model: torch.nn.Module, part: Part, merit: Merit, last: LastLayer | None, seed: int
) -> dict[str, NDArray[Any]]:
    """Return the columns of a batch's items from a pass without dropout, and add the batch to the figures of merit."""
    model.eval()
    with torch.no_grad():
        logits, features = watched(model, part.inputs)
        items = task.items(logits, part.targets)
        merit.add(part.seen, logits, part.targets)
    single = items.probabilities_MC.double()
    found = {"single": single, "single_score": task.discriminant(single)}
    if last is not None and features is not None:
        found |= last.columns(features, logits.graph_BC, task.discriminant, seed)
    found |= {"labels": items.labels_M, "weights": items.weights_M.double(), "jets": items.rows_M}
    return {name: tensor.numpy() for name, tensor in found.items()}


def _posterior(
    task: TaskProtocol, model: torch.nn.Module, part: Part, passes: int, seed: int
) -> dict[str, NDArray[Any]]:
    """Return the columns of MC dropout."""
    dropout.switch_on(model)
    posterior = dropout.predict(
        model,
        part.inputs,
        lambda logits: task.items(logits, part.targets).probabilities_MC,
        task.discriminant,
        levels=(task.level,),
        passes=passes,
        seed=seed,
    )
    names = ("mean", "score", "spread", "entropy", "mutual_information")
    return {name: tensor.numpy() for name, tensor in zip(names, posterior, strict=True)}


def _joined(parts: list[dict[str, NDArray[Any]]], merit: Merit, folder: Path) -> Answers:
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    labels, weights, jets = (columns.pop(name) for name in ("labels", "weights", "jets"))
    for name, values in columns.items():
        if not np.isfinite(values).all():
            raise TrainingError("a network answers with NaN or infinity", file=folder, key=name, mend="train again")
    return Answers(columns, labels, weights, jets, merit)
