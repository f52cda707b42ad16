"""How a benchmark speaks: a table, then a line per mark, and an exit status that says whether all were met."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass
class Mark:
    """A figure and its bound."""

    name: str
    value: float
    bound: float
    at_least: bool = True

    @property
    def met(self) -> bool:
        """Whether the figure keeps its bound."""
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    def __str__(self) -> str:
        sign = ">=" if self.at_least else "<="
        return f"{'PASS' if self.met else 'FAIL'} {self.name}={self.value:.4g} mark={sign}{self.bound:g}"


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows in columns."""
    cells = [[str(cell) for cell in row] for row in [header, *rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    for row in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print()


def conclude(marks: Sequence[Mark]) -> None:
    """Print every mark and exit: 0 when all are met."""
    for mark in marks:
        print(mark, flush=True)
    sys.exit(0 if all(mark.met for mark in marks) else 1)
