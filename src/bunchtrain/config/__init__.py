"""The campaign file: one pydantic model per section, checked before any work starts."""

from bunchtrain.config.campaign import Campaign, load_campaign

__all__ = ["Campaign", "load_campaign"]
