"""A mapping tried out on a file: the first step is read, and what can be mended in the mapping is."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bunchtrain import registry
from bunchtrain.config.base import Kind
from bunchtrain.config.explain import checked_kind
from bunchtrain.convert import physical
from bunchtrain.convert.arrays import tidy
from bunchtrain.convert.sanity import Sanity
from bunchtrain.errors import BunchtrainError

#: Entries of a file that are read.
ENTRIES = 1000

_KEY = "convert.format"
_STEP = "32 MB"
_MENDS = 40
_MAY_BE_NONE = ("run", "event", "weight", "metadata")


@dataclass
class Trial:
    """What came of it.

    Attributes
    ----------
    kind, options : str, dict
        The mapping, as it stands now.
    problem : BunchtrainError, optional
        What stands against it; None if rows could be read.
    notes : list of str
        What was changed, and what looks wrong.
    rows, entries : int
        Rows made of the first entries.
    what : str
        What a row is.
    skipped : list of str
        Branches that the file lacks, without harm.
    """

    kind: str
    options: dict[str, Any]
    problem: BunchtrainError | None = None
    notes: list[str] = field(default_factory=list)
    rows: int = 0
    entries: int = 0
    what: str = "jets"
    skipped: list[str] = field(default_factory=list)


def attempt(path: Path | str, kind: str, options: Mapping[str, Any]) -> Trial:
    """Try a mapping, mend it where a column or a number that can be spared is wrong, and try again."""
    trial = Trial(kind, copy.deepcopy(dict(options)))
    for _ in range(_MENDS):
        trial.problem = None
        try:
            warnings = _read(path, trial)
        except BunchtrainError as error:
            trial.problem = error
            if not _mended(trial, error):
                return trial
            continue
        if not _other_unit(path, trial, warnings):
            trial.notes += warnings
        return trial
    return trial


def _read(path: Path | str, trial: Trial) -> list[str]:
    """Read the first step and return what looks wrong with it."""
    checked_kind(Kind(kind=trial.kind, **trial.options), "convert.formats", _KEY)
    module = registry.load("convert.formats", trial.kind)
    config = module.Config.model_validate(trial.options)
    layout = module.layout(config)
    sanity = Sanity(layout.rows, layout.columns)
    with module.opened(path, config) as source:
        trial.entries, trial.what, trial.skipped = min(source.entries, ENTRIES), layout.rows, list(source.skipped)
        trial.rows = 0
        for batch in source.batches(_STEP, 0, trial.entries):
            step = tidy(batch, layout.rows, run=0)
            physical.check(step, path, layout.columns)
            sanity.add(step.events)
            trial.rows += len(step.entries)
    return sanity.warnings()


def _mended(trial: Trial, error: BunchtrainError) -> bool:
    """Leave out what the mapping can do without; return whether there was something to change."""
    key, options = error.details.get("key", ""), trial.options
    short = key.removeprefix(f"{_KEY}.")
    if short in _MAY_BE_NONE and options.get(short, "") is not None:
        options[short] = None
    elif short.count(".") == 2 and short.startswith("columns."):
        _, axis, name = short.split(".")
        if options.get("columns", {}).get(axis, {}).pop(name, None) is None:
            return False
    elif short.startswith("jets.") and isinstance(options.get("jets"), dict) and short[5:] in options["jets"]:
        del options["jets"][short[5:]]
    elif "finite" in error.problem:
        return _told_missing(trial, key)
    else:
        return False
    trial.notes.append(f"{short} is left out: {error.problem} ({error.details.get('found', '')})")
    return True


def _told_missing(trial: Trial, branch: str) -> bool:
    """Let 0 stand for NaN in the column of a branch."""
    for axis, columns in trial.options.get("columns", {}).items():
        for name, one in columns.items():
            given = {"branch": one} if isinstance(one, str) else one
            if given["branch"] == branch and "missing" not in given:
                columns[name] = {**given, "missing": 0}
                trial.notes.append(f"{axis}.{name} has values that are not finite: 0 stands for them")
                return True
    return False


def _other_unit(path: Path | str, trial: Trial, warnings: list[str]) -> bool:
    """Take MeV in place of GeV where the mean pt is out of all bounds, and no more with MeV."""
    fields = registry.declared("convert.formats", trial.kind).model_fields
    if "units" not in fields or trial.options.get("units", "GeV") != "GeV" or trial.what != "jets":
        return False
    if not any("is the unit right" in one for one in warnings):
        return False
    other = Trial(trial.kind, {**trial.options, "units": "MeV"})
    try:
        found = _read(path, other)
    except BunchtrainError:
        return False
    if any("is the unit right" in one for one in found):
        return False
    trial.options = other.options
    trial.notes += ["units: MeV, as the mean pt would be too large in GeV", *found]
    return True
