"""The trained tagger as a teacher: its answers to jets, of one pass, or of many with its dropout on.

B: batch, C: class.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bunchtrain import dropout
from bunchtrain.config import literals
from bunchtrain.config.specs import SynthesizeSpec
from bunchtrain.errors import InputError
from bunchtrain.events.features import Features
from bunchtrain.events.reader import Dataset
from bunchtrain.events.scaling import Scaler
from bunchtrain.levels import Logits
from bunchtrain.models.base import CARD, WEIGHTS, load_model
from bunchtrain.synth.posterior import log2_information
from bunchtrain.tasks import base as tasks
from bunchtrain.tasks.base import TaskProtocol

#: Threads of the tagger: fixed, so that its answers do not depend on the machine's load.
_THREADS = 2

_BATCH = 1024

#: A mean probability of nothing has no logarithm.
_LEAST = 1e-12


class Answers(NamedTuple):
    """What the tagger says of jets.

    Parameters
    ----------
    logits_BC : float32 [B, C]
        Of one pass; of many the logarithms of their mean probabilities.
    log2_spread_B : float64 [B], optional
        Of many passes: log2 of the mutual information; see `posterior`.
    """

    logits_BC: NDArray[np.float32]
    log2_spread_B: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Tagger:
    """A trained network, and how it is asked.

    Parameters
    ----------
    network : nn.Module
    scaler : Scaler
    card : dict
    folder : Path
        Where it is from.
    task : TaskProtocol
    passes : int, optional
        Stochastic passes; one without dropout where there is no number.
    seed : int
        Of their masks.
    """

    network: nn.Module
    scaler: Scaler
    card: dict[str, Any]
    folder: Path
    task: TaskProtocol
    passes: int | None
    seed: int

    @classmethod
    def load(cls, spec: SynthesizeSpec, data: Dataset, folder: Path) -> Tagger:
        """Return the tagger of a folder.

        Raises
        ------
        InputError
            If tagger and data set do not belong together.
        CampaignError
            If its posterior is asked for and it has no dropout.
        """
        task = tasks.build(spec.task, data.classes)
        network, card = load_model(folder)
        if list(card["classes"]) != data.classes:
            raise _other(folder, str(card["classes"]), str(data.classes))
        if not hasattr(task, "items"):
            problem, mend = (
                "a student learns classes, which this network does not tell apart",
                "use `bunchtrain trigger`",
            )
            raise InputError(problem, file=folder, key="task", found=card["task"]["kind"], mend=mend)
        if literals.unlabelled(spec.task["kind"]):
            problem, mend = "a student learns with labels, and this network's task without", "there is no core of it"
            raise InputError(problem, file=folder, key="task", found=spec.task["kind"], mend=mend)
        student = spec.settings.student
        passes = student.passes if student.spread else None
        found = cls(network, Scaler(**card["scaler"]), card, folder, task, passes, spec.seed)
        found.require(data)
        if passes is not None:
            dropout.switch_on(network)
        return found

    def require(self, data: Dataset) -> None:
        """Refuse jets that were prepared otherwise than those that it learnt from.

        Raises
        ------
        InputError
            Naming what is different.
        """
        particles = int(self.card.get("particles", data.particles))
        if particles != data.particles:
            raise _other(self.folder, f"{particles} constituents", f"{data.particles} constituents, {data.path}")
        self.scaler.require(data.inputs, data.variables, data.path)

    def answers(self, features: Features) -> Answers:
        """Return the answers to jets of unscaled features.

        Raises
        ------
        InputError
            If one is not finite.
        """
        scaled = self.scaler(features).of_width(self.card["shape"]["globals"])
        before = torch.get_num_threads()
        torch.set_num_threads(_THREADS)
        try:
            parts = [
                self._batch(start, *(torch.from_numpy(values[start : start + _BATCH]) for values in scaled))
                for start in range(0, len(scaled.mask_BP), _BATCH)
            ]
        finally:
            torch.set_num_threads(before)
        return self._joined(parts)

    def _batch(self, start: int, *inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return logits [B, C], and with passes the mutual information, [B]."""
        if self.passes is None:
            with torch.inference_mode():
                return self.network.eval()(*inputs).graph_BC, None
        dropout.switch_on(self.network)
        found = dropout.predict(
            self.network,
            inputs,
            _probabilities,
            self.task.discriminant,
            levels=("graph",),
            passes=self.passes,
            seed=self.seed + start,
        )
        return found.mean_MC.clamp(min=_LEAST).log(), found.mutual_information_M

    def _joined(self, parts: list[tuple[Tensor, Tensor | None]]) -> Answers:
        logits_BC = torch.cat([logits for logits, _ in parts]).numpy().astype(np.float32)
        spreads = [spread.numpy() for _, spread in parts if spread is not None]
        if not (np.isfinite(logits_BC).all() and all(np.isfinite(part).all() for part in spreads)):
            problem, mend = "the tagger answers with NaN or infinity", "train again"
            raise InputError(problem, file=self.folder / WEIGHTS, mend=mend)
        return Answers(logits_BC, log2_information(np.concatenate(spreads)) if spreads else None)


def _probabilities(logits: Logits) -> Tensor:
    return torch.softmax(logits.graph_BC, -1)


def _other(folder: Path, found: str, expected: str) -> InputError:
    problem = "the tagger was trained on another data set"
    return InputError(problem, file=folder / CARD, found=found, expected=expected, mend="run train again")
