"""The house's own way: the smallest weights go step by step, the rest are rounded to one width for all.

Formats are fitted before every epoch; gradients pass straight through the rounding, see `synth.quantize`.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict
from torch import Tensor

from bunchtrain.config.synthesize import Student as Settings
from bunchtrain.synth.compressors import base
from bunchtrain.synth.students.base import Student

PRUNES = ("weights", "inputs")


class Config(BaseModel):
    """No options: widths, sparsity and what is pruned are the student's."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Compressor(base.Compressor):
    """Prunes by magnitude and fits the formats before every epoch."""

    def __init__(self, config: Config, student: Student, x_BI: Tensor, settings: Settings) -> None:
        self._student, self._x_BI, self._settings = student, x_BI, settings

    def begin_epoch(self, number: int) -> None:
        """Prune up to the share that is due, and fit the formats to what is left."""
        settings = self._settings
        share = settings.sparsity * _pruned_so_far((number + 1) / (base.PRUNING * settings.epochs))
        self._student.prune(share, inputs=settings.pruning == "inputs")
        self._student.quantize(self._x_BI, settings)


def _pruned_so_far(progress: float) -> float:
    """Return the share of the pruning that is done: fast at first, then slower (Zhu and Gupta, arXiv:1710.01878)."""
    return 1 - (1 - min(progress, 1.0)) ** 3
