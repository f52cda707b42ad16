"""Show where an output came from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from bunchtrain import provenance
from bunchtrain.errors import InputError


def show(path: Path) -> int:
    """Print the lineage of `path` as an indented tree; return 1 when something in it has changed since, else 0.

    Raises
    ------
    InputError
        If the file has no record.
    """
    if not provenance.record_path(path).exists():
        mend = "name a file in a campaign's output folder that a stage has written"
        raise InputError("a file has no provenance record", file=path, mend=mend)
    console = Console(soft_wrap=True, highlight=False, markup=False)
    for line in _lines(path, set()):
        console.print(line)
    changes = provenance.altered(path)
    for line in changes:
        console.print(line, style="bold red")
    if not changes:
        console.print("every file is what its record says", style="green")
    return 1 if changes else 0


def _lines(path: Path, seen: set[Path], indent: str = "") -> Iterator[str]:
    """Yield a line for a file and, further in, one for each of those it was made from."""
    if not provenance.record_path(path).exists():
        yield f"{indent}{path}  (input)"
    elif path in seen:
        yield f"{indent}{path}  (see above)"
    else:
        seen.add(path)
        record = provenance.read(path)
        yield f"{indent}{path}  by {record['stage']} v{record['spec'].get('version')}, {record['made']}"
        for source in record["inputs"]:
            yield from _lines(Path(source["path"]), seen, indent + "  ")
