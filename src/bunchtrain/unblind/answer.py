"""The sealed answers in the files of a box.

N: events of all its files.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunchtrain import sealing
from bunchtrain.errors import InputError, MissingDependency

_TREE = "jets"


@dataclass(frozen=True)
class Answer:
    """What a box hides.

    Attributes
    ----------
    present : bool
        Whether there is a resonance.
    mass : float
        Of the resonance that there is, or that was drawn and left out; GeV.
    daughters : list of float
    strength : float
        S / sqrt(B) in its window that was asked for.
    window : list of float
        GeV.
    run, event : uint64 [N]
    signal : bool [N]
        Which events are of the resonance.
    """

    present: bool
    mass: float
    daughters: list[float]
    strength: float
    window: list[float]
    run: NDArray[np.uint64]
    event: NDArray[np.uint64]
    signal: NDArray[np.bool_]


def read(files: Sequence[Path], seed: int, box: str) -> Answer:
    """Open the answer of a box.

    Parameters
    ----------
    files : sequence of path
        Its ROOT files, all of them, in order.
    seed, box : int, str
        Campaign's seed and the box's name.

    Raises
    ------
    InputError
        If a seal is broken, or does not open with this seed and name.
    MissingDependency
        If uproot is not installed.
    """
    parts = [_part(file, seed, box, shard) for shard, file in enumerate(files)]
    told = parts[0][0]
    if any(one["answer"] != told["answer"] for one, *_ in parts):
        problem, mend = "the files of a box do not belong together", "simulate the box again"
        raise InputError(problem, file=files[0].parent, mend=mend)
    run, event, signal = (np.concatenate(columns) for columns in list(zip(*parts, strict=True))[1:])
    answer = told["answer"]
    window = [edge * answer["mass"] for edge in told["window"]]
    return Answer(**answer, window=window, run=run, event=event, signal=signal)


def _part(file: Path, seed: int, box: str, shard: int) -> tuple[dict[str, Any], Any, Any, NDArray[np.bool_]]:
    """Return the answer in one file, and run, event and truth of its events."""
    try:
        import uproot
    except ImportError:
        raise MissingDependency("uproot", needed_by="unblind", mend="pip install 'bunchtrain[simulate]'") from None
    try:
        with uproot.open(file) as opened:
            text = str(opened[sealing.OBJECT])
            run, event = (opened[_TREE][name].array(library="np") for name in ("run_number", "event_number"))
    except (KeyError, ValueError, OSError) as error:
        found = "no such object" if isinstance(error, KeyError) else error
        mend = "simulate the box again"
        raise InputError(
            "a file holds no sealed answer", file=file, key=sealing.OBJECT, found=found, mend=mend
        ) from None
    told = sealing.opened(text, seed, f"{box}/{shard}", file)
    bits = np.unpackbits(np.frombuffer(base64.b64decode(told["signal"]), np.uint8))[: len(run)].astype(bool)
    return told, run, event, bits
