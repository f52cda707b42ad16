"""Zip files whose bytes follow from their content alone: names sorted, times fixed."""

from __future__ import annotations

import lzma
import shutil
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from bunchtrain.errors import InputError

_EPOCH = (1980, 1, 1, 0, 0, 0)

#: What reading a damaged zip raises.
DAMAGED = (
    *(zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, UnicodeError),
    *(zlib.error, lzma.LZMAError, ValueError),
)


def write(target: Path, files: Mapping[str, bytes | Path]) -> None:
    """Write files, given as bytes or by where they lie, into the zip `target`.

    Raises
    ------
    InputError
        If a name would leave the folder in which the zip is unpacked.
    """
    with zipfile.ZipFile(target, "w") as archive:
        for name in sorted(files):
            if not is_inside(name):
                raise InputError("a file would leave the archive's folder", file=target, found=name)
            entry, content = zipfile.ZipInfo(name, _EPOCH), files[name]
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            if isinstance(content, bytes):
                archive.writestr(entry, content, compresslevel=6)
                continue
            entry.file_size = content.stat().st_size
            with content.open("rb") as source, archive.open(entry, "w") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)


def is_inside(name: str) -> bool:
    """Return whether a name in a zip stays in the folder in which it is unpacked."""
    plain = bool(name) and not name.startswith("/") and "\\" not in name and "\0" not in name
    return plain and ".." not in PurePosixPath(name).parts
