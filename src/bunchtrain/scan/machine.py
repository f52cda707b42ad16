"""Slots of one machine: its cores and GPUs, dealt out."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence

from bunchtrain.scan.slots import Need, Slot

#: Words in CUDA_VISIBLE_DEVICES that stand for no GPU.
_NONE = {"", "-1", "NoDevFiles", "none", "void"}


def name() -> str:
    """Return what this machine is called, by Slurm where it has named it."""
    return os.environ.get("SLURMD_NODENAME") or platform.node()


def cpus() -> list[int]:
    """Return the cores that this process may use."""
    return sorted(os.sched_getaffinity(0))


def gpus(environ: Mapping[str, str] | None = None) -> list[str]:
    """Return the GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them; torch is not asked."""
    visible = (os.environ if environ is None else environ).get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        words = [word.strip() for word in visible.split(",")]
        return [word for word in words if word not in _NONE]
    try:
        asked = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return listed(asked.stdout)


def listed(text: str) -> list[str]:
    """Return the GPUs of a list as `nvidia-smi -L` prints it; of one that is divided (MIG) its parts."""
    found: list[list[str]] = []
    for line in text.splitlines():
        if match := re.search(r"UUID: (GPU|MIG)-[^)\s]+", line):
            name = match[0].removeprefix("UUID: ")
            if match[1] == "GPU":
                found.append([name])
            elif found:
                found[-1].append(name)
    return [name for one in found for name in (one[1:] or one)]


def slots(
    count: int,
    need: Need,
    cores: Sequence[int],
    devices: Sequence[str] = (),
    *,
    most: int | None = None,
    node: str | None = None,
) -> list[Slot]:
    """Return slots of one machine, at most `count`.

    Cores are divided evenly. A slot keeps to its own only if there are enough and the scan has them all: with more
    cores than the scan may take something else may run here, and both would sit on the first ones. With GPUs that
    the evaluations can use there are as many slots as the GPUs suffice for.

    Parameters
    ----------
    count : int
        Slots wanted.
    need : Need
        Of one evaluation.
    cores : sequence of int
        The cores.
    devices : sequence of str
        The GPUs.
    most : int, optional
        Cores to take, of these.
    node : str, optional
        Name of the machine.
    """
    taken = min(len(cores), most or len(cores))
    leased = need.ranks if need.gpus and len(devices) >= need.ranks else 0
    count = min(count, len(devices) // leased) if leased else count
    share = taken // count
    keeps = share >= need.ranks and taken == len(cores)
    return [
        Slot(
            number,
            node,
            max(1, share),
            tuple(cores[number * share : (number + 1) * share]) if keeps else (),
            tuple(devices[number * leased : (number + 1) * leased]),
        )
        for number in range(count)
    ]
