"""What the stage works on: the tagger, its answers, and the jets as the core sees them.

B: batch, I: input, C: class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bunchtrain.config.specs import SynthesizeSpec
from bunchtrain.errors import CampaignError, InputError
from bunchtrain.events.features import Features
from bunchtrain.events.reader import Dataset
from bunchtrain.events.scaling import Scaler
from bunchtrain.models.base import CARD, load_model
from bunchtrain.synth import inputs
from bunchtrain.synth.student import Lesson
from bunchtrain.tasks import base as tasks
from bunchtrain.tasks.base import TaskProtocol

#: Jets that a student of this size learns from; more do not change it.
MOST_JETS = 200_000

#: Threads of the tagger: fixed, so that its answers do not depend on the machine's load.
_THREADS = 2

_BATCH = 1024


@dataclass(frozen=True)
class Jets:
    """Jets by which students are judged: test jets, unless a search is choosing.

    Parameters
    ----------
    codes_BI : int64 [B, I]
        The core's inputs.
    labels_B : int64 [B]
        Classes.
    weights_B : float64 [B]
        Event weights.
    teacher_BC : float32 [B, C]
        The tagger's logits.
    """

    codes_BI: NDArray[np.int64]
    labels_B: NDArray[np.int64]
    weights_B: NDArray[np.float64]
    teacher_BC: NDArray[np.float32]


@dataclass(frozen=True)
class Material:
    """Everything that the student learns from and is judged by."""

    task: TaskProtocol
    classes: list[str]
    encoding: inputs.Encoding
    lesson: Lesson
    test: Jets


def gather(spec: SynthesizeSpec, dataset: Path, model: Path, *, judged_on: str = "test") -> Material:
    """Read the tagger and the jets, and encode what the core will see.

    A search chooses among its students by the split `validation`, so that the test jets stay unseen by it.

    Raises
    ------
    InputError
        If tagger and data set do not belong together.
    CampaignError
        If the student wants more constituents than the data set keeps.
    """
    data = Dataset(dataset)
    settings = spec.settings.student
    if settings.constituents > data.particles:
        raise CampaignError(
            "the student sees more constituents than the data set keeps",
            key="synthesize.student.constituents",
            found=settings.constituents,
            expected=f"at most {data.particles} (prepare.constituents)",
        )
    task = tasks.build(spec.task, data.classes)
    teacher, card = load_model(model)
    if list(card["classes"]) != data.classes or int(card.get("particles", data.particles)) != data.particles:
        raise InputError(
            "the tagger was trained on another data set",
            file=model / CARD,
            found=f"{card['classes']}, {card.get('particles')} constituents",
            expected=f"{data.classes}, {data.particles} constituents",
            mend="run train again",
        )
    scaler = Scaler(**card["scaler"])
    scaler.require(data.inputs, data.variables, data.path)
    width = card["shape"]["globals"]
    training = _chosen(data.indices("train"), MOST_JETS, spec.seed)
    test = _chosen(data.indices(judged_on), spec.settings.vectors, spec.seed)
    seen = data.features(training)
    quantities_BI = inputs.quantities(seen, settings.constituents)
    encoding = inputs.Encoding.fit(quantities_BI, inputs.names(settings.constituents), settings.activation_bits)
    labels_B = data.column("label", training).astype(np.int64)
    weights_B = data.column("weight", training) * data.class_weights[labels_B]
    lesson = Lesson(
        torch.from_numpy(encoding.values(encoding.codes(quantities_BI))).float(),
        torch.from_numpy(answers(teacher, scaler(seen).of_width(width))),
        torch.from_numpy(labels_B),
        torch.from_numpy(weights_B).float(),
        inputs.angle_columns(encoding.names),
    )
    return Material(
        task, data.classes, encoding, lesson, _test_jets(data, test, teacher, scaler, encoding, settings, width)
    )


def _test_jets(
    data: Dataset,
    indices: NDArray[np.int64],
    teacher: nn.Module,
    scaler: Scaler,
    encoding: inputs.Encoding,
    settings: Any,
    width: int,
) -> Jets:
    seen = data.features(indices)
    quantities_BI = inputs.quantities(seen, settings.constituents)
    labels_B = data.column("label", indices).astype(np.int64)
    weights_B = data.column("weight", indices).astype(np.float64)
    return Jets(encoding.codes(quantities_BI), labels_B, weights_B, answers(teacher, scaler(seen).of_width(width)))


def _chosen(indices: NDArray[np.int64], most: int, seed: int) -> NDArray[np.int64]:
    """Return at most `most` of the indices, drawn without repetition, in their order."""
    if len(indices) <= most:
        return indices
    return np.sort(np.random.default_rng(seed).choice(indices, most, replace=False))


def _logits(teacher: nn.Module, inputs: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = teacher(*map(torch.from_numpy, inputs)).graph_BC.numpy()
    return found


def answers(teacher: nn.Module, features: Features) -> NDArray[np.float32]:
    """Return the tagger's logits for scaled features, shape [B, C]."""
    before = torch.get_num_threads()
    torch.set_num_threads(_THREADS)
    try:
        with torch.inference_mode():
            parts = [
                _logits(teacher, [values[start : start + _BATCH] for values in features])
                for start in range(0, len(features.mask_BP), _BATCH)
            ]
    finally:
        torch.set_num_threads(before)
    return np.concatenate(parts).astype(np.float32)
