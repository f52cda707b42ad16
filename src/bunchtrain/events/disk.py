"""Errors of a disk, for the person who reads them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from bunchtrain.files import disk_problem


@contextlib.contextmanager
def disk_errors(path: str | Path) -> Iterator[None]:
    """Turn errors of the operating system while `path` is written into errors with a mend.

    Raises
    ------
    BunchtrainError
        Saying whether the disk is full.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        problem = disk_problem(error, path)
        if problem is None:
            raise
        raise problem from None
