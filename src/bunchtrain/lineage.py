"""Show where an output came from."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.tree import Tree

from bunchtrain import provenance
from bunchtrain.errors import InputError


def show(path: Path) -> int:
    """Print the lineage of `path` as a tree; return 1 when something in it has changed since, else 0.

    Raises
    ------
    InputError
        If the file has no record.
    """
    if not provenance.record_path(path).exists():
        mend = "name a file in a campaign's output folder that a stage has written"
        raise InputError("a file has no provenance record", file=path, mend=mend)
    console = Console(soft_wrap=True, highlight=False)
    console.print(_tree(path, set()))
    changes = provenance.altered(path)
    for line in changes:
        console.print(line, style="bold red")
    if not changes:
        console.print("every file is what its record says", style="green")
    return 1 if changes else 0


def _tree(path: Path, seen: set[Path]) -> Tree:
    if not provenance.record_path(path).exists():
        return Tree(f"{path}  (input)")
    if path in seen:
        return Tree(f"{path}  (see above)")
    seen.add(path)
    record = provenance.read(path)
    tree = Tree(f"{path}  by {record['stage']} v{record['spec'].get('version')}, {record['made']}")
    for source in record["inputs"]:
        tree.children.append(_tree(Path(source["path"]), seen))
    return tree
