"""What the stage works on: the tagger's answers, and the jets as the core sees them.

B: batch, I: input, C: class.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bunchtrain.config.specs import SynthesizeSpec
from bunchtrain.errors import CampaignError, InputError
from bunchtrain.events.features import Features
from bunchtrain.events.reader import Dataset
from bunchtrain.events.splits import at_most
from bunchtrain.synth import inputs
from bunchtrain.synth.posterior import Scale
from bunchtrain.synth.student import Lesson
from bunchtrain.synth.tagger import Tagger
from bunchtrain.tasks.base import TaskProtocol

#: Jets that a student of this size learns from; more do not change it.
MOST_JETS = 200_000


@dataclass(frozen=True)
class Jets:
    """Jets as the core sees them.

    Parameters
    ----------
    codes_BI : int64 [B, I]
        The core's inputs.
    labels_B : int64 [B]
        Classes.
    weights_B : float64 [B]
        Event weights.
    """

    codes_BI: NDArray[np.int64]
    labels_B: NDArray[np.int64]
    weights_B: NDArray[np.float64]


@dataclass(frozen=True)
class Taught(Jets):
    """Jets by which students are judged beside their tagger: test jets, unless a search is choosing.

    Parameters
    ----------
    teacher_BC : float32 [B, C]
        The tagger's logits.
    log2_spread_B : float64 [B], optional
        Spread of the tagger's passes, where the student learns it; see `posterior`.
    """

    teacher_BC: NDArray[np.float32]
    log2_spread_B: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Material:
    """Everything that the student learns from and is judged by.

    Parameters
    ----------
    task : TaskProtocol
    classes : list of str
    encoding : Encoding
    lesson : Lesson
    test : Taught
    validation : Jets, optional
        By which thresholds are chosen.
    unfamiliar : mapping
        Jets of samples that no network has learnt from, by name: their labels mean nothing.
    spread : Scale, optional
        How the answer behind those of the classes is read, if there is one.
    """

    task: TaskProtocol
    classes: list[str]
    encoding: inputs.Encoding
    lesson: Lesson
    test: Taught
    validation: Jets | None = None
    unfamiliar: Mapping[str, Jets] = field(default_factory=dict)
    spread: Scale | None = None


def gather(spec: SynthesizeSpec, dataset: Path, model: Path, *, judged_on: str = "test") -> Material:
    """Read the tagger and the jets, and encode what the core will see.

    A search chooses among its students by the split `validation`, so that the test jets stay unseen by it.

    Raises
    ------
    InputError
        If tagger and data set do not belong together, or an answer of the tagger is not finite.
    CampaignError
        If the student wants more constituents than the data set keeps, or the spread of a tagger without dropout.
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
    tagger = Tagger.load(spec, data, model)
    training = at_most(data.indices("train"), MOST_JETS, spec.seed)
    seen = data.features(training)
    quantities_BI = inputs.quantities(seen, settings.constituents)
    encoding = inputs.Encoding.fit(quantities_BI, inputs.names(settings.constituents), settings.activation_bits)
    labels_B = data.column("label", training).astype(np.int64)
    weights_B = data.column("weight", training) * data.class_weights[labels_B]
    answers = tagger.answers(seen)
    lesson = Lesson(
        torch.from_numpy(encoding.values(encoding.codes(quantities_BI))).float(),
        torch.from_numpy(answers.logits_BC),
        torch.from_numpy(labels_B),
        torch.from_numpy(weights_B).float(),
        inputs.angle_columns(encoding.names),
    )
    scale = None
    if answers.log2_spread_B is not None:
        scale = Scale.fit(answers.log2_spread_B)
        lesson = replace(lesson, spread_B=torch.from_numpy(scale.answer(answers.log2_spread_B)).float())
    rows = _rows(spec, data, judged_on)
    features = data.features(rows)
    judged = _jets(spec, data, rows, features, encoding)
    test = Taught(judged.codes_BI, judged.labels_B, judged.weights_B, *tagger.answers(features))
    return Material(tagger.task, data.classes, encoding, lesson, test, spread=scale)


def with_more(
    stuff: Material, spec: SynthesizeSpec, dataset: Path, model: Path, unfamiliar: Mapping[str, Path]
) -> Material:
    """Return the material with what the core's certainty is judged by: validation jets, and unfamiliar ones.

    Parameters
    ----------
    stuff : Material
    spec : SynthesizeSpec
    dataset, model : Path
        Those of the material.
    unfamiliar : mapping
        Index of every sample that no network has learnt from, by name; their jets are all in the split `test`.

    Raises
    ------
    InputError
        If a sample was prepared for other networks, or has no jets.
    """
    tagger = Tagger.load(spec, Dataset(dataset), model)

    def jets(path: Path, split: str) -> Jets:
        data = Dataset(path)
        tagger.require(data)
        rows = _rows(spec, data, split)
        return _jets(spec, data, rows, data.features(rows), stuff.encoding)

    others = {name: jets(path, "test") for name, path in unfamiliar.items()}
    return replace(stuff, validation=jets(dataset, "validation"), unfamiliar=others)


def _rows(spec: SynthesizeSpec, data: Dataset, split: str) -> NDArray[np.int64]:
    """Return the indices of jets of a split, at most `synthesize.vectors`."""
    rows = at_most(data.indices(split), spec.settings.vectors, spec.seed)
    if not len(rows):
        problem, mend = "a data set has no jets to judge by", "convert more of them"
        raise InputError(problem, file=data.path, key=split, found=0, mend=mend)
    return rows


def _jets(
    spec: SynthesizeSpec, data: Dataset, rows: NDArray[np.int64], features: Features, encoding: inputs.Encoding
) -> Jets:
    codes_BI = encoding.codes(inputs.quantities(features, spec.settings.student.constituents))
    labels_B = data.column("label", rows).astype(np.int64)
    return Jets(codes_BI, labels_B, data.column("weight", rows).astype(np.float64))
