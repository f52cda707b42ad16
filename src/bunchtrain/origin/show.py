"""Show where a file came from, or what was made of it: as a tree, as JSON, as PROV-JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from bunchtrain.errors import InputError
from bunchtrain.files import as_json
from bunchtrain.origin import prov
from bunchtrain.origin.records import Records
from bunchtrain.origin.ways import Answer, Question, answer
from bunchtrain.provenance import Found

FORMS = ("text", "json", "prov")


def show(question: Question, form: str = "text") -> int:
    """Print the answer; return 1 when something on the way has changed since, else 0.

    Raises
    ------
    InputError
        If no record speaks of the file, or there is no such form.
    """
    if form not in FORMS:
        raise InputError("there is no such form", key="--format", found=form, choices=FORMS)
    found = answer(question)
    if form == "text":
        _print(question, found)
    else:
        print(as_json(prov.document(found.found) if form == "prov" else _plain(question, found)), end="")
    return 1 if found.changes else 0


def _plain(question: Question, found: Answer) -> dict[str, Any]:
    return {
        "path": str(question.path),
        "direction": "down" if question.down else "up",
        "first": [str(one.output) for one in found.first],
        "records": [{"at": str(one.output), "record": one.entry} for one in found.found],
        "changes": found.changes,
    }


def _print(question: Question, found: Answer) -> None:
    console = Console(soft_wrap=True, highlight=False, markup=False)
    lines = _down(question.path, found) if question.down else _up(found)
    for line in lines:
        console.print(line)
    for change in found.changes:
        console.print(change, style="bold red")
    if not found.changes:
        console.print("every file is what its record says", style="green")


def _up(found: Answer) -> Iterator[str]:
    """Yield a line for a file and, further in, one for each of those it was made from."""
    records = {one.output: one for one in found.found}
    seen: set[Path] = set()

    def lines(path: Path, said: Mapping[str, Any], indent: str) -> Iterator[str]:
        one = records.get(path)
        if one is None:
            yield f"{indent}{path}  (input){_part(said)}"
            return
        if path in seen:
            yield f"{indent}{path}  (see above)"
            return
        seen.add(path)
        yield f"{indent}{path}  {_by(one)}{_part(said)}"
        for source, said_of in one.inputs:
            yield from lines(source, said_of, indent + "  ")
        for other in one.elsewhere:
            yield f"{indent}  {other['path']}  (elsewhere){_part(other)}"

    for one in found.first:
        yield from lines(one.output, {}, "")


def _down(path: Path, found: Answer) -> Iterator[str]:
    """Yield a line for the file and, further in, one for each that was made of it."""
    records = found.records or Records([])
    seen: set[Path] = set()

    def lines(one: Found, indent: str) -> Iterator[str]:
        if one.output in seen:
            yield f"{indent}{one.output}  (see above)"
            return
        seen.add(one.output)
        yield f"{indent}{one.output}  {_by(one)}{_parts(one)}"
        for other in records.made_from(one.output):
            yield from lines(other, indent + "  ")

    yield str(path)
    for one in found.first:
        yield from lines(one, "  ")
    if not found.first:
        yield f"  nothing in {', '.join(map(str, records.folders))} was made from it"


def _by(one: Found) -> str:
    return f"by {one.entry['stage']} v{one.entry['spec'].get('version')}, {one.entry['made']}"


def _part(said: Mapping[str, Any]) -> str:
    """Return which entries of an input were read, if that is known."""
    entries = said.get("entries")
    if not (isinstance(entries, list) and len(entries) == 2):
        return ""
    return f", entries {entries[0]} to {entries[1]} of {said.get('tree')}"


def _parts(one: Found) -> str:
    parts = [f"{Path(said['path']).name}{text}" for said in one.entry["inputs"] if (text := _part(said))]
    return f"; of {'; '.join(parts)}" if parts else ""
