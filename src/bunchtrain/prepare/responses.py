"""What prepare does for rows of parameters and quantities alone: their columns, and the scaler of parameters."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bunchtrain.config.prepare import Prepare
from bunchtrain.errors import CampaignError
from bunchtrain.events.responses import ParameterScaler, opened
from bunchtrain.prepare.index import ShardInfo, require


def attributes(infos: Sequence[ShardInfo], settings: Prepare) -> dict[str, Any]:
    """Return what the index says of its rows: what they start from and what is wanted.

    Raises
    ------
    CampaignError
        If no parameter is named.
    InputError
        If a shard has not the columns that the settings name.
    """
    rows = infos[0].rows
    if not settings.parameters:
        mend = "name columns with their scales, e.g. `{energy: log, x: linear, phi: angle}`"
        raise CampaignError(f"no parameter of the {rows} is named", key="prepare.parameters", mend=mend)
    require(infos, rows, list(settings.parameters), "prepare.parameters")
    require(infos, rows, settings.quantities, "prepare.quantities")
    return {
        "parameters": json.dumps(settings.parameters, sort_keys=True),
        "quantities": json.dumps(settings.quantities),
    }


def fit_scaler(rows: str, dataset: Path) -> ParameterScaler:
    """Fit the scaler to the parameters of the training split."""
    data = opened(rows, dataset)
    data.known(data.indices("train"))  # what is no number is said now
    return ParameterScaler.fitted(data.parameters, data.given(data.indices("train")), dataset)
