"""Files that are whole or absent: atomic writes, digests, and locks between processes."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bunchtrain.errors import BunchtrainError, InputError


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def is_leftover(found: str, name: str | None = None) -> bool:
    """Return whether a killed process of this host left a file of this name while it wrote `name`, or anything."""
    file, owner = re.escape(name) if name else ".+", re.escape(socket.gethostname())
    matched = re.fullmatch(rf"\.{file}\.{owner}-(\d+)\.tmp", found, re.DOTALL)
    return matched is not None and not _alive(int(matched[1]))


def remove_leftovers(folder: Path, name: str | None = None) -> None:
    """Remove what killed processes of this host left in a folder of the file `name`, or of any."""
    for path in folder.iterdir():
        if is_leftover(path.name, name):
            path.unlink(missing_ok=True)


def temporary_of(path: Path) -> Path:
    """Return where this process writes what becomes `path`."""
    return path.with_name(f".{path.name}.{socket.gethostname()}-{os.getpid()}.tmp")


def copy(source: Path, target: Path) -> None:
    """Copy a file's content to disk, by the file system itself where it can: some share the blocks."""
    with source.open("rb") as read, target.open("wb") as written:
        left = os.fstat(read.fileno()).st_size
        with contextlib.suppress(OSError):
            while left and (done := os.copy_file_range(read.fileno(), written.fileno(), left)):
                left -= done
        if left:  # between file systems, on old kernels
            written.seek(read.tell())
            shutil.copyfileobj(read, written, 1 << 20)
        written.flush()
        os.fsync(written.fileno())


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


@contextlib.contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success fsync it and rename it into place.

    A reader sees the old file or the whole new one. On an exception nothing is left; what a SIGKILL leaves has another
    name and goes with the next write of the same file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path.parent, path.name)
    temporary = temporary_of(path)
    try:
        yield temporary
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        temporary.chmod(0o666 & ~_umask())  # some writers make private files
        temporary.replace(path)
        _sync_directory(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` to `path` atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def as_json(value: Any) -> str:
    """Return `value` as the JSON text of a file; NaN and infinities are refused."""
    return json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n"


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as JSON to `path` atomically; see `as_json`."""
    write_text(path, as_json(value))


def read_json(path: str | Path, mend: str | None = None) -> Any:
    """Read the JSON file `path`; `mend` says what to do if it is none.

    Raises
    ------
    InputError
        If the file is missing or is not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError("a file is missing", file=path, mend="run the stage that makes it") from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:  # the last: brackets without end
        raise InputError("a file is not JSON", file=path, found=str(error), mend=mend) from None


_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def disk_problem(error: Exception, path: object = None) -> BunchtrainError | None:
    """Return what an error of the operating system means to the person who reads it; None for any other error.

    HDF5 and safetensors give the number in their text only, HDF5 also from closing a file, as a RuntimeError.
    """
    text = " ".join(str(error).split())
    numbers = {getattr(error, "errno", None), *map(int, re.findall(r"(?:errno = |os error )(\d+)", text))} - {None}
    if not numbers and not isinstance(error, OSError):
        return None
    full = not numbers.isdisjoint(_FULL)
    problem = "the disk is full or a limit is reached" if full else "a file cannot be read or written"
    mend = "make room and run again; nothing was left behind" if full else "check the folder and its permissions"
    return BunchtrainError(problem, file=path or getattr(error, "filename", None), found=text[:160], mend=mend)


@contextlib.contextmanager
def disk_errors(path: str | Path) -> Iterator[None]:
    """Turn errors of the operating system while `path` is written into errors with a mend; see `disk_problem`."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        problem = disk_problem(error, path)
        if problem is None:
            raise
        raise problem from None


def sha256(path: str | Path) -> str:
    """Return the SHA-256 digest of a file as 64 hexadecimal digits."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def fingerprint(value: Any) -> str:
    """Return a short digest of a JSON-like value, independent of key order."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@contextlib.contextmanager
def exclusive(path: str | Path) -> Iterator[None]:
    """Hold the lock file `path`, waiting for another process that has it.

    The kernel frees the lock when its holder dies, so a killed run never blocks the next one.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as stream:  # whatever the path leads to stays as it is
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"another process is at work in {path.parent}; waiting for it", flush=True)
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def held(path: str | Path) -> bool:
    """Return whether a living process holds the lock file `path`."""
    try:
        with Path(path).open() as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
