"""Section `report`."""

from pydantic import Field

from bunchtrain.config.base import Section


class Report(Section):
    """The HTML page."""

    title: str = Field("", max_length=120, description="heading; the campaign's name when empty")
