"""What tasks and networks say of themselves in literals, read without importing them, and what holds without a word.

See `tasks.base` and `models.base`.
"""

from __future__ import annotations

from typing import Any

from bunchtrain import registry
from bunchtrain.levels import LEVELS


def rows(family: str, kind: str) -> str:
    """Return the rows that a task or a network takes: jets, unless it says otherwise."""
    return registry.constant(family, kind, "ROWS", f"{family[:-1]}.kind") or "jets"


def items(task: str) -> str:
    """Return what a task tells apart: its rows, unless it says otherwise."""
    return registry.constant("tasks", task, "ITEMS") or rows("tasks", task)


def wanted(task: str) -> tuple[str, ...]:
    """Return the levels on which a task wants answers: whole rows, unless it says otherwise."""
    return registry.constant("tasks", task, "LEVELS") or LEVELS[:1]


def given(model: str) -> tuple[str, ...]:
    """Return the levels on which a network answers: all, unless it says otherwise."""
    return registry.constant("models", model, "LEVELS") or LEVELS


def fitting(task: str) -> list[str]:
    """Return the networks that take the rows of a task and have the answers that it wants."""
    return [one for one in taking(task) if set(wanted(task)) <= set(given(one))]


def answers(family: str, kind: str) -> str:
    """Return what a network answers with, or a task wants: logits of classes, unless it says otherwise."""
    return registry.constant(family, kind, "ANSWERS") or "classes"


def unlabelled(task: str) -> bool:
    """Return whether a task learns without labels, which judge it alone."""
    return bool(registry.constant("tasks", task, "UNLABELLED"))


def taking(task: str) -> list[str]:
    """Return the networks that take the rows of a task, and answer with what it wants."""
    return [one for one in registry.kinds("models") if _taken("models", one) == _taken("tasks", task)]


def _taken(family: str, kind: str) -> tuple[str, str]:
    """Return rows and answers; a surrogate takes whatever rows have parameters and quantities."""
    given = answers(family, kind)
    return ("responses" if given == "response" else rows(family, kind)), given


def sees_variables(model: str) -> bool:
    """Return whether a network sees the columns that `prepare.variables` names."""
    return bool(registry.constant("models", model, "SEES") == "variables")


def secret(task: str) -> tuple[str, ...]:
    """Return the options of a task that name columns which the network must not see."""
    return registry.constant("tasks", task, "SECRET") or ()


def truth(task: str) -> tuple[str, ...]:
    """Return the options of a task that name columns of constituents from which it learns."""
    return registry.constant("tasks", task, "TRUTH") or ()


def columns(task: str) -> tuple[str, ...]:
    """Return the options of a surrogate's task that name columns of rows, by which it is judged."""
    return registry.constant("tasks", task, "COLUMNS") or ()


def maxwell(model: str) -> tuple[str, ...]:
    """Return how a surrogate can keep Maxwell's equations: not at all, unless it says otherwise."""
    return registry.constant("models", model, "MAXWELL") or ("none",)


def needs(task: str) -> tuple[str, ...]:
    """Return the keys of `simulate` without which simulated samples hold nothing that a task looks for."""
    return registry.constant("tasks", task, "NEEDS") or ()


def judged(task: str) -> tuple[str, ...]:
    """Return the options of a task that the evaluation alone reads."""
    return registry.constant("tasks", task, "JUDGED") or ()


def prunes(compression: str) -> tuple[str, ...]:
    """Return what a compression of a student can prune: single weights, unless it says otherwise."""
    return registry.constant("synth.compressors", compression, "PRUNES") or ("weights",)


def alone(task: str) -> dict[str, Any]:
    """Return the options with which a task asks for answers about whole rows alone."""
    return registry.constant("tasks", task, "ALONE") or {}
