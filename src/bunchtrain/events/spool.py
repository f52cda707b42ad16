"""Values put aside until a file is written: in memory while they are few, in nameless temporary files beyond."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

#: Bytes read at a time.
_STEP = 1 << 23


class Spool:
    """One column, appended piece by piece.

    A temporary file vanishes with the process, however that ends.
    """

    def __init__(self, folder: str | Path, dtype: str) -> None:
        self.dtype = np.dtype(dtype)
        self._folder = folder
        self._pieces: list[NDArray[Any]] = []
        self._stream: IO[bytes] | None = None
        self._spilled = 0
        self._kept = 0

    def __len__(self) -> int:
        """Return how many values it holds."""
        return self._spilled + self._kept

    @property
    def memory(self) -> int:
        """Bytes in memory."""
        return self._kept * self.dtype.itemsize

    def append(self, values: NDArray[Any]) -> None:
        """Append values of the column's precision."""
        self._pieces.append(values)
        self._kept += len(values)

    def spill(self) -> None:
        """Move what is in memory to the disk."""
        if self._stream is None:
            self._stream = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115
        self._stream.seek(self._spilled * self.dtype.itemsize)
        for piece in self._pieces:
            self._stream.write(np.ascontiguousarray(piece).data)
        self._spilled += self._kept
        self._pieces, self._kept = [], 0

    def cut(self, length: int) -> None:
        """Forget all values beyond a length."""
        while self._pieces and len(self) > length:
            last = self._pieces.pop()
            self._kept -= len(last)
            if len(self) < length:
                self.append(last[: length - len(self)])
        if length < self._spilled and self._stream is not None:
            self._stream.truncate(length * self.dtype.itemsize)
            self._spilled = length

    def pieces(self) -> Iterator[NDArray[Any]]:
        """Yield all values in order, a piece at a time."""
        if self._stream is not None:
            self._stream.seek(0)
            step = _STEP // self.dtype.itemsize
            for start in range(0, self._spilled, step):
                size = min(step, self._spilled - start) * self.dtype.itemsize
                yield np.frombuffer(self._stream.read(size), self.dtype)
        yield from self._pieces

    def close(self) -> None:
        """Forget everything."""
        self._pieces = []
        if self._stream is not None:
            with contextlib.suppress(OSError):  # on a full disk: what could not be written is not wanted any more
                self._stream.close()
