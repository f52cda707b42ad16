"""ROOT files opened with uproot, and every way in which they can be wrong."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bunchtrain.errors import BunchtrainError, InputError, MissingDependency
from bunchtrain.files import sha256

_LFS = b"version https://git-lfs"
_MAGIC = b"root"
_BIG_FILE = 1_000_000


def check_header(path: Path) -> None:
    """Look at the first bytes of a file.

    Raises
    ------
    InputError
        If the file is unreadable, empty, a Git LFS pointer, no ROOT file, or shorter than its header says.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(64)
            size = path.stat().st_size
    except OSError as error:
        raise InputError("an input file cannot be read", file=path, found=error.strerror) from None
    if size == 0:
        raise InputError(
            "an input file is empty", file=path, found="0 bytes", expected="a ROOT file", mend="fetch it again"
        )
    if head.startswith(_LFS):
        expected, mend = "a ROOT file", "git lfs pull"
        raise InputError(
            "an input file is a Git LFS pointer", file=path, found=f"{size} bytes", expected=expected, mend=mend
        )
    if not head.startswith(_MAGIC):
        raise InputError(
            "an input file is not a ROOT file", file=path, found=f"it starts with {head[:8]!r}", expected="b'root'"
        )
    end = _end_of_file(head)
    if end is None or size < end:
        expected = "a whole header" if end is None else f"{end} bytes"
        raise InputError(
            "a ROOT file is truncated", file=path, found=f"{size} bytes", expected=expected, mend="fetch it again"
        )


def _end_of_file(head: bytes) -> int | None:
    """Return the length that a ROOT file's header states."""
    if len(head) < 20:
        return None
    version = struct.unpack_from(">I", head, 4)[0]
    return int(struct.unpack_from(">Q" if version >= _BIG_FILE else ">I", head, 12)[0])


@contextlib.contextmanager
def damage(path: Path | str, key: str | None = None) -> Iterator[None]:
    """Turn whatever uproot stumbles over into an `InputError`: damaged bytes raise errors of any type."""
    try:
        yield
    except (BunchtrainError, MemoryError):
        raise
    except ImportError as error:
        name = error.name or "a decompression package"
        mend = "pip install 'bunchtrain[convert]' cramjam xxhash"
        raise MissingDependency(name, needed_by=f"reading {path}", mend=mend) from None
    except Exception as error:
        text = " ".join(str(error).split())
        found = f"{type(error).__name__}: {text[:200]}"
        problem = "a ROOT file is damaged"
        raise InputError(problem, file=path, key=key, found=found, mend="fetch or make it again") from None


@contextlib.contextmanager
def opened(path: Path | str) -> Iterator[Any]:
    """Open a ROOT file with uproot; a string is the address of a file on another machine.

    Raises
    ------
    InputError
        See `check_header`; or if its directory is damaged.
    MissingDependency
        If uproot is not installed, or what reads such addresses.
    """
    try:
        import uproot
    except ImportError:
        raise MissingDependency("uproot", needed_by="convert", mend="pip install 'bunchtrain[convert]'") from None
    if isinstance(path, str):
        _check_xrootd(path)
    else:
        check_header(path)
    # Not through fsspec-xrootd: it fails on the numpy integers that uproot hands it for the places of baskets.
    options = {"handler": uproot.source.xrootd.XRootDSource} if isinstance(path, str) else {}
    with damage(path):
        file = uproot.open(path, **options)
    with file:
        yield file


def _check_xrootd(address: str) -> None:
    """Say what is missing before uproot does."""
    if importlib.util.find_spec("XRootD") is None:
        raise MissingDependency("xrootd", needed_by=f"reading {address}", mend="pip install 'bunchtrain[xrootd]'")


def remote_digest(address: str) -> str:
    """Return what stands for the digest of a file elsewhere: that of its UUID, length and the places of its records.

    ROOT gives a file a new UUID when it is made and moves records when it is changed. Not all of it is fetched.

    Raises
    ------
    InputError, MissingDependency
        See `opened`.
    """
    with opened(address) as file, damage(address):
        about = [str(file.file.uuid), int(file.file.fEND), int(file.file.fSeekInfo), int(file.file.fSeekFree)]
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()


def digest_of(file: Path | str) -> str:
    """Return the SHA-256 of a file, or what stands for it where the file is an address.

    Raises
    ------
    InputError, MissingDependency
        If it cannot be read.
    """
    if isinstance(file, str):
        return remote_digest(file)
    try:
        return sha256(file)
    except FileNotFoundError:
        raise InputError("an input file is missing", file=file, mend="check the sample's `files`") from None
    except OSError as error:
        raise InputError("an input file cannot be read", file=file, found=error.strerror) from None


def json_object(file: Any, path: Path | str, name: str | None) -> dict[str, Any]:
    """Return the JSON mapping in the string object `name` of a file; empty if there is none.

    Raises
    ------
    InputError
        If the object cannot be read.
    """
    with damage(path, name):
        if name is None or file.classnames(cycle=False).get(name) != "TObjString":
            return {}
        text = str(file[name])
    try:
        values = json.loads(text)
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}
