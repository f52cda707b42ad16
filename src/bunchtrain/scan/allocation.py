"""Slots of a Slurm job: steps on all of its nodes."""

from __future__ import annotations

import math
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from bunchtrain.errors import InputError
from bunchtrain.scan.slots import Need, Slot

#: Numbers from here on are no steps that hold cores: the batch script's, that of an interactive shell, and the like.
_SPECIAL = 0xFFFFFFF0

#: Memory that is left for the scan itself, MB.
_CONTROLLER = 1000


class Node(NamedTuple):
    """What a job has on one node; memory in MB, 0 if it is not counted."""

    name: str
    cores: int
    memory: int = 0
    gpus: int = 0


def job(environ: Mapping[str, str] | None = None) -> str | None:
    """Return the number of the Slurm job that this process is in, if it can start steps there."""
    environ = os.environ if environ is None else environ
    return environ.get("SLURM_JOB_ID") if shutil.which("srun") and shutil.which("scontrol") else None


def own_node(environ: Mapping[str, str] | None = None) -> str | None:
    """Return the node whose share of the job is held by the step that this process runs in, if it runs in one.

    Snakemake's plugin starts jobs as steps. No other step would ever start on this node.
    """
    environ = os.environ if environ is None else environ
    step = environ.get("SLURM_STEP_ID", "")
    return environ.get("SLURMD_NODENAME") if step.isdigit() and int(step) < _SPECIAL else None


def asked(number: str) -> list[Node]:
    """Return the nodes of a job, as Slurm tells them.

    Raises
    ------
    InputError
        If it does not.
    """
    found = nodes(_scontrol("show", "job", "-d", number), lambda short: _scontrol("show", "hostnames", short).split())
    if not found:
        raise InputError(
            "Slurm does not tell the nodes of this job", key=f"job {number}", mend="use this node alone: --workers here"
        )
    return found


def _scontrol(*words: str) -> str:
    try:
        return subprocess.run(
            ["scontrol", *words], capture_output=True, text=True, timeout=120, check=True, stdin=subprocess.DEVNULL
        ).stdout
    except subprocess.SubprocessError as error:
        told = getattr(error, "stderr", None) or error
        mend = "try again, or use this node alone: --workers here"
        raise InputError("Slurm does not answer", key=f"scontrol {' '.join(words)}", found=told, mend=mend) from None


def nodes(text: str, names: Callable[[str], Sequence[str]]) -> list[Node]:
    """Return the nodes in what `scontrol show job -d` prints.

    Parameters
    ----------
    text : str
        What it prints.
    names : callable
        The names that a short form such as `node[1-3]` stands for.
    """
    found = {}
    for match in re.finditer(r"\bNodes=(\S+) CPU_IDs=(\S+) Mem=(\d+)(?: GRES=(\S*))?", text):
        gpus = sum(int(count) for count in re.findall(r"gpu(?::[^:(,]+)?:(\d+)", match[4] or ""))
        for name in names(match[1]):
            found[name] = Node(name, _count(match[2]), int(match[3]), gpus)
    return list(found.values())


def _count(ids: str) -> int:
    """Return how many cores a list such as `0-3,8` names."""
    ends = [part.split("-") for part in ids.split(",")]
    return sum(int(end[-1]) - int(end[0]) + 1 for end in ends)


def room(node: Node, need: Need, *, devices: bool) -> int:
    """Return how many evaluations a node has room for; with `devices` each rank takes a GPU."""
    cores = node.cores // need.ranks
    return min(cores, node.gpus // need.ranks) if devices else cores


def dealt(count: int, rooms: Sequence[int]) -> list[int]:
    """Return the nodes of `count` evaluations as places in a list, one after the other: the emptiest first."""
    taken, found = [0] * len(rooms), []
    for _ in range(min(count, sum(rooms))):
        place = min((place for place in range(len(rooms)) if taken[place] < rooms[place]), key=lambda at: taken[at])
        taken[place] += 1
        found.append(place)
    return found


def slots(number: str, there: Sequence[Node], count: int, need: Need, seconds: float) -> tuple[list[Slot], int]:
    """Return slots that are steps of a job, at most `count`, and how many there is room for.

    Cores and memory of a node are divided among its slots.

    Parameters
    ----------
    number : str
        Of the job.
    there : sequence of Node
        Its nodes.
    count : int
        Slots wanted.
    need : Need
        Of one evaluation.
    seconds : float
        After which Slurm ends a step that nothing else has ended.
    """
    devices = need.gpus and any(node.gpus >= need.ranks for node in there)
    rooms = [room(node, need, devices=devices) for node in there]
    places = dealt(count, rooms)
    found = []
    for place, at in enumerate(places):
        node, beside = there[at], places.count(at)
        step = _step(number, node, beside, need, seconds, devices=devices)
        found.append(Slot(place, node.name, node.cores // beside, step=step))
    return found, sum(rooms)


def _step(number: str, node: Node, beside: int, need: Need, seconds: float, *, devices: bool) -> tuple[str, ...]:
    """Return how a step of a job is started on a node, with the share of one of the evaluations beside each other."""
    words = ["srun", f"--jobid={number}", "-N1", "-w", node.name, "--exact", "--kill-on-bad-exit=1", "--input=none"]
    words.append(f"--time={math.ceil(seconds / 60) + 1}")
    if node.memory:  # else the first step would take all of it
        words.append(f"--mem={(node.memory - min(_CONTROLLER, node.memory // 4)) // beside}M")
    if node.gpus:
        words.append(f"--gres=gpu:{need.ranks}" if devices else "--gres=none")
    return tuple(words)
