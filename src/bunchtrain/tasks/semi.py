"""Semi-supervision: the regions of a column without labels (see `tasks.weak`), and labels of a few rows beside them.

Which rows have their label follows from their run and event number alone: every rank takes the same.

B: batch, N: rows, V: column.
"""

from typing import Any

from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from bunchtrain.config.regions import Regions
from bunchtrain.errors import InputError
from bunchtrain.levels import DRAW, Logits, Targets
from bunchtrain.tasks._regions import RegionTask

#: See `tasks.base`.
ROWS = "jets"
LEVELS = ("graph",)
ITEMS = "jets"
JUDGED = ("variables",)
SECRET = ("column",)
UNLABELLED = True


class Config(Regions):
    """The column and its regions; the share of events with labels, and what these weigh."""

    labelled: float = Field(0.05, gt=0, le=1, description="share of the events whose rows have their label")
    weight: float = Field(1.0, gt=0, description="of all labels together, beside that of all regions")


class Task(RegionTask):
    """Cross entropy of the regions, and of the labels of a few rows."""

    score_told = "p(window), with few labels"
    loss_told = "cross entropy of the regions, and of the labels of few rows"

    def __init__(self, config: Config, classes: list[str]) -> None:
        super().__init__(config, classes)
        self._share, self._weight = config.labelled, config.weight
        self.columns = (config.column, DRAW)

    def require(self, columns_NV: NDArray[Any], file: object) -> None:
        """Refuse rows from which nothing can be learned, or of which none has its label."""
        super().require(columns_NV, file)
        if not (columns_NV[:, 1] < self._share).any():
            raise InputError(
                "no row has its label",
                file=str(file),
                key="task.labelled",
                found=f"{self._share:g} of {len(columns_NV)} rows",
                mend="raise task.labelled, convert more, or take task.kind: weak, which asks for no label",
            )

    def rows_told(self, columns_NV: NDArray[Any]) -> str:
        """Return what the training says of its rows."""
        count = int((columns_NV[:, 1] < self._share).sum())
        return f"{count} of {len(columns_NV)} rows have their label"

    def labelled(self, draw_B: Tensor) -> Tensor:
        """Return which rows have their label, bool [B], by the draws of their events."""
        return draw_B < self._share

    def losses(self, logits: Logits, targets: Targets) -> Tensor:
        """Return the loss of each row, shape [B]: of its region, and of its label if it has one."""
        signal_B = targets.labels_B == self.signal
        known_B = self.labelled(targets.columns_BV[:, 1]) & (signal_B | (targets.labels_B == self.background))
        of_label_B = functional.cross_entropy(logits.graph_BC, signal_B.long(), reduction="none") * known_B
        return super().losses(logits, targets) + self._weight / self._share * of_label_B
