"""Progress of long work: a bar on a terminal, nothing more in a log, where the stages' own lines stand."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def track(items: Iterable[Item], total: int, text: str) -> Iterator[Item]:
    """Yield `items`; on a terminal show how many of `total` are done and how long the rest will take."""
    # mpirun gives its ranks a terminal of its own making to write to, but none to read from.
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        yield from items
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, transient=True) as bar:
        yield from bar.track(items, total=total, description=text)
