"""The records below some folders: what each file was made from, and what was made of it."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from bunchtrain.errors import BunchtrainError
from bunchtrain.origin.prov import run_of
from bunchtrain.provenance import SUFFIX, Found, read, record_path

#: Stages that a campaign ends in.
_ENDS = ("evaluate", "systematics", "synthesize", "report")


def outputs_in(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder that have a record; hidden folders are left out, links are not followed."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if name.endswith(SUFFIX) and not name.startswith("."):
                yield Path(place) / name.removesuffix(SUFFIX)


def key(path: Path) -> str:
    """Return what two paths of one place have in common."""
    return os.path.abspath(path)  # noqa: PTH100  resolve would follow links


class Records:
    """Records by what they speak of.

    Attributes
    ----------
    found : list of Found
        All of them.
    broken : list of str
        A line for each that cannot be read.
    """

    def __init__(self, folders: Iterable[Path]) -> None:
        self.folders = list(folders)
        self.found: list[Found] = []
        self.broken: list[str] = []
        for path in dict.fromkeys(path for folder in self.folders for path in outputs_in(folder)):
            try:
                self.found.append(Found(path, read(path)))
            except BunchtrainError as error:
                self.broken.append(f"{record_path(path)}: {error.problem}")
        self._readers: dict[str, list[Found]] = defaultdict(list)
        self._readers_of_content: dict[str, list[Found]] = defaultdict(list)
        self._made: dict[str, list[Found]] = defaultdict(list)
        for one in self.found:
            self._made[one.entry["output"]["sha256"]].append(one)
            for path, _ in one.inputs:
                self._readers[key(path)].append(one)
            for source in one.entry["inputs"]:
                self._readers_of_content[source["sha256"]].append(one)

    def with_content(self, digest: str) -> list[Found]:
        """Return the records of files with this content."""
        return self._made[digest]

    def made_from(self, path: Path) -> list[Found]:
        """Return the records of what was made from the file of this name."""
        return _each_once(self._readers[key(path)])

    def made_from_content(self, digest: str) -> list[Found]:
        """Return the records of what was made from a file with this content, whatever its name."""
        return _each_once(self._readers_of_content[digest])

    def below(self, first: Iterable[Found]) -> list[Found]:
        """Return these records and those of all that was made of them, nearest first."""
        return reached(first, lambda one: self.made_from(one.output))


def reached(first: Iterable[Found], further: Callable[[Found], Iterable[Found]]) -> list[Found]:
    """Return records and all that `further` leads to from them, nearest first, each once."""
    seen: dict[Path, Found] = {}
    waiting = list(first)
    for one in waiting:
        if one.output not in seen:
            seen[one.output] = one
            waiting += further(one)
    return list(seen.values())


def together(found: Iterable[Found], ends: Iterable[Found]) -> list[Found]:
    """Return the records of all that `ends` were made from, and of what else the same runs of stages made."""
    made = {key(one.output): one for one in found}
    below = reached(ends, lambda one: [made[key(path)] for path, _ in one.inputs if key(path) in made])
    runs = {run_of(one) for one in below}
    return [one for one in made.values() if run_of(one) in runs]


def ending(found: Iterable[Found]) -> list[Found]:
    """Return the records of a campaign's last results and of all below; without the trainings of its scan."""
    every = list(found)
    ends = [one for one in every if one.entry["stage"] in _ENDS]
    return together(every, ends) if ends else every


def _each_once(found: list[Found]) -> list[Found]:
    return list({one.output: one for one in found}.values())


def campaign_folder(path: Path) -> Path:
    """Return where to look for what is akin to a file: its campaign's outputs, or the present folder, or its own."""
    for folder in Path(key(path)).parents:
        if (folder / "convert").is_dir() and (folder / "logs").is_dir():
            return _short(folder)
    beside = record_path(path).exists() and not Path(key(path)).is_relative_to(Path.cwd())
    return path.parent if beside else Path()


def _short(path: Path) -> Path:
    """Return a path as one writes it from the present folder."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
