"""Points of a search's space: conditions, forbidden combinations, points to start from, and how they are drawn."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bunchtrain.config import points
from bunchtrain.config.combinations import check_combinations, lies_in
from bunchtrain.config.scan import Scan
from bunchtrain.errors import CampaignError
from bunchtrain.scan.space import Space
from bunchtrain.scan.suggest import suggest

SPACE = {
    "train.schedule": {"choices": ["cosine", "plateau"]},
    "train.plateau_factor": {"low": 0.1, "high": 0.9, "when": {"train.schedule": "plateau"}},
    "model.hidden": {"low": 4, "high": 64, "log": True},
    "train.batch_size": {"choices": [64, 256, 1024]},
}
OWN = {"train.schedule": "cosine", "train.plateau_factor": 0.5, "model.hidden": 16, "train.batch_size": 256}
LARGE = [{"model.hidden": {"low": 33}, "train.batch_size": [256, 1024]}]


def scan(**changes) -> Scan:
    return Scan.model_validate({"trials": 20, "initial": 5, "space": SPACE, "forbid": LARGE, **changes})


def refused(own=OWN, **changes) -> CampaignError:
    with pytest.raises(CampaignError) as caught:
        check_combinations(scan(**changes), own, "scan", "my.yaml")
    return caught.value


@pytest.mark.parametrize("method", ["bayesian", "random", "quasi_random"])
def test_suggestions_are_allowed_and_have_what_counts(tmp_path, method):
    of, found = Space(scan(method=method), OWN), []
    for number in range(14):
        values = suggest(of, number, found, 3, str(tmp_path))
        assert not points.forbidden(of.settings, values)
        assert ("train.plateau_factor" in values) == (values["train.schedule"] == "plateau")
        assert all(lies_in(value, of.settings.space[name]) for name, value in values.items())
        found.append((values, "F_nan" if number == 2 else -float(values["model.hidden"])))
    assert found[0][0] == {name: value for name, value in OWN.items() if name != "train.plateau_factor"}
    assert {values["train.schedule"] for values, _ in found} == {"cosine", "plateau"}


def test_points_to_start_from_come_after_the_campaigns_own(tmp_path):
    start = [{"train.schedule": "plateau", "train.plateau_factor": 0.2}, {"model.hidden": 4}]
    of = Space(scan(start=start), OWN)
    first, second, third = (suggest(of, number, [], 3, str(tmp_path)) for number in range(3))
    assert "train.plateau_factor" not in first and second == {**OWN, **start[0]}
    assert third == {**first, "model.hidden": 4}


def test_even_points_are_more_even_than_random_ones():
    """Of every eighth of the range each has two of sixteen points, for numbers and for their logarithms."""
    space = {"a": {"low": 0.0, "high": 1.0}, "b": {"low": 1e-4, "high": 1.0, "log": True}}
    of = Space(Scan.model_validate({"trials": 1, "space": space}), {"a": 0.5, "b": 0.5})
    found = [of.even(number, 5) for number in range(16)]
    eighths = np.floor(8 * np.array([[one["a"], 1 + math.log10(one["b"]) / 4] for one in found]))
    for axis in eighths.T:
        assert np.bincount(axis.astype(int), minlength=8).tolist() == [2] * 8


def test_the_order_of_keys_changes_nothing(tmp_path):
    turned = Scan.model_validate({**scan().model_dump(), "space": dict(reversed(SPACE.items()))})
    for number in range(1, 4):
        one, other = (suggest(Space(way, OWN), number, [], 3, str(tmp_path)) for way in (scan(), turned))
        assert one == other


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(0, 1), min_size=4, max_size=4))
def test_every_point_of_the_unit_cube_has_its_place(unit):
    settings = scan()
    point = points.place(settings.space, unit)
    assert point.keys() == SPACE.keys()
    assert all(lies_in(value, settings.space[name]) for name, value in point.items())
    counting = points.active(settings.space, point)
    assert points.active(settings.space, counting) == counting
    whole = points.full(settings.space, point, OWN)
    assert points.active(settings.space, whole) == counting


def test_whole_numbers_are_equally_likely():
    space = Scan.model_validate({"trials": 1, "space": {"n": {"low": 1, "high": 4}}}).space
    found = [points.place(space, [share])["n"] for share in np.linspace(0, 1, 400, endpoint=False)]
    assert np.bincount(found).tolist() == [0, 100, 100, 100, 100]


def test_true_is_not_one():
    assert points.meets(True, [True, False]) and not points.meets(1, True) and not points.meets(True, 1)
    assert not points.meets(True, scan().forbid[0]["model.hidden"])


@pytest.mark.parametrize(
    ("changes", "key", "words"),
    [
        ({"forbid": [{"model.hiden": 4}]}, "scan.forbid[0].model.hiden", "model.hidden"),
        ({"forbid": [{"model.hidden": 100}]}, "scan.forbid[0].model.hidden", "from 4 to 64"),
        ({"forbid": [{"train.batch_size": {"low": 2000}}]}, "scan.forbid[0].train.batch_size", "64, 256, 1024"),
        ({"forbid": [{"model.hidden": {"low": 4}}]}, "scan.forbid", "leave no point"),
        ({"forbid": [{"train.schedule": "cosine"}, {"train.schedule": "plateau"}]}, "scan.forbid", "leave no point"),
        ({"forbid": [{"model.hidden": {"high": 20}}]}, "scan.forbid", "campaign's own values"),
        ({"start": [{"model.hidden": 65}]}, "scan.start[0].model.hidden", "outside the space"),
        ({"start": [{"model.hiddn": 6}]}, "scan.start[0].model.hiddn", "model.hidden"),
        ({"start": [{}, {"model.hidden": 6}]}, "", "at least 1"),
        ({"start": [{"model.hidden": 40}]}, "scan.start[0]", "forbidden"),
        ({"start": [{"train.plateau_factor": 0.4}]}, "scan.start[0].train.plateau_factor", "does not count"),
    ],
)
def test_combinations_that_cannot_be_are_refused(changes, key, words):
    if not key:
        with pytest.raises(ValueError, match=words):
            scan(**changes)
        return
    error = refused(**changes)
    assert error.details["key"] == key and words in str(error)


@pytest.mark.parametrize(
    ("when", "words"),
    [
        ({"train.shedule": "plateau"}, "train.schedule"),
        ({"train.schedule": "one_cycle"}, "cosine, plateau"),
        ({"train.plateau_factor": {"low": 0.2}}, "circle"),
    ],
)
def test_conditions_that_cannot_be_are_refused(when, words):
    space = {**SPACE, "train.plateau_factor": {"low": 0.1, "high": 0.9, "when": when}}
    error = refused(space=space)
    assert error.details["key"].startswith("scan.space.train.plateau_factor.when") and words in str(error)


def test_dimensions_may_depend_on_one_another_in_a_chain():
    space = {
        "c": {"low": 0.0, "high": 1.0, "when": {"b": {"high": 0.5}}},
        "b": {"low": 0.0, "high": 1.0, "when": {"a": True}},
        "a": {"choices": [True, False]},
    }
    found = Scan.model_validate({"trials": 1, "space": space}).space
    assert points.active(found, {"a": False, "b": 0.1, "c": 0.2}) == {"a": False}
    assert points.active(found, {"a": True, "b": 0.9, "c": 0.2}) == {"a": True, "b": 0.9}
    assert points.active(found, {"a": True, "b": 0.1, "c": 0.2}) == {"a": True, "b": 0.1, "c": 0.2}


@pytest.mark.parametrize(
    ("ends", "told"),
    [
        ({"low": 1e-19, "high": 10.0, "log": True}, "12 decades"),
        ({"low": 0.0, "high": 1.0, "log": True}, "above 0"),
        ({"low": 2.0, "high": 1.0}, "empty range"),
    ],
)
def test_ranges_that_cannot_be_searched_are_refused(ends, told):
    with pytest.raises(ValidationError, match=told):
        Scan.model_validate({"space": {"train.learning_rate": ends}})
