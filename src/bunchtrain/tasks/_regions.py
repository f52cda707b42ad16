"""Regions of a column of jets: a window that may be rich in signal, and what lies beside it; learned without labels.

B: batch, C: class.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from bunchtrain.config.regions import Regions as Config
from bunchtrain.discrimination import Scores
from bunchtrain.errors import CampaignError, InputError
from bunchtrain.levels import Items, Logits, Targets, Widths
from bunchtrain.panels import Curve, Panel, Plot
from bunchtrain.rounding import together
from bunchtrain.tasks.base import Merit, score

#: A region with fewer rows, in a training or its validation, says nothing.
FEWEST = 2

_BINS = 25

#: Errors of the area beyond which regions of pure background are told apart.
_APART = 5.0


#: What the rows without signal are called.
_ALONE = "background alone"

#: What the page says.
_TEXT = (
    "A network learned to tell rows with {} from {:g} to {:g} from those beside it, and saw no label. Where there is "
    "background alone it should not be able to: an area of 0.5. Else what it sees follows the column, and a cut on its "
    "score makes a bump. What it states are probabilities of a region: calibration and mistaken classes mean little "
    "here. These areas are of a single pass without dropout; the AUC at the top of the page is that of the truth, of "
    "the mean of all passes."
)


class Regions:
    """The window, and the range around it; rows outside the range belong to neither."""

    def __init__(self, config: Config) -> None:
        self.column, self.window, self.around = config.column, config.window, config.range

    def of(self, values_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return which rows lie in the window, and which in either region, bool [B] each."""
        low, high = self.window
        within_B = (values_B >= low) & (values_B < high)
        return within_B, (values_B >= self.around[0]) & (values_B < self.around[1])

    def require(self, values_N: NDArray[Any], file: object) -> None:
        """Refuse rows among which one of the regions is as good as empty.

        Raises
        ------
        InputError
            Naming the region, and where the values lie.
        """
        within, either = (one.numpy() for one in self.of(torch.from_numpy(values_N)))
        low, high = np.quantile(values_N, [0.01, 0.99]) if len(values_N) else (0.0, 0.0)
        for key, found in (("window", within), ("range", either & ~within)):
            if found.sum() < FEWEST:
                raise InputError(
                    "a region of the column has hardly any rows",
                    file=str(file),
                    key=f"task.{key}",
                    found=f"{int(found.sum())} rows of {len(values_N)}",
                    expected=f"at least {FEWEST}; {self.column} lies between {low:.5g} and {high:.5g}",
                    mend=f"choose window and range of {self.column} in which there are rows, or convert more",
                )


class RegionTask:
    """Cross entropy of the regions; the answers stand where those for background and signal would."""

    level = "graph"
    truth: tuple[str, ...] = ()
    bounds: tuple[tuple[int | None, int | None], ...] = ()
    balanced = True
    by_event = True
    score_told = "p(window)"
    loss_told = "cross entropy of the regions; no label is in it"

    def __init__(self, config: Config, classes: list[str]) -> None:
        for key in ("signal", "background"):
            if getattr(config, key) not in classes:
                problem, found = "the task names a class that no sample has", getattr(config, key)
                raise CampaignError(problem, key=f"task.{key}", found=found, choices=classes)
        self.classes = classes
        self.signal, self.background = classes.index(config.signal), classes.index(config.background)
        self.variables, self.regions = config.variables, Regions(config)
        self.columns: tuple[str, ...] = (config.column,)

    def require(self, columns_NV: NDArray[Any], file: object) -> None:
        """Refuse rows from which nothing can be learned; see `Regions.require`."""
        self.regions.require(columns_NV[:, 0], file)

    @property
    def widths(self) -> Widths:
        """A number for each region."""
        return Widths(graph=2)

    def losses(self, logits: Logits, targets: Targets) -> Tensor:
        """Return the loss of each row, shape [B]; that of rows in neither region is 0."""
        within_B, either_B = self.regions.of(targets.columns_BV[:, 0])
        return functional.cross_entropy(logits.graph_BC, within_B.long(), reduction="none") * either_B

    def loss(self, logits: Logits, targets: Targets) -> Tensor:
        """Return the weighted loss summed over the batch."""
        return (self.losses(logits, targets) * targets.weights_B).sum()

    def items(self, logits: Logits, targets: Targets) -> Items:
        """Return the jets, with the probability of the window where that of the signal stands."""
        region_B2 = torch.softmax(logits.graph_BC, -1)
        rows_B = torch.arange(len(region_B2), device=region_B2.device)
        found_BC = region_B2.new_zeros(len(region_B2), len(self.classes))
        found_BC[:, self.background], found_BC[:, self.signal] = region_B2[:, 0], region_B2[:, 1]
        return Items(found_BC, targets.labels_B, targets.weights_B, rows_B)

    def discriminant(self, probabilities_MC: Tensor) -> Tensor:
        """Return the probability of the window, shape [M]."""
        return score(probabilities_MC, self.signal, self.background)

    def merit(self) -> Merit:
        """Return whether it tells the regions of pure background apart."""
        return RegionMerit(self.regions, self.signal, self.background)


