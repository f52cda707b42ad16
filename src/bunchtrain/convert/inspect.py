"""What a file holds, which format that is, and a mapping to start from: the verb `inspect`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from bunchtrain import registry
from bunchtrain.config.expression import names, parse
from bunchtrain.convert import contents
from bunchtrain.convert.listing import is_hdf5, show_hdf5, show_tree
from bunchtrain.convert.trial import Trial, attempt
from bunchtrain.errors import BunchtrainError, InputError
from bunchtrain.files import atomic

_MAPPING = "a mapping to start from, made by `bunchtrain inspect` from {}: read it, units above all"


def inspect(file: str, write: Path | None = None, force: bool = False, everything: bool = False) -> int:
    """Print what a ROOT or HDF5 file holds, and for a ROOT file the mapping to start from.

    Parameters
    ----------
    file : str
        A file, or the address of one (`root://...`).
    write : path, optional
        Where the mapping goes; it is printed otherwise.
    force : bool
        Replace `write` if it exists.
    everything : bool
        List all branches, not only the first of a large tree.

    Returns
    -------
    int
        The exit status: 0, or 1 where no format fits and there is no mapping.

    Raises
    ------
    BunchtrainError
        If the file cannot be read, holds no entries, or `write` exists; at the end, what stands against the mapping.
    """
    # Names are copied from what is printed: in a file or a pipe they are not cut.
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 240)
    path: Path | str = file if "://" in file else Path(file)
    if write is not None and write.exists() and not force:
        mend = "give another name, or --force to replace it"
        raise InputError("the file to write exists", file=write, mend=mend)
    if isinstance(path, Path) and is_hdf5(path):
        show_hdf5(console, path)
        return 0
    trees = contents.read(path)
    if not trees:
        expected = "a TTree or an RNTuple"
        raise InputError("a file holds no tree", file=path, expected=expected, mend="look for another file")
    for tree in trees:
        show_tree(console, tree, everything)
    if not any(tree.entries for tree in trees):
        found = ", ".join(tree.name for tree in trees)
        raise InputError("a tree is empty", file=path, found=f"{found}: 0 entries", expected="at least one")
    return 0 if _show_mapping(console, path, trees, write) else 1


def _show_mapping(console: Console, path: Path | str, trees: list[contents.Tree], write: Path | None) -> bool:
    """Print or write the mapping; return whether there is one."""
    tables = {tree.name: [one.name for one in tree.branches] for tree in trees if tree.entries}
    sure = {kind: round(guess(tables), 2) for kind, (guess, _) in _guessers().items()}
    likely = sorted((kind for kind in sure if sure[kind] > 0), key=lambda kind: -sure[kind])
    if not likely:
        known = ", ".join(sure)
        none = "" if write is None else f" {write} is not written."
        text = f"No format that is known fits ({known}): there is no mapping to start from.{none}"
        console.print(f"{text} An ntuple is mapped by hand, see docs/samples.md.", style="red", soft_wrap=True)
        return False
    trial = _best(path, likely[:3], sure, tables, trees)
    kind = trial.kind
    others = ", ".join(f"{one} {sure[one]:.0%}" for one in likely if one != kind)
    console.print(
        f"Format: {kind}, {sure[kind]:.0%} sure{f' (else {others})' if others else ''}. {_why(trial, tables)}"
    )
    _show_trial(console, trial)
    text = as_yaml(trial, Path(str(path)).name)
    if write is None:
        console.print(text.rstrip(), soft_wrap=True)
    else:
        replaced = write.exists()
        with atomic(write) as temporary:
            temporary.write_text(text, encoding="utf-8")
        there = ", in place of what was there" if replaced else ""
        console.print(f"The mapping is in {write}{there}.", soft_wrap=True)
    if trial.problem is not None:
        raise trial.problem
    return True


def _guessers() -> dict[str, Any]:
    """Return what guesses and what starts a mapping, for each kind of format that can."""
    found = {}
    for kind in registry.kinds("convert.formats"):
        module = registry.load("convert.formats", kind)
        if hasattr(module, "guess") and hasattr(module, "options"):
            found[kind] = (module.guess, module.options)
    return found


def _best(
    path: Path | str,
    likely: list[str],
    sure: Mapping[str, float],
    tables: dict[str, list[str]],
    trees: list[contents.Tree],
) -> Trial:
    """Return the trial of the surest format; of those hardly less sure, the first that can be read."""
    trials = []
    for kind in likely:
        if sure[kind] < 0.5 * sure[likely[0]]:
            break
        options = registry.load("convert.formats", kind).options(tables)
        trials.append(attempt(path, kind, _typed(options, trees)))
        if trials[-1].problem is None:
            return trials[-1]
    return trials[0]


def _typed(options: Mapping[str, Any], trees: list[contents.Tree]) -> dict[str, Any]:
    """Return options whose columns have whole numbers where their branches have."""
    whole = {
        one.name: "u8" if one.dtype == "uint64" else "i8" if one.dtype in ("int64", "uint32") else "i4"
        for tree in trees
        for one in tree.branches
        if one.dtype.startswith(("int", "uint", "bool"))
    }
    found = dict(options)
    if "columns" in found:
        found["columns"] = {
            axis: {name: _column(one, whole) for name, one in columns.items()}
            for axis, columns in found["columns"].items()
        }
    return found


def _column(one: Any, whole: Mapping[str, str]) -> Any:
    given = {"branch": one} if isinstance(one, str) else dict(one)
    if given["branch"] in whole:
        given = {"branch": given["branch"], "dtype": whole[given["branch"]]}
    elif given.get("dtype", "f4") != "f4":
        del given["dtype"]
    return given["branch"] if len(given) == 1 else given


def _why(trial: Trial, tables: Mapping[str, list[str]]) -> str:
    """Say which of the branches that the format reads are there."""
    module = registry.load("convert.formats", trial.kind)
    try:
        columns = module.layout(module.Config.model_validate(trial.options)).columns
    except (BunchtrainError, ValueError):
        return ""
    there, wanted = {name for several in tables.values() for name in several}, set[str]()
    for column in columns.values():
        wanted |= set(_sources(column.source))
    found = sorted(wanted & there)
    return f"Of what it reads it finds {len(found)} branches by name, such as {', '.join(found[:4])}." if found else ""


def _sources(source: str) -> list[str]:
    try:
        return names(parse(source))
    except ValueError:
        return [one.strip() for one in source.split(",")]


def _show_trial(console: Console, trial: Trial) -> None:
    if trial.problem is None:
        text = f"Tried on the first {trial.entries} entries: they give {trial.rows} {trial.what}."
        console.print(text, style="green")
    else:
        console.print("Tried: the mapping cannot be used yet; what stands against it comes last.", style="red")
    for note in trial.notes:
        console.print(f"- {note}", soft_wrap=True)
    if trial.skipped:
        console.print(f"- not there, and no harm: {', '.join(trial.skipped)}", soft_wrap=True)


def as_yaml(trial: Trial, name: str) -> str:
    """Return the section `convert` of a campaign with the mapping."""
    section = {"convert": {"format": {"kind": trial.kind, **trial.options}}}
    body = yaml.safe_dump(section, sort_keys=False, allow_unicode=True, width=100)
    state = "" if trial.problem is None else f"# it cannot be used yet: {trial.problem.problem}\n"
    return f"# {_MAPPING.format(name)}\n{state}{body}"
