"""Progress of long work: a bar on a terminal, nothing more in a log, where the stages' own lines stand."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def _one(_: object) -> int:
    return 1


def track(items: Iterable[Item], total: int, text: str, size: Callable[[Item], int] = _one) -> Iterator[Item]:
    """Yield `items`; on a terminal show how many of `total` are done and how long the rest will take.

    `size` says for how many an item counts.
    """
    # mpirun gives its ranks a terminal of its own making to write to, but none to read from.
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        yield from items
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, transient=True) as bar:
        task = bar.add_task(text, total=total)
        for item in items:
            yield item
            bar.advance(task, size(item))