class RegionMerit(Merit):
    """Whether a network tells regions apart where there is nothing but background: it should not.

    Parameters
    ----------
    regions : Regions
    signal, background : int
        Classes of the truth.
    """

    def __init__(self, regions: Regions, signal: int, background: int) -> None:
        self._regions, self._signal, self._background = regions, signal, background
        self._rows: list[tuple[Tensor, ...]] = []

    def add(self, seen: object, logits: object, targets: object) -> None:
        """Add a batch."""
        if not (isinstance(logits, Logits) and isinstance(targets, Targets)):
            raise TypeError("regions are those of jets")
        within_B, either_B = self._regions.of(targets.columns_BV[:, 0])
        said_B = torch.softmax(logits.graph_BC.double(), -1)[:, 1]
        self._rows.append((said_B, within_B, either_B, targets.labels_B, targets.weights_B.double()))

    def panels(self) -> list[Panel]:
        """Return the score in both regions, and the areas of window against range."""
        if not self._rows:
            return []
        said, within, either, labels, weights = (torch.cat(one).numpy() for one in zip(*self._rows, strict=True))
        pure = labels == self._background
        rows, figures, warning = [], {}, ""
        for name, chosen in (("all rows", either), (_ALONE, either & pure)):
            window, beside = (chosen & where for where in (within, ~within))
            if not (window.any() and beside.any()):
                continue
            apart = Scores(said[window], said[beside], weights[window], weights[beside])
            share = weights[window & (labels == self._signal)].sum() / max(weights[window].sum(), 1e-300)
            told = f"{100 * share:.2f} %"
            rows.append(
                [name, f"{window.sum():,}", f"{beside.sum():,}", told, together(apart.auc(), apart.auc_error())]
            )
            figures[f"window against range, {name}"] = apart.auc()
            if name == _ALONE and abs(apart.auc() - 0.5) > _APART * apart.auc_error():
                warning = self._warning(apart)
        text = _TEXT.format(self._regions.column, *self._regions.window)
        titles = ["rows", "in the window", "beside it", "signal in the window", "AUC of the regions"]
        return [
            Panel(
                "Learned without labels",
                text,
                titles,
                rows,
                [_plot(said, within, either, weights)],
                figures=figures,
                warning=warning,
            )
        ]

    def _warning(self, apart: Scores) -> str:
        column = self._regions.column
        return (
            f"Window and range are told apart where there is background alone, by an area of "
            f"{together(apart.auc(), apart.auc_error())}: what the network sees follows {column}, or is a copy of it. "
            f"Take such columns away from it, or divide them by {column}; until then a cut on the score makes a bump."
        )


def _share(said: NDArray[Any], weights: NDArray[Any], edges: NDArray[Any]) -> list[float]:
    counts = np.histogram(said, edges, weights=weights)[0]
    found: list[float] = (counts / max(float(weights.sum()), 1e-300)).tolist()
    return found


def _plot(said: NDArray[Any], within: NDArray[Any], either: NDArray[Any], weights: NDArray[Any]) -> Plot:
    """Return the score in both regions."""
    low, high = np.quantile(said[either], [0.001, 0.999]) if either.any() else (0.0, 1.0)
    edges = np.linspace(low, high if high > low else low + 1e-6, _BINS + 1)
    curves = [
        Curve(name, ((edges[1:] + edges[:-1]) / 2).tolist(), _share(said[where], weights[where], edges))
        for name, where in (("window", either & within), ("beside it", either & ~within))
        if where.any()
    ]
    return Plot("score", "share of rows per bin", curves, "Alike but for the signal's end, if all is well.", lowest=0)
