"""What a task shows of its figures of merit: tables and curves, as they stand in `metrics.json` and on the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Curve:
    """Points of a curve, with their errors where there are some; a dashed one is a baseline's.

    Parameters
    ----------
    name : str
    x, y : list of float
    dashed : bool
    errors : list of float
        Of `y`.
    widths : list of float
        Half the widths of bins in `x`: with these, points stand for themselves and no line joins them.
    group : int, optional
        Curves of one group have one colour; without, each has a colour of its own.
    mark : bool
        Whether its points are marked and not joined: a working point on another curve of the group.
    low, high : list of float
        Ends of a band around the curve.
    """

    name: str
    x: list[float]
    y: list[float]
    dashed: bool = False
    errors: list[float] = field(default_factory=list)
    widths: list[float] = field(default_factory=list)
    group: int | None = None
    mark: bool = False
    low: list[float] = field(default_factory=list)
    high: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Plot:
    """Curves on common axes; those of a share have error bars from 0 to 1 at most. `lowest` is where `y` begins."""

    x: str
    y: str
    curves: list[Curve]
    caption: str = ""
    logarithmic: bool = False
    logarithmic_x: bool = False
    share: bool = False
    lowest: float | None = None


@dataclass(frozen=True)
class Bar:
    """A bar from zero to `value`, with its error: bars of one name stand together, those of one group look alike."""

    name: str
    group: str
    value: float
    error: float | None = None


@dataclass(frozen=True)
class Bars:
    """Bars to both sides of zero, from the top down in the order of their names; `x` says what their length is."""

    x: str
    bars: list[Bar]
    caption: str = ""


@dataclass(frozen=True)
class Headline:
    """A number that stands at the top of the page, with its error in the same unit, and a line below it."""

    name: str
    value: float
    error: float | None = None
    unit: str = ""
    note: str = ""


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
    bars : list of Bars
        Drawn after the plots.
    warning : str
        What is wrong, and what may mend it: it stands out on the page, and in the log.
    figures : dict
        The numbers that sum it up, by name: the evaluation lists them for every seed.
    headlines : list of Headline
        Those of its numbers that stand at the top of the page, before the AUC.
    """

    title: str
    text: str
    columns: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    plots: list[Plot] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)
    headlines: list[Headline] = field(default_factory=list)
    bars: list[Bars] = field(default_factory=list)
    warning: str = ""


def warned(names: Sequence[str], panels: Sequence[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return the panels of the first of several networks, with the warnings of all, which are printed too.

    Parameters
    ----------
    names : sequence of str
        Of the networks.
    panels : sequence of list
        Of each network, alike, as dictionaries.
    """
    for place, panel in enumerate(panels[0]):
        found = [(name, one[place]["warning"]) for name, one in zip(names, panels, strict=True)]
        told = [f"{name}: {warning}" for name, warning in found if warning]
        print(*(f"[evaluate] warning: {one}\n" for one in told), sep="", end="", flush=True)
        panel["warning"] = " ".join(told)
    return panels[0]
