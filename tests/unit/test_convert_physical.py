"""Jets that cannot be: refused by file, branch, entry and value; those of variations too, by the variation's name."""

import awkward as ak
import numpy as np
import pytest
from test_convert import COMPUTED, P4, columns, run, write
from test_convert_columns import convert

from bunchtrain.convert.physical import LIMITS, MOST
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


@pytest.mark.parametrize(
    ("axis", "name", "formula", "value"),
    [
        ("jets", "pt", "where(event_number == 3, -pt, pt)", "pt -0.5 in entry 3"),
        ("jets", "pt", "where(event_number == 3, 0, pt)", "pt 0 in entry 3"),
        ("jets", "eta", "where(event_number == 3, 21, eta)", "eta 21 in entry 3"),
        ("jets", "mass", "where(event_number == 3, mass * 1e9, mass)", "mass 2.5e+08 in entry 3"),
        ("constituents", "energy", "where(jets.event_number == 3, 2e7, energy)", "energy 2e+07 in entry 3"),
    ],
)
def test_a_variation_that_makes_a_jet_unphysical_is_named(tmp_path, axis, name, formula, value):
    branches = columns([0, 2, 0, 3, 1])
    branches["jet_pt"][:], branches["jet_mass"][:] = 0.5, 0.25
    path = write(tmp_path / "a.root", branches)
    asked = {"systematics": {"up": {"jets": {"pt": "pt * 2"}}, "down": {axis: {name: formula}}}}
    with pytest.raises(InputError, match="variation down makes a jet that is not physical") as caught:
        convert(tmp_path, [path], columns=asked)
    details = caught.value.details
    assert details["file"] == str(path) and details["key"] == f"convert.systematics.down.{axis}.{name}"
    assert details["found"] == f"{value}, from {formula}" and "convert.select" in details["mend"]
    assert not (tmp_path / "out1" / "a.h5").exists()


def test_a_variation_is_judged_by_the_rows_that_are_kept(tmp_path):
    branches = columns([1, 2, 1])
    branches["jet_eta"][:] = 1, 2, 3
    asked = {"select": {"jets": "eta < 2.5"}, "systematics": {"up": {"jets": {"eta": "where(eta > 2.5, 99, eta)"}}}}
    found, _, _ = convert(tmp_path, [write(tmp_path / "a.root", branches)], columns=asked)
    np.testing.assert_array_equal(found["systematics/up/jets/eta"], [1, 2])


def test_limits_are_kept_to_the_last_number_and_nan_breaks_them():
    pt, energy = LIMITS["jets/pt"], LIMITS["constituents/energy"]
    assert pt.broken(np.array([1e-30, MOST])) is None and energy.broken(np.array([-MOST, MOST])) is None
    assert pt.broken(np.zeros(0)) is None
    np.testing.assert_array_equal(pt.broken(np.array([1, 0, np.nan, np.inf, -1])), [0, 1, 1, 1, 1])
    np.testing.assert_array_equal(energy.broken(np.array([1, np.nextafter(MOST, np.inf), np.nan])), [0, 1, 1])
