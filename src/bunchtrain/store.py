"""A folder that campaigns share: what one has simulated or converted, another that asks for the same takes from there.

An entry is found by the digest of all that its files follow from, so nothing in it is ever overwritten, and any of it
may be removed at any time. Files are copied, in both directions: a campaign's folder holds all of its results.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bunchtrain.errors import BunchtrainError, CampaignError
from bunchtrain.files import atomic, copy, exclusive, is_leftover, read_json, sha256, temporary_of, write_json
from bunchtrain.provenance import commit, now, seal

#: Given copies by their names in the entry, and what is said of them.
Adapt = Callable[[Mapping[str, Path], Mapping[str, Any]], None]

#: Names the folder; without it nothing is shared.
VARIABLE = "BUNCHTRAIN_STORE"

#: What a record says of an entry that a result was taken from.
TOLD = ("key", "made", "commit")

_ENTRY = "entry.json"


def root() -> Path | None:
    """Return the shared folder, or None if there is to be none.

    Raises
    ------
    CampaignError
        If the variable names no folder.
    """
    named = os.environ.get(VARIABLE, "")
    if not named:
        return None
    folder = Path(named)
    if not (folder.is_absolute() and folder.is_dir()):
        mend = f"mkdir -p -m 2775 FOLDER, where all campaigns reach it; or unset {VARIABLE}"
        expected = "the full path of a folder that exists"
        raise CampaignError("the store is no folder", key=VARIABLE, found=named, expected=expected, mend=mend)
    return folder


@contextlib.contextmanager
def place(stage: str, asked: Mapping[str, Any]) -> Iterator[Place | None]:
    """Hold the place of one result in the store; None if nothing is shared.

    Who asks for the same waits until the holder has made it, or has died.

    Parameters
    ----------
    stage : str
        The verb that makes the result.
    asked : mapping
        All that its bytes follow from: settings, versions, digests of inputs.
    """
    folder = root()
    if folder is None:
        yield None
        return
    found = Place(folder, stage, asked)
    with contextlib.ExitStack() as stack:
        try:
            found.prepare()
            stack.enter_context(exclusive(found.lock))
        except OSError as error:  # read only, or no locks: entries appear as a whole all the same
            _tell(f"not locked: {error}")
        yield found


class Place:
    """Where a result stands, or will."""

    def __init__(self, folder: Path, stage: str, asked: Mapping[str, Any]) -> None:
        self._root = folder
        text = json.dumps({"stage": stage, **asked}, sort_keys=True, separators=(",", ":"))
        self.asked: dict[str, Any] = json.loads(text)
        self.key = hashlib.sha256(text.encode()).hexdigest()
        self.folder = folder / stage / self.key[:2] / self.key[2:]
        self.lock = self.folder.with_name(f"{self.folder.name}.lock")

    def prepare(self) -> None:
        """Make folder and lock as open to others as the store itself."""
        mode = self._root.stat().st_mode & 0o7777
        for folder in (self.folder.parent.parent, self.folder.parent):
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
                folder.chmod(mode)
        with contextlib.suppress(FileExistsError):
            os.close(os.open(self.lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            self.lock.chmod(mode & 0o666)

    def take(self, outputs: Mapping[str, Path], adapt: Adapt = lambda files, about: None) -> dict[str, Any] | None:
        """Copy all files of the entry and return what is said of them; None if there is none, or it is damaged.

        Parameters
        ----------
        outputs : mapping
            Where each file of the entry goes, by its name there.
        adapt : callable, optional
            Changes the copies, given by their names, before they stand in their places.
        """
        about = self._about(outputs)
        if about is None:
            return None
        try:
            with contextlib.ExitStack() as stack:
                copies = {name: stack.enter_context(atomic(output)) for name, output in outputs.items()}
                for name, temporary in copies.items():
                    copy(self.folder / name, temporary)
                adapt(copies, about)
        except FileNotFoundError:
            if self.folder.is_dir():
                raise
            return None  # removed meanwhile
        _tell(f"taken from {self.folder}, made {about['made']}")
        return about

    def _about(self, names: Iterable[str]) -> dict[str, Any] | None:
        """Return what is said of the entry; None if there is none. One that is not what was kept is removed."""
        try:
            entry = read_json(self.folder / _ENTRY)
            files, whole = entry["files"], seal(entry) == entry["seal"] and entry["asked"] == self.asked
            whole = whole and all((self.folder / name).is_file() for name in names)
            whole = whole and all(sha256(self.folder / name) == files[name] for name in names)
        except (BunchtrainError, FileNotFoundError, RecursionError, KeyError, TypeError, ValueError, AttributeError):
            whole = False
        except OSError as error:
            _tell(f"{self.folder} cannot be read: {error.strerror or error}")
            return None
        if whole:
            return {"key": self.key, **entry["about"]}
        if self.folder.is_dir():
            _tell(f"{self.folder} is damaged and is made again")
            self._remove()
        return None

    def _remove(self) -> None:
        with contextlib.suppress(OSError):
            aside = temporary_of(self.folder)
            self.folder.rename(aside)
            shutil.rmtree(aside)

    def keep(self, outputs: Mapping[str, Path], **about: Any) -> None:
        """Copy finished files into the store, whole or not at all; a store that cannot keep them is no error.

        Parameters
        ----------
        outputs : mapping
            Files by their names in the entry.
        about : JSON-like
            What is said of them, beside when and by which commit they were made.
        """
        temporary = temporary_of(self.folder)
        try:
            self._remove_leftovers()
            temporary.mkdir()
            for name, output in outputs.items():
                copy(output, temporary / name)
                (temporary / name).chmod(0o444)
            files = {name: sha256(output) for name, output in outputs.items()}
            about = {"made": now(), "commit": commit(), **about}
            entry = {"asked": self.asked, "files": files, "about": about}
            write_json(temporary / _ENTRY, {**entry, "seal": seal(entry)})
            (temporary / _ENTRY).chmod(0o444)
            temporary.chmod(self._root.stat().st_mode & 0o7777)
            temporary.rename(self.folder)
            _tell(f"kept as {self.folder}")
        except OSError as error:
            if not self.folder.is_dir():
                _tell(f"not kept in {self.folder}: {error.strerror or error}")
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _remove_leftovers(self) -> None:
        for path in self.folder.parent.glob(".*.tmp"):
            if is_leftover(path.name):
                shutil.rmtree(path, ignore_errors=True)


def _tell(text: str) -> None:
    print(f"[store] {text}", flush=True)
