"""What a user asks of the scaling; imports nothing heavy."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass

from bunchtrain.errors import CampaignError


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Parameters
    ----------
    ranks, batches : sequence of int
        Ranks and jets of a step (over all ranks) to probe.
    launcher : str
        Starts the ranks.
    threads, steps, repeats, per_node : int
        CPU threads of a rank; steps and repeats of a probe; ranks that fill a node.
    cores : int
        CPU cores that the probes have: with fewer than their threads they say nothing of a real machine.
    most : int
        Ranks up to which is predicted.
    deadline, budget : float or None
        Hours; core hours.
    """

    ranks: Sequence[int]
    batches: Sequence[int]
    launcher: str
    threads: int = 1
    steps: int = 40
    repeats: int = 2
    per_node: int = 1
    cores: int = 1
    most: int = 64
    deadline: float | None = None
    budget: float | None = None

    def __post_init__(self) -> None:
        for key, value in (("--deadline", self.deadline), ("--budget", self.budget)):
            if value is not None and not math.isfinite(value):
                raise CampaignError("hours are a finite number", key=key, found=value, mend="leave it out for no limit")


def available_cores() -> int:
    """Return the CPU cores of this job: of all its nodes under Slurm, else of this process."""
    return len(os.sched_getaffinity(0)) * int(os.environ.get("SLURM_JOB_NUM_NODES", "1"))


def numbers(text: str, key: str) -> list[int]:
    """Return the positive whole numbers of a list such as `1,2,4`.

    Raises
    ------
    CampaignError
        If it is none.
    """
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and len(word) < 10 and int(word) > 0 for word in words):
        raise CampaignError("a list of numbers cannot be read", key=key, found=text, expected="e.g. 1,2,4")
    return [int(word) for word in words]
