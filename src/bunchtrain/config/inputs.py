"""The files that a campaign names: which they are, and what is in them."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bunchtrain.errors import InputError
from bunchtrain.files import sha256, write_text

#: Addresses that are read, with XRootD.
REMOTE = ("root://", "xrootd://")

#: Bytes from which the user is told that files are being read.
_LONG = 1 << 30


def is_remote(name: str) -> bool:
    """Return whether a name is the address of a file on another machine, such as `root://host//path/file.root`."""
    return "://" in name


def matching(pattern: str) -> list[str]:
    """Return the files of one entry of a sample's `files`.

    That is the file of this very name; else `*.root` in the folder of this name; else what the glob finds; each sorted.
    `@list.txt` stands for the entries in a file, one a line, in its order. An address such as `root://host//path`
    stands for itself. A leading `~` means nothing here.

    Raises
    ------
    ValueError
        If it is none of these, or the list cannot be read.
    """
    if is_remote(pattern):
        if not pattern.startswith(REMOTE):
            raise ValueError(f"of addresses only {' and '.join(REMOTE)} are read")
        return [pattern]
    if pattern.startswith("@") and not Path(pattern).exists():
        return _listed(Path(pattern[1:]))
    path = Path(pattern)
    try:
        if path.is_file():
            return [str(path)]
        if path.is_dir():
            return sorted(str(match) for match in path.glob("*.root") if match.is_file())
        return sorted(
            str(match) for match in Path(path.anchor).glob(str(path.relative_to(path.anchor))) if match.is_file()
        )
    except (IndexError, NotImplementedError, OSError) as error:  # what pathlib says of "", "/" and other odd ones
        raise ValueError(str(error)) from None


def _listed(path: Path) -> list[str]:
    """Return the files that a list names."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"the list {path} cannot be read: {error}") from None
    found: list[str] = []
    for number, line in enumerate(lines, 1):
        entry = line.strip()
        if not entry or entry.startswith("#"):
            continue
        matches = matching(entry)
        if not matches:
            raise ValueError(f"no file matches {entry!r} in line {number} of {path}")
        found += matches
    return found


class Digests:
    """The SHA-256 of files, kept from one reading of the campaign to the next.

    A file is read again only when its size, times or inode have changed. So a changed content is seen even when it
    comes with an older time (`cp -p`, `rsync -a`, `tar x`), and a touch is not mistaken for a change.

    Parameters
    ----------
    cache : path
        A line of JSON for each reading of a file, the last one counts; a missing or damaged line costs no more than
        reading the file again.
    """

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._known: dict[str, list[object]] | None = None

    def of(self, files: Sequence[str]) -> list[str]:
        """Return the digest of each file; `unreadable` for one that cannot be read."""
        if self._known is None:
            self._known = _read(self._cache)
        states = {file: _state(file) for file in files}
        stale = [file for file, state in states.items() if state and self._known.get(file, [])[:-1] != state]
        _tell(stale, sum(states[file][0] for file in stale))
        try:
            for file in stale:
                self._known.pop(file, None)
                with contextlib.suppress(OSError):
                    self._known[file] = [*states[file], sha256(file)]
        finally:
            _add(self._cache, {file: self._known[file] for file in stale if file in self._known})
        return [str(self._known[file][-1]) if states[file] and file in self._known else "unreadable" for file in files]


def _read(cache: Path) -> dict[str, list[object]]:
    """Return what is known; write the list anew where most of its lines are outdated."""
    rows, lines = {}, []
    with contextlib.suppress(OSError):
        lines = [line for line in cache.read_text(encoding="utf-8", errors="replace").splitlines() if line]
    for line in lines:
        with contextlib.suppress(ValueError, TypeError):
            file, *row = json.loads(line)
            if isinstance(file, str) and row:
                rows[file] = row
    if len(lines) > 2 * len(rows) + 100:
        with contextlib.suppress(OSError):
            write_text(cache, _lines(rows))
    return rows


def _add(cache: Path, rows: Mapping[str, list[object]]) -> None:
    """Add lines in one go: the campaign is planned by several processes at a time, each job's own among them."""
    if not rows:
        return
    with contextlib.suppress(OSError):  # a folder that cannot be written costs time alone
        cache.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(cache, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            # Half a line may stand at the end, of a process that was killed.
            os.write(handle, f"\n{_lines(rows)}".encode())
        finally:
            os.close(handle)


def _lines(rows: Mapping[str, list[object]]) -> str:
    return "".join(f"{json.dumps([file, *row])}\n" for file, row in rows.items())


def _state(file: str) -> list[int]:
    """Return what changes when a file does, its size first; nothing for a file that cannot be looked at."""
    try:
        found = Path(file).stat()
    except OSError:
        return []
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]


def _tell(files: Sequence[str], size: int) -> None:
    if size > _LONG:
        print(f"[digests] reading {len(files)} new or changed files, {size / 1e9:.1f} GB", file=sys.stderr, flush=True)


def named(texts: Sequence[str]) -> dict[str, Path]:
    """Return paths by name from texts like `tune=results/unfamiliar/tune/dataset.h5`.

    Raises
    ------
    InputError
        If a text is none, or two have one name.
    """
    found: dict[str, Path] = {}
    for text in texts:
        name, _, path = text.partition("=")
        if not (name and path) or name in found:
            problem = "two unfamiliar samples have one name" if name in found else "an unfamiliar sample has no name"
            raise InputError(problem, key="--unfamiliar", found=text, expected="NAME=INDEX, every name once")
        found[name] = Path(path)
    return found
