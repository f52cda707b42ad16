"""What a task shows of its figures of merit: tables and curves, as they stand in `metrics.json` and on the page."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Curve:
    """Points of a curve, with their errors where there are some; a dashed one is a baseline's."""

    name: str
    x: list[float]
    y: list[float]
    dashed: bool = False
    errors: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Plot:
    """Curves on common axes."""

    x: str
    y: str
    curves: list[Curve]
    caption: str = ""
    logarithmic: bool = False


@dataclass(frozen=True)
class Panel:
    """A part of the page.

    Parameters
    ----------
    title, text : str
        What is asked, and how to read the answer.
    columns, rows : list
        A table: the first column is text, the others are numbers.
    plots : list of Plot
    figures : dict
        The numbers that sum it up, by name: the evaluation lists them for every seed.
    """

    title: str
    text: str
    columns: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    plots: list[Plot] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)
