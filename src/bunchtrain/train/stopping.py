"""Reasons to stop: a signal, and jets whose loss is not finite."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

#: Jets of a step whose loss is not finite, by rank.
RECORD = "not-finite-rank{rank}.json"


class StopSignal:
    """Becomes true when SIGTERM or SIGUSR1 asks for an end: preemption, a time limit."""

    def __init__(self) -> None:
        self.told = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take the signals as a wish to stop at the next step."""

        def hear(number: int, frame: FrameType | None) -> None:
            self.told = True

        before = {number: signal.signal(number, hear) for number in (signal.SIGTERM, signal.SIGUSR1)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
