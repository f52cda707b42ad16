"""What a format of ROOT files offers to the conversion.

A format is a module of `convert.formats` with three names:

    Config                        pydantic model of its options in a campaign; its defaults must be valid
    opened(path, config)          context manager of a `Source`
    source_branches(config)       dict: dataset of the event contract -> branch it comes from

It raises `InputError` for whatever is wrong with a file, naming the file and the branch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from numpy.typing import NDArray
from pydantic import BaseModel


class Batch(NamedTuple):
    """Jets read in one step.

    Attributes
    ----------
    start : int
        Entry of the first jet in its file.
    jets : dict
        Any of pt, mass (GeV), eta, phi (rad), weight, run_number, event_number; each of shape [n]. What a format leaves
        out is filled in: kinematics from the constituents, weight 1, a run for each file, an event for each jet.
    constituents : dict
        px, py, pz, energy (GeV), flat: jet after jet, each of shape [m].
    counts : int64 [n]
        Constituents of each jet; they add up to m.
    """

    start: int
    jets: dict[str, NDArray[Any]]
    constituents: dict[str, NDArray[Any]]
    counts: NDArray[Any]


class Source(Protocol):
    """An open file."""

    @property
    def tree(self) -> str:
        """Name of the tree."""

    @property
    def entries(self) -> int:
        """Entries of the tree."""

    @property
    def generator(self) -> dict[str, Any]:
        """What the file says of its generator; empty if nothing."""

    def batches(self, step_size: str) -> Iterator[Batch]:
        """Yield all jets in file order, `step_size` of memory (e.g. "64 MB") at a time."""


class Format(Protocol):
    """The module of a format."""

    Config: type[BaseModel]

    def opened(self, path: Path, config: Any) -> AbstractContextManager[Source]:
        """Open a file."""

    def source_branches(self, config: Any) -> dict[str, str]:
        """Return which branch each dataset comes from."""
