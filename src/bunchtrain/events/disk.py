"""Errors of a disk, for the person who reads them."""

from __future__ import annotations

import contextlib
import errno
import re
from collections.abc import Iterator
from pathlib import Path

from bunchtrain.errors import BunchtrainError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


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
        text = " ".join(str(error).split())
        # HDF5 gives the number in its text, and from closing a file it comes as a RuntimeError.
        numbers = {getattr(error, "errno", None), *map(int, re.findall(r"errno = (\d+)", text))} - {None}
        if not numbers and not isinstance(error, OSError):
            raise
        full = not numbers.isdisjoint(_FULL)
        problem = "the disk is full or a limit is reached" if full else "a file cannot be written"
        mend = "make room and run again; nothing was left behind" if full else "check the folder and its permissions"
        raise BunchtrainError(problem, file=path, found=text[:160], mend=mend) from None
