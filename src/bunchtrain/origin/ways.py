"""The way from a file up to what it was made from, or down to what was made of it, and what has changed on it."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bunchtrain import provenance, zips
from bunchtrain.errors import InputError
from bunchtrain.files import sha256
from bunchtrain.origin.records import Records, campaign_folder
from bunchtrain.provenance import Found


@dataclass(frozen=True)
class Question:
    """What is asked.

    Attributes
    ----------
    path : path
        The file.
    down : bool
        What was made of it, instead of what it was made from.
    folders : tuple of path
        Where to look for records; none for the file's campaign, or the present folder.
    by_content : bool
        The file is known by its content, whatever its name.
    """

    path: Path
    down: bool = False
    folders: tuple[Path, ...] = ()
    by_content: bool = False


@dataclass(frozen=True)
class Answer:
    """What was found.

    Attributes
    ----------
    found : list of Found
        All records on the way, nearest first.
    changes : list of str
        A line for each file and record that is no longer as it was.
    first : list of Found
        Where the way begins.
    records : Records or None
        All that was looked at, where the way leads down.
    """

    found: list[Found]
    changes: list[str]
    first: list[Found] = field(default_factory=list)
    records: Records | None = None


def answer(question: Question) -> Answer:
    """Return the way that is asked for.

    Raises
    ------
    InputError
        If no record speaks of the file.
    """
    return _down(question) if question.down else _up(question)


def _up(question: Question) -> Answer:
    starts = _starts(question)
    found: dict[Path, Found] = {}
    lines: list[str] = []
    for start in starts:
        chain, broken = provenance.walk(start)
        found |= {one.output: one for one in chain}
        lines += broken
    every = list(found.values())
    lines += map(str, provenance.problems(every))
    lines += [line for one in every for line in _inside_core(one, every)]
    return Answer(every, list(dict.fromkeys(lines)), [found[start] for start in starts if start in found])


def _starts(question: Question) -> list[Path]:
    path = question.path
    if not question.by_content:
        if not provenance.record_path(path).exists():
            mend = "name a file in a campaign's output folder that a stage has written, or ask --by-content"
            raise InputError("a file has no provenance record", file=path, mend=mend)
        return [path]
    records, digest = _searched(question), _digest(path)
    if not (own := records.with_content(digest)):
        mend = "it may be an input: ask with --down --by-content; --in names other folders"
        raise InputError("no record speaks of this content", file=path, found=digest, mend=mend)
    return [one.output for one in own]


def _down(question: Question) -> Answer:
    records, path = _searched(question), question.path
    moved: set[Path] = set()  # what is here under another name is not missed
    if question.by_content:
        digest = _digest(path)
        own, first = records.with_content(digest), records.made_from_content(digest)
        moved = {at for one in first for at, said in one.inputs if said["sha256"] == digest and not at.exists()}
    else:
        first = records.made_from(path)
        own = [Found(path, provenance.read(path))] if provenance.record_path(path).exists() else []
    if not first and not own:
        mend = "if it was moved or renamed, ask --by-content; --in names other folders"
        looked = ", ".join(map(str, records.folders))
        raise InputError("no record speaks of this file", file=path, found=f"looked in {looked}", mend=mend)
    found = list({one.output: one for one in (*own, *records.below(first))}.values())
    changes = provenance.problems(found, lambda path: path not in moved)
    return Answer(found, [*records.broken, *map(str, changes)], first, records)


def _searched(question: Question) -> Records:
    for folder in question.folders:
        if not folder.is_dir():
            raise InputError("there is no such folder", key="--in", found=folder)
    return Records(question.folders or [campaign_folder(question.path)])


def _digest(path: Path) -> str:
    if not path.is_file():
        raise InputError("a file is missing", file=path, mend="its content is asked for: name a file that is here")
    return sha256(path)


def _inside_core(one: Found, chain: Iterable[Found]) -> Iterator[str]:
    """Yield a line for each file that a core says it was made from, and of which no record speaks."""
    if one.entry["stage"] != "synthesize" or one.output.suffix != ".zip" or not one.output.is_file():
        return
    told = {what["sha256"] for row in chain for what in (row.entry["output"], *row.entry["inputs"])}
    try:
        with zipfile.ZipFile(one.output) as core:
            name = next(name for name in core.namelist() if name.count("/") == 1 and name.endswith("/provenance.json"))
            rows = json.loads(core.read(name))["made_from"]
        for row in rows:
            for what in (row["output"], *row["inputs"]):
                if what["sha256"] not in told:
                    yield f"{one.output}: made from another {what['name']} than the records say"
    except (*zips.DAMAGED, KeyError, TypeError, StopIteration):
        yield f"{one.output}: does not say what it was made from"
