"""What a training leaves of its course: rows of `steps.csv` as it goes, and TensorBoard's files of the same numbers.

Both are plain files, written by rank 0: a compute node needs no network for them.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bunchtrain.errors import MissingDependency
from bunchtrain.files import write_text
from bunchtrain.train.optimise import Figures

STEPS = "steps.csv"
BOARD = "tensorboard"

COLUMNS = (
    "step",
    "epoch",
    "loss",
    "learning_rate",
    "gradient_norm",
    "jets_per_second",
    "waiting_for_data",
    "communication",
    "padding",
)


class Clock:
    """Wall time since it was started, and the shares of it that the network did not compute in."""

    def __init__(self) -> None:
        self.jets = 0
        self.waiting = 0.0
        self.communicating = 0.0
        self.slots = self.constituents = 0
        self._started = time.perf_counter()

    def add(self, jets: int, waiting: float, communicating: float) -> None:
        """Add a step: its jets on all ranks, and the seconds in which this rank did not compute."""
        self.jets += jets
        self.waiting += waiting
        self.communicating += communicating

    def pack(self, slots: int, constituents: int) -> None:
        """Add places for constituents that were computed, and how many of them were not padding."""
        self.slots += slots
        self.constituents += constituents

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return max(time.perf_counter() - self._started, 1e-9)

    def rates(self) -> dict[str, float]:
        """Return jets per second of all ranks, the shares of time in waiting, and that of padding; nothing of no step.

        A training that was stopped after the last step of an epoch goes on with its validation.
        """
        if self.jets == 0:
            return {}
        seconds = self.seconds
        return {
            "jets_per_second": self.jets / seconds,
            "waiting_for_data": self.waiting / seconds,
            "communication": self.communicating / seconds,
            "padding": 1 - self.constituents / self.slots if self.slots else 0.0,
        }


class Tracker:
    """Writes rows; on ranks other than 0 it does nothing.

    Parameters
    ----------
    out : path or None
        Folder of the training; None for ranks that write nothing.
    every : int
        Steps between two rows.
    tensorboard : bool
        Whether TensorBoard's files are written too.

    Raises
    ------
    MissingDependency
        If TensorBoard's files are asked for and the package is missing.
    """

    def __init__(self, out: Path | None, every: int = 50, tensorboard: bool = False) -> None:
        self._path = None if out is None else out / STEPS
        self._every, self._board = every, None
        self._rows: list[dict[str, float]] = []
        self._sums = [0.0, 0.0]
        if out is not None and tensorboard:
            self._board = _writer(out / BOARD)

    def go_on_from(self, step: int) -> None:
        """Forget what an earlier run wrote about steps that come again."""
        self._sums = [0.0, 0.0]
        if self._path is None:
            return
        kept = [row for row in _read(self._path) if int(row["step"]) <= step]
        lines = [",".join(COLUMNS), *(",".join(row[name] for name in COLUMNS) for row in kept)]
        write_text(self._path, "\n".join(lines) + "\n")

    def due(self, number: int) -> bool:
        """Return whether a step, counted from 1, gets a row."""
        return number % self._every == 0

    def step(self, number: int, epoch: int, figures: Figures, rate: float, clock: Clock) -> bool:
        """Note a step, counted from 1; return whether a row was written, after which the clock starts anew."""
        self._sums = [self._sums[0] + figures.loss, self._sums[1] + figures.weight]
        if not self.due(number):
            return False
        loss = self._sums[0] / self._sums[1] if self._sums[1] else float("nan")
        row = {"loss": loss, "learning_rate": rate, "gradient_norm": figures.gradient_norm, **clock.rates()}
        self._sums = [0.0, 0.0]
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as stream:
                csv.writer(stream).writerow([number, epoch, *(f"{row[name]:.7g}" for name in COLUMNS[2:])])
        self._scalars("step", row, number)
        return True

    def epoch(self, row: Mapping[str, float]) -> None:
        """Note the end of an epoch."""
        self._scalars("epoch", row, int(row["epoch"]))
        if self._board is not None:
            self._board.flush()

    def close(self) -> None:
        """Finish TensorBoard's files."""
        if self._board is not None:
            self._board.close()

    def _scalars(self, group: str, row: Mapping[str, float], number: int) -> None:
        if self._board is not None:
            for name, value in row.items():
                if name != "epoch":
                    self._board.add_scalar(f"{group}/{name}", value, number)


def _read(path: Path) -> list[dict[str, str]]:
    """Return whole rows; a kill may have torn the last one."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", errors="replace", newline="") as stream:
        rows = list(csv.DictReader(stream))
    return [row for row in rows if row.keys() == set(COLUMNS) and None not in row.values() and row["step"].isdecimal()]


def _writer(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise MissingDependency(
            "tensorboard", needed_by="train.tensorboard", mend="run make env, or set train.tensorboard to false"
        ) from None
    return SummaryWriter(str(folder))
