"""What a task asks of the samples is checked with the campaign, before anything runs."""

import pytest
from test_config import changed

from bunchtrain.config import asked
from bunchtrain.config.campaign import parse_campaign
from bunchtrain.errors import CampaignError
from bunchtrain.events import layout


@pytest.mark.parametrize(
    ("name", "changes", "key", "words"),
    [
        ("pileup", {"simulate__pileup": 0}, "simulate.pileup", "mean number of further collisions"),
        ("pileup", {"prepare__inputs": ["charge", "d0"]}, "prepare.inputs", "no such column of constituents"),
        ("pileup", {"task__charge": "charg"}, "task.charge", "no such column of constituents"),
        ("flavour-tagging", {"simulate__tracks": None}, "simulate.tracks", "`{}`"),
        ("flavour-tagging", {"prepare__variables": ["sv_masss"]}, "prepare.variables", "nearest"),
        ("flavour-tagging", {"task__variables": ["sv_maß"]}, "task.variables", "no such column of jets"),
        ("flavour-tagging", {"task__origin": "origins"}, "task.origin", "no such column of constituents"),
        ("jet-tagging", {"simulate__barrel": {}}, "simulate.barrel", "no sample that it would change"),
        ("tracking", {"simulate__tracks": {}}, "simulate.tracks", "no sample that it would change"),
        ("tracking", {"simulate__barrel__radii": [30, 70, 150]}, "task.min_hits", "fewer layers"),
        ("tracking", {"task__shortest": 40, "task__min_hits": 2}, "task.shortest", "fewer layers"),
        ("tracking", {"task__pt_min": 0.3}, "task.pt_min", "leave out"),
        ("tracking", {"task__eta_max": 9}, "task.eta_max", "leave out"),
    ],
)
def test_what_the_samples_cannot_have_is_refused(name, changes, key, words):
    with pytest.raises(CampaignError) as caught:
        parse_campaign(changed(name, **changes), "campaign.yaml")
    assert caught.value.details["key"] == key and words in str(caught.value)


def test_without_the_answers_about_tracks_their_truth_is_not_needed():
    changes = {"task__origin_weight": 0, "task__vertex_weight": 0, "task__origin": "nothing"}
    parse_campaign(changed("flavour-tagging", **changes), "campaign.yaml")


def test_the_columns_that_are_always_there_are_those_of_the_contract():
    assert {axis: tuple(one.name for one in columns) for axis, columns in layout.ROWS["jets"].items()} == asked.ALWAYS


def test_columns_that_are_derived_are_there():
    changes = {"convert__derive": {"constituents": {"twice": "2 * px"}}, "prepare__inputs": ["charge", "twice", "px"]}
    parse_campaign(changed("pileup", **changes), "campaign.yaml")


def test_a_format_with_columns_of_its_own_is_asked_when_its_files_are_read():
    samples = {name: {"label": name, "files": [f"{name}.root"]} for name in ("top", "qcd")}
    values = changed("jet-tagging", convert__format={"kind": "jetclass"}, prepare__inputs=["d0"], samples=samples)
    values["task"] = {"kind": "jet_tagging"}
    assert parse_campaign(values, "campaign.yaml").prepare.inputs == ["d0"]
