"""How a task is built from a campaign.

A task module has a `Config`, a `Task(config, classes)`, and three literals, which are read without importing it:

    ROWS     the rows that it learns from, as a format's `ROWS` names them: jets, or events as graphs of hits
    LEVELS   the levels on which it wants answers, see `levels.LEVELS`
    ITEMS    what it tells apart: `jets`, or a word for what each jet has several of
    JUDGED   optional: keys of its Config that the evaluation alone reads: a change of them trains nothing anew
    SECRET   optional: keys of its Config that name columns which the network must not see
    TRUTH    optional: keys of its Config that name columns of constituents from which it learns; not with ALONE
    NEEDS    optional: keys of `simulate` without which simulated samples hold nothing that it looks for
    ALONE    optional: options with which it asks for answers about jets alone, as a baseline has them
    UNLABELLED  optional: whether labels only judge it: then nothing of its training may follow from them
    ANSWERS  optional: what it wants of a network: `classes`, or `latent`, see `LatentTask`, or `response`
    COLUMNS  optional: of a surrogate's task the keys of its Config that name columns of rows
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from bunchtrain import registry
from bunchtrain.levels import GraphTargets, Hits, Items, Latent, Logits, Targets, Widths
from bunchtrain.panels import Panel


class TaskProtocol(Protocol):
    """What the stages ask of a task.

    Attributes
    ----------
    classes : list of str
        The classes of its items.
    signal, background : int
        Those that working points are quoted for.
    level : str
        The level of the items.
    truth : sequence of str
        Columns of constituents that it learns from, in the order of `Targets.truth_BPT`.
    bounds : sequence of pairs
        The lowest and the highest number of each of these; None where any whole number will do.
    variables : sequence of str
        Columns of jets that are judged alone, beside the network.
    balanced : bool
        Whether classes weigh the same in the training, however many items they have.

    Further, optional, are `score_told` and `loss_told`, see `told`; and `columns`, those of jets that it learns from,
    in the order of `Targets.columns_BV`, see `columns`; `require`, which refuses such columns; and `by_event`, whether
    rows weigh what their events weigh, whatever their class.
    """

    classes: list[str]
    signal: int
    background: int
    level: str
    truth: Sequence[str]
    bounds: Sequence[tuple[int | None, int | None]]
    variables: Sequence[str]
    balanced: bool

    @property
    def widths(self) -> Widths:
        """How many numbers a network has to answer with on each level."""
        ...

    def loss(self, logits: Logits, targets: Any) -> Tensor:
        """Return the loss of each row times its weight, summed over the batch.

        `targets` are `levels.Targets` of jets, `levels.GraphTargets` of events.
        """
        ...

    def items(self, logits: Logits, targets: Any) -> Items:
        """Return what is told apart."""
        ...

    def discriminant(self, probabilities_MC: Tensor) -> Tensor:
        """Return the signal-against-background score, shape [M]."""
        ...

    def merit(self) -> Merit:
        """Return what the answers are worth, for rows to be added."""
        ...


class LatentTask(Protocol):
    """What the stages ask of a task whose networks answer with `levels.Latent`, beside `widths`, `loss` and the like.

    Attributes
    ----------
    classes : list of str
        The classes of the samples, all of which it learns from.
    mass : str
        Column of jets that scores are compared with.
    """

    classes: list[str]
    mass: str
    variables: Sequence[str]

    def scores(self, latent: Latent) -> dict[str, Tensor]:
        """Return all scores by name, each of shape [B]; more is more unlike what was learned."""
        ...

    def sums(self, latent: Latent, targets: Targets) -> Tensor:
        """Return numbers that add up over batches and ranks to `figures`, float64."""
        ...

    def figures(self, sums: Tensor) -> dict[str, float]:
        """Return what a validation says; it is an error if the training cannot go on."""
        ...

    def told(self, figures: Mapping[str, float]) -> str:
        """Return these figures in words."""
        ...

    def warnings(self, figures: Mapping[str, float]) -> list[str]:
        """Return what is wrong with a trained network, and what may mend it."""
        ...


class Merit:
    """Figures of merit beyond telling items apart, added up over batches of rows; this one has none."""

    def add(self, seen: Tensor | Hits, logits: Logits, targets: Targets | GraphTargets) -> None:
        """Add a batch.

        Parameters
        ----------
        seen : Tensor or Hits
            Of jets the momenta [B, P, 4] of the constituents, GeV, in the frame in which a network sees them; of events
            their hits.
        logits : Logits
            Of a single pass without dropout.
        targets : Targets or GraphTargets
            Whose weights are those of the evaluation.
        """

    def rivals(self) -> dict[str, Tensor]:
        """Return the scores that simpler methods give to all items so far, by name, each of shape [M]."""
        return {}

    def panels(self) -> list[Panel]:
        """Return what is to be shown."""
        return []


def score(probabilities_MC: Tensor, signal: int, background: int) -> Tensor:
    """Return p_signal / (p_signal + p_background), shape [M]."""
    p_signal, p_background = probabilities_MC[..., signal], probabilities_MC[..., background]
    return p_signal / (p_signal + p_background).clamp(min=1e-12)


def columns(task: TaskProtocol) -> Sequence[str]:
    """Return the columns of jets that a task learns from: most from none."""
    return getattr(task, "columns", ())


def require(task: TaskProtocol, columns_NV: NDArray[np.float64], file: Path) -> None:
    """Refuse the columns of jets [N, V] from which a task would learn, where it has something against them."""
    if hasattr(task, "require"):
        task.require(columns_NV, file)


def rows_told(task: Any, data: Any, rows: NDArray[np.int64]) -> str | None:
    """Return what a task says of the rows of `data` from which it learns, if anything."""
    return str(task.rows_told(data.numbers(columns(task), rows))) if hasattr(task, "rows_told") else None


def warnings(task: Any, figures: Mapping[str, float]) -> list[str]:
    """Return what a task says is wrong with a network that was trained, by the figures of its best epoch."""
    found: list[str] = task.warnings(figures) if hasattr(task, "warnings") else []
    return found


def told(task: TaskProtocol) -> dict[str, str]:
    """Return in words what a task's score and its loss are, for the page: its `score_told` and `loss_told`, if any."""
    p_signal, p_background = (f"p({task.classes[number]})" for number in (task.signal, task.background))
    return {
        "score": getattr(task, "score_told", f"{p_signal} / ({p_signal} + {p_background})"),
        "loss": getattr(task, "loss_told", "cross entropy"),
    }


def build(section: Mapping[str, Any], classes: list[str]) -> TaskProtocol:
    """Build a task from a campaign's `task` section (kind and options) and the classes of its jets."""
    options = dict(section)
    module = registry.load("tasks", options.pop("kind"), "task.kind")
    task: TaskProtocol = module.Task(module.Config.model_validate(options), classes)
    return task
