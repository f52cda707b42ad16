"""The places where evaluations run: each is leased to one evaluation at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Slot(NamedTuple):
    """A place for one evaluation."""

    number: int

    def command(self, words: Sequence[str]) -> list[str]:
        """Return what runs a program of one process here."""
        return list(words)


class Slots:
    """Slots that wait for an evaluation; of the free ones the first is leased."""

    def __init__(self, slots: Sequence[Slot]) -> None:
        self.all = tuple(slots)
        self._free = list(self.all)

    def __len__(self) -> int:
        return len(self.all)

    @property
    def free(self) -> int:
        """How many wait."""
        return len(self._free)

    def lease(self) -> Slot:
        """Return a slot that is free; there must be one."""
        slot = min(self._free)
        self._free.remove(slot)
        return slot

    def give_back(self, slot: Slot) -> None:
        """Take a slot back."""
        self._free.append(slot)


def here(count: int) -> Slots:
    """Return so many slots on this machine."""
    return Slots([Slot(number) for number in range(count)])
