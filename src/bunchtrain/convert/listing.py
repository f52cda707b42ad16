"""Tables of what a file holds, for the screen."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import h5py
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bunchtrain.convert import contents
from bunchtrain.errors import ContractError
from bunchtrain.events import layout

_HDF5 = b"\x89HDF\r\n\x1a\n"

#: Branches of a tree that are listed, unless all are asked for.
_SHOWN = 60


def is_hdf5(path: Path) -> bool:
    """Return whether a file begins like HDF5."""
    try:
        with path.open("rb") as stream:
            return stream.read(len(_HDF5)) == _HDF5
    except OSError:
        return False  # what is wrong with it is told when it is opened


def show_tree(console: Console, tree: contents.Tree, everything: bool) -> None:
    """Print the branches of a tree, and those that cannot be read."""
    size = f", {_bytes(tree.size)} on disk, {_bytes(tree.unpacked)} unpacked" if tree.size else ""
    title = f"{tree.kind} {tree.name}: {tree.entries} entries, {len(tree.branches)} branches, {tree.compression}{size}"
    table = Table("branch", "type", "of each entry", "unit?", "on disk", title=title, title_justify="left")
    shown = tree.branches if everything else tree.branches[:_SHOWN]
    for one in shown:
        shape = Text(one.trouble, style="red") if one.trouble else Text(_shape(one))
        table.add_row(Text(one.name), Text(one.kind), shape, one.units, _bytes(one.size) if one.size else "")
    console.print(table)
    if len(shown) < len(tree.branches):
        console.print(f"and {len(tree.branches) - len(shown)} more branches: --all lists them")
    bad = [one.name for one in contents.unreadable(tree)]
    if bad:
        console.print(
            Text(f"{len(bad)} of {len(tree.branches)} branches cannot be read: {', '.join(bad[:12])}", style="red")
        )


def _shape(one: contents.Branch) -> str:
    if one.depth is None:
        return "no numbers"
    return {0: "a number", 1: "a list"}.get(one.depth, "lists of lists")


def _bytes(size: int) -> str:
    for unit, step in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= step:
            return f"{size / step:.1f} {unit}"
    return f"{size} B"


def show_hdf5(console: Console, path: Path) -> None:
    """Print the columns and attributes of an HDF5 file, and whether it is under the event contract.

    Raises
    ------
    ContractError
        If it is no HDF5 that can be read.
    """
    try:
        with h5py.File(path) as file:
            _show_columns(console, path, file)
            for key, value in file.attrs.items():
                console.print(Text(f"{key}: {_told(value)}"), soft_wrap=True)
    except OSError as error:
        raise ContractError("a file is not readable HDF5", file=path, found=error) from None
    try:
        console.print(f"It is under the event contract: {layout.check(path)} rows.", style="green")
    except ContractError as error:
        console.print("It is not under the event contract:", style="red")
        console.print(Text(str(error)), soft_wrap=True)


def _show_columns(console: Console, path: Path, file: h5py.File) -> None:
    table = Table("dataset", "type", "shape", "unit", "what", "from", title=str(path), title_justify="left")

    def visit(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            about = [str(item.attrs.get(key, "")) for key in ("units", "description", "source_branch")]
            table.add_row(name, str(item.dtype), " x ".join(map(str, item.shape)), *map(Text, about))

    file.visititems(visit)
    console.print(table)


def _told(value: Any, most: int = 300) -> str:
    text = str(value)
    with contextlib.suppress(ValueError):
        text = json.dumps(json.loads(text))
    return text if len(text) <= most else f"{text[: most - 4]} ..."
