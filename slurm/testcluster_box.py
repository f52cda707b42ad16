"""The folder of a test cluster: which may be one, so that nothing of anybody else is written over."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

#: In the folder of every cluster, written before all else.
FILE = "cluster.json"

#: What it says.
KEYS = {"box", "port", "nodes", "cores", "memory", "preempt", "cgroups"}

ALLOWED = (
    "an empty folder, a new one, or that of a cluster of before; in letters, digits and ./_+-; at most 80 characters"
)


class Problem(Exception):
    """What the person who typed the command can mend."""


def checked(text: str) -> Path:
    """Return a folder that a cluster may live in, or lives in; nothing is written.

    Parameters
    ----------
    text : str
        As it was typed. Slurm, MariaDB and scripts for the shell read it in files of their own, each with other rules
        of quoting, so that it must do without.

    Raises
    ------
    Problem
        If it may not be one, with what is allowed.
    """
    box = Path(text).absolute()
    if not text:
        raise _refused("the folder has no name", text)
    if re.fullmatch(r"[\w./+-]+", str(box)) is None:
        raise _refused("the folder's name has characters that Slurm or MariaDB would not read as they are", str(box))
    if len(str(box)) > 80:
        raise _refused("the folder's name is too long for sockets", str(box))
    if box.resolve() == Path("/"):
        raise _refused("the whole machine is no folder for a cluster", str(box))
    try:
        if any(one.exists() and not one.is_dir() for one in (box, *box.parents)):
            raise _refused("a file is in the way", str(box))
        if box.is_dir() and any(box.iterdir()) and kept(box) is None:
            raise _refused("the folder holds something else than a cluster", str(box))
    except OSError as error:
        raise _refused(f"the folder cannot be looked at: {error.strerror}", str(box)) from None
    return box


def kept(box: Path) -> dict[str, Any] | None:
    """Return what a cluster of before has said of itself; None where there was none."""
    try:
        found = json.loads((box / FILE).read_text())
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and set(found) == KEYS else None


def _refused(problem: str, found: str) -> Problem:
    return Problem(f"{problem}\n  key       --box\n  found     {found!r}\n  expected  {ALLOWED}")
