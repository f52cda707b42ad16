"""The JSON schema of a campaign, for editors: `python -m bunchtrain.config.schema config/schema.json`."""

from __future__ import annotations

import sys
from typing import Any

from bunchtrain import registry
from bunchtrain.config.campaign import KINDS, NAMED_KINDS, Campaign
from bunchtrain.files import write_json


def campaign_schema() -> dict[str, Any]:
    """Return the schema, with the options of every kind that is installed here."""
    schema = Campaign.model_json_schema()
    schema["$defs"]["Kind"]["additionalProperties"] = True
    schema["x-kinds"] = {
        key: {kind: registry.declared(family, kind).model_json_schema() for kind in registry.kinds(family)}
        for key, family in {**KINDS, **NAMED_KINDS}.items()
    }
    return schema


if __name__ == "__main__":
    write_json(sys.argv[1], campaign_schema())
