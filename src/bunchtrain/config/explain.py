"""What pydantic complains of, said in the words of a campaign file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from bunchtrain import registry
from bunchtrain.config.base import Kind
from bunchtrain.errors import CampaignError


def explain(error: ValidationError, file: str | Path, model: type[BaseModel], prefix: str = "") -> CampaignError:
    """Turn the first complaint of pydantic into an error that names file, key and nearest match."""
    complaints = error.errors(include_url=False)
    # A misspelt key is also a missing one, and a value may fit none of several forms: say first what helps most.
    first = min(complaints, key=lambda one: {"value_error": 0, "extra_forbidden": 1}.get(one["type"], 2))
    places = [str(place) for place in first["loc"] if not _is_union_branch(place)]
    key = ".".join([prefix, *places] if prefix else places) or "the whole campaign"
    if first["type"] == "extra_forbidden":
        known = _fields(model, places[:-1])
        return CampaignError("a key is not known", file=file, key=key, found=places[-1], choices=known)
    if first["type"] == "missing":
        return CampaignError("a key is missing", file=file, key=key, expected="a value")
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error" and isinstance(first["input"], dict):  # of several keys of a section
        return CampaignError(message, file=file, key=key, mend="change one of these")
    found = repr(first["input"])
    return CampaignError(
        "a value does not fit",
        file=file,
        key=key,
        found=found if len(found) <= 120 else found[:117] + "...",
        expected=message[0].lower() + message[1:],
        choices=_choices(first),
    )


def checked_kind(kind: Kind, family: str, key: str, file: str | Path = "") -> dict[str, Any]:
    """Return a kind's section with defaults filled in; see `Kind.checked`.

    Raises
    ------
    CampaignError
        If the kind or one of its options is not known, or a value does not fit.
    """
    try:
        return kind.checked(family, key)
    except ValidationError as error:
        raise explain(error, file, registry.declared(family, kind.kind), key) from None
    except CampaignError as error:
        error.details = {"file": str(file), **error.details}
        raise


def _choices(complaint: Any) -> list[str] | None:
    """Return the allowed words of a value that must be one of a list."""
    if complaint["type"] != "literal_error":
        return None
    return re.findall(r"'([^']*)'", complaint["ctx"]["expected"])


def _is_union_branch(place: int | str) -> bool:
    """Return whether pydantic, not the campaign, put this step into the path."""
    return place in ("Integers", "Floats", "Choice") or "[" in str(place)


def _fields(model: type[BaseModel], places: list[str]) -> list[str]:
    """Return the keys known at a place inside a section."""
    current: Any = model
    for place in places:
        field = current.model_fields.get(place) if _is_model(current) else None
        current = _inner(field.annotation) if field is not None else current
    return list(current.model_fields) if _is_model(current) else []


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _inner(annotation: Any) -> Any:
    """Return the model inside `Model | None`, `dict[str, Model]` and the like."""
    if _is_model(annotation):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        if _is_model(inner := _inner(argument)):
            return inner
    return None
