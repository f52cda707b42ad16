"""Files of consecutive numbers as one word, `convert/top/0000..0124.h5`: a command takes only so many words."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from bunchtrain.errors import InputError

_RANGE = re.compile(r"(.*?)(\d{4,})\.\.(\d{4,})(\.\w+)", re.DOTALL)


def number(place: int) -> str:
    """Return how a number stands in a file's name, e.g. 0007."""
    return f"{place:04d}"


def word(folder: str, count: int, suffix: str) -> str:
    """Return what stands for `count` files of a folder, from 0000 on; `suffix` is that of their names, e.g. `.h5`."""
    return f"{folder}/{number(0)}..{number(count - 1)}{suffix}"


def files(words: Iterable[str | Path]) -> list[Path]:
    """Return the files that words stand for, in their order; a word that is no range stands for itself.

    Raises
    ------
    InputError
        If a range ends before it begins.
    """
    found: list[Path] = []
    for one in words:
        path = Path(one)
        matched = _RANGE.fullmatch(path.name)
        if matched is None:
            found.append(path)
            continue
        before, first, last, suffix = matched.groups()
        if int(last) < int(first):
            raise InputError("a range of files ends before it begins", found=str(one), expected="e.g. 0000..0124.h5")
        found += [path.with_name(f"{before}{number(place)}{suffix}") for place in range(int(first), int(last) + 1)]
    return found
