"""Errors of a disk, for the person who reads them."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from bunchtrain.errors import BunchtrainError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


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
    except OSError as error:
        # HDF5 gives the number in its text alone.
        full = (
            error.errno in _FULL or "No space left" in str(error) or any(f"errno = {n}," in str(error) for n in _FULL)
        )
        problem = "the disk is full" if full else "a file cannot be written"
        mend = "make room and run again; nothing was left behind" if full else "check the folder and its permissions"
        raise BunchtrainError(problem, file=path, found=error, mend=mend) from None
