"""Students beside the campaign's own: every combination of listed values, or with values that a search proposes."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bunchtrain import registry
from bunchtrain.config import literals
from bunchtrain.config.explain import checked_kind, explain
from bunchtrain.config.synthesize import KINDS, Student, Synthesize
from bunchtrain.errors import CampaignError

KEY = "synthesize.candidates"

#: More are hardly meant: each is a training and a synthesis.
MOST = 200

#: Bytes of a name: it becomes a folder's.
LONGEST = 200


def candidates(settings: Synthesize, file: str | Path) -> dict[str, Student]:
    """Return the students by name, e.g. `weight_bits-4_hidden-24x16`; none where no values are listed.

    Raises
    ------
    CampaignError
        If a key is none of a student's, a value does not fit, or two students would have one name.
    """
    grid = settings.candidates
    if not grid:
        return {}
    found: dict[str, Student] = {}
    combinations = itertools.product(*grid.values())
    for values in itertools.islice(combinations, MOST + 1):
        changes = dict(zip(grid, values, strict=True))
        student = varied(settings.student, changes, file, KEY)
        name = "_".join(f"{key.rpartition('.')[2]}-{_plain(value)}" for key, value in changes.items())[:LONGEST]
        if student in found.values():
            raise CampaignError("two candidates are the same", file=file, key=KEY, found=name, mend="drop one")
        if name in found:
            raise CampaignError("two candidates would have one name", file=file, key=KEY, found=name)
        found[name] = student
    if len(found) > MOST:
        raise CampaignError("too many candidates", file=file, key=KEY, expected=f"at most {MOST} combinations")
    return found


def _plain(value: Any) -> str:
    """Return a value as a part of a file's name."""
    if isinstance(value, Mapping):
        value = value.values()
    text = "x".join(map(str, value)) if isinstance(value, Iterable) and not isinstance(value, str) else str(value)
    return re.sub(r"[^A-Za-z0-9._-]+", "x", text)


def varied(student: Student, changes: Mapping[str, Any], file: str | Path, where: str) -> Student:
    """Return a student with some keys changed, e.g. `{"weight_bits": 4, "network.hidden": [8]}`.

    Raises
    ------
    CampaignError
        If a student has no such key, or a value does not fit; `where` is the section that asks for it.
    """
    fields = _fields(student)
    for key, value in sorted(changes.items(), key=lambda one: one[0].count(".")):  # a kind before its options
        section, _, option = key.rpartition(".")
        if section not in ("", *KINDS) or (not section and option not in fields):
            known = [*fields, *(f"{name}.{option}" for name in KINDS for option in fields[name])]
            raise CampaignError("a student has no such key", file=file, key=f"{where}.{key}", found=key, choices=known)
        fields |= {section: {**fields[section], option: value}} if section else {option: value}
    try:
        found = Student.model_validate(fields)
    except ValidationError as error:
        raise explain(error, file, Student, where) from None
    check_kinds(found, file, where)
    return found


def check_kinds(student: Student, file: str | Path, where: str) -> None:
    """Check the kinds of a student, their options, and that its compression can prune what it is to prune.

    Raises
    ------
    CampaignError
        Naming the key below `where`.
    """
    for name, family in KINDS.items():
        checked_kind(getattr(student, name), family, f"{where}.{name}", file)
    kind = student.compression.kind
    if student.pruning not in literals.prunes(kind):
        able = [one for one in registry.kinds(KINDS["compression"]) if student.pruning in literals.prunes(one)]
        raise CampaignError(
            f"the compression {kind} cannot prune {student.pruning}",
            file=file,
            key=f"{where}.pruning",
            found=student.pruning,
            expected=" or ".join(literals.prunes(kind)),
            mend=f"leave `pruning` out, or take a compression that can: {', '.join(able)}",
        )


def own_value(student: Student, key: str) -> Any:
    """Return what a student has under a key of `varied`, with the defaults of its kinds."""
    section, _, option = key.rpartition(".")
    return (checked_kind(getattr(student, section), KINDS[section], section) if section else _fields(student))[option]


def _fields(student: Student) -> dict[str, Any]:
    """Return what a student has under each key, those included that its spec leaves out."""
    return {**{name: getattr(student, name) for name in Student.model_fields}, **student.model_dump()}
