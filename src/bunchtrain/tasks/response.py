"""Response of anything: quantities that follow from parameters, drawn by a surrogate."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from bunchtrain.tasks._response import ResponseTask

#: See `tasks.base`.
ROWS = "responses"
ANSWERS = "response"
LEVELS = ("graph",)
ITEMS = "responses"


class Config(BaseModel):
    """Nothing to choose."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Task(ResponseTask):
    """Parameters to quantities."""

    def __init__(self, config: Config, classes: list[str]) -> None:
        super().__init__(classes)
