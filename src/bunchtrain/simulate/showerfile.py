"""Calorimeter showers into a ROOT file, the same bytes for the same showers."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunchtrain.simulate.rootfile import METADATA, new_file

TREE = "showers"

Array = NDArray[np.float64]


class ShowerFile:
    """An open ROOT file with the tree `showers`, one entry per shower, as the format `calorimeter` reads it."""

    def __init__(self, file: Any, run: int, shape: tuple[int, int, int]) -> None:
        self._file = file
        self._run = run
        branches = {
            "run_number": "uint64",
            "event": "uint64",
            "weight": "float32",
            "par": np.dtype((np.float32, (10,))),
            "cells": np.dtype((np.float32, shape)),
            "deposits": np.dtype((np.float32, shape)),
            "lost": np.dtype((np.float32, (2,))),
        }
        self._tree = file.mktree(TREE, branches, title="one entry per shower; GeV, cm, rad")

    def write(self, first: int, par: Array, cells: Array, deposits: Array, lost: Array) -> None:
        """Append showers, whose events count from `first`."""
        number = len(par)
        self._tree.extend(
            {
                "run_number": np.full(number, self._run, np.uint64),
                "event": np.arange(first, first + number, dtype=np.uint64),
                "weight": np.ones(number, np.float32),
                "par": np.float32(par),
                "cells": np.float32(cells),
                "deposits": np.float32(deposits),
                "lost": np.float32(lost),
            }
        )

    def describe(self, metadata: dict[str, Any]) -> None:
        """Store `metadata` as JSON in a string object of the file."""
        self._file[METADATA] = json.dumps(metadata, sort_keys=True)


@contextlib.contextmanager
def shower_file(path: Path, run: int, shape: tuple[int, int, int]) -> Iterator[ShowerFile]:
    """Open a new ROOT file of showers at `path`, in a calorimeter of `shape`: layers, rows, columns."""
    with new_file(path, run) as file:
        yield ShowerFile(file, run, shape)
