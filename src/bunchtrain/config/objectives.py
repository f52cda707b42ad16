"""What a scan can look for, by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

from bunchtrain.errors import nearest

Objective = Literal[
    "validation_loss",
    "validation_auc",
    "rejection",
    "calibration_error",
    "rank_seconds",
    "lut",
    "latency",
    "student_auc",
]

NAMES: tuple[str, ...] = get_args(Objective)

#: Those of which more is better; of the others less is.
LARGER = frozenset(["validation_auc", "rejection", "student_auc"])

#: Those that a finished training is asked for once more.
ASSESSED = frozenset(["rejection", "calibration_error"])

#: Those that rest on classes that are told apart.
OF_CLASSES = frozenset(NAMES) - {"validation_loss", "rank_seconds"}

#: Those that need a student of the training, taught and estimated.
OF_CORE = frozenset(["lut", "latency", "student_auc"])


def checked(objective: Any) -> Any:
    """Return one name or a list of them, if each is known and named once; a single name is looked at by its type.

    Raises
    ------
    ValueError
        If not.
    """
    if not isinstance(objective, Sequence) or isinstance(objective, str):
        return objective
    if not objective:
        raise ValueError("name at least one objective")
    for name in objective:
        if name not in NAMES:
            close = nearest(str(name), NAMES)
            meant = f", did you mean {close}?" if close else ""
            raise ValueError(f"there is no objective {name}{meant} There are {', '.join(NAMES)}")
    if twice := [name for name in objective if objective.count(name) > 1]:
        raise ValueError(f"{twice[0]} is named twice")
    return objective
