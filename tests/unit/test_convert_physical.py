"""Jets that cannot be: refused by file, branch, entry and value."""

import awkward as ak
import numpy as np
import pytest
from test_convert import COMPUTED, P4, columns, run, write

from bunchtrain.errors import InputError


def test_an_unphysical_jet_is_named_by_its_entry_also_after_dropped_ones(tmp_path):
    branches = columns([0, 2, 0, 3])
    branches["jet_eta"][0], branches["jet_eta"][3] = 999, 90  # the first has no constituents and is dropped
    with pytest.raises(InputError, match="not physical") as caught:
        run(tmp_path, [write(tmp_path / "a.root", branches)])
    assert caught.value.details["found"] == "eta 90 in entry 3"
    branches = columns([0, 2, 0, 3])
    branches["part_px"] = ak.unflatten(np.array([1, 2, 3, 4, 2e7], "f4"), [0, 2, 0, 3])
    with pytest.raises(InputError, match="not physical") as caught:
        run(tmp_path, [write(tmp_path / "a.root", branches)])
    assert caught.value.details["found"] == "px 2e+07 in entry 3" and caught.value.details["key"] == "part_px"


def test_a_computed_jet_is_looked_at_too(tmp_path):
    branches = {f"part_{name}": ak.Array([[value]]) for name, value in zip(P4, (1e-9, 0.0, 50.0, 50.0), strict=True)}
    with pytest.raises(InputError, match="not physical") as caught:
        run(tmp_path, [write(tmp_path / "a.root", branches)], **COMPUTED)
    assert "computed" in caught.value.details["key"] and caught.value.details["found"].startswith("eta 2")
