"""Campaign files: what is refused, and how it is said."""

import copy
import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bunchtrain.config.campaign import load_campaign, parse_campaign
from bunchtrain.config.schema import campaign_schema
from bunchtrain.config.specs import TrainSpec, as_text, parse_spec
from bunchtrain.dag import Plan
from bunchtrain.errors import CampaignError

ROOT = Path(__file__).parents[2]
DEFAULT = yaml.safe_load((ROOT / "config/config.yaml").read_text())


def changed(**values) -> dict:
    """The default campaign with dotted keys set (`__` stands for a dot)."""
    campaign = copy.deepcopy(DEFAULT)
    for key, value in values.items():
        *path, last = key.split("__")
        place = campaign
        for part in path:
            place = place[part]
        place[last] = value
    return campaign


def refused(values: dict) -> CampaignError:
    with pytest.raises(CampaignError) as caught:
        Plan(values, "my.yaml")
    assert caught.value.details["file"] == "my.yaml"
    return caught.value


@pytest.mark.parametrize("path", sorted((ROOT / "config").rglob("*.yaml")), ids=lambda path: path.name)
def test_shipped_campaigns_are_valid(path):
    assert load_campaign(path).samples


@pytest.mark.parametrize(
    ("values", "key", "nearest"),
    [
        (changed(model__kind="gmn"), "model.kind", "gnn"),
        (changed(model__hiden=3), "model.hiden", "hidden"),
        (changed(trian={}), "trian", "train"),
        (changed(train__epoch=3), "train.epoch", "epochs"),
        (changed(task__signal="topp"), "task.signal", "top"),
        (changed(samples__qcd__generate__proces="qcd"), "samples.qcd.generate.proces", "process"),
        (changed(samples__qcd__generate__process="qdc"), "samples.qcd.generate.process", "qcd"),
        (changed(convert__on_bad_file="quarentine"), "convert.on_bad_file", "quarantine"),
        (changed(synthesize__backend__kind="open_xilink"), "synthesize.backend.kind", "open_xilinx"),
        (changed(scan__space={"model.hiden": {"low": 1, "high": 2}}), "scan.space.model.hiden", "model.hidden"),
    ],
)
def test_misspellings_name_key_and_nearest_match(values, key, nearest):
    error = refused(values)
    assert error.details["key"] == key and error.details["nearest"] == nearest


@pytest.mark.parametrize(
    ("values", "key"),
    [
        (changed(train__epochs=-1), "train.epochs"),
        (changed(samples__top__generate__jets_per_shard=-5), "samples.top.generate.jets_per_shard"),
        (changed(train__learning_rate=float("nan")), "train.learning_rate"),
        (changed(prepare__split={"train": 0.9, "validation": 0.3, "test": 0.1}), "prepare.split"),
        (changed(scan__space={"train.learning_rate": {"low": 2.0, "high": 1.0}}), "scan.space.train.learning_rate"),
        (changed(scan__space={"model.dropout": {"low": 0.5, "high": 1.5}}), "scan.space.model.dropout.dropout"),
        (changed(model__dropout=1.0), "model.dropout"),
        (changed(output="../elsewhere"), "output"),
        (changed(output="/tmp/x"), "output"),
        (changed(name="a b; rm -rf $(x)"), "name"),
        (changed(samples__qcd__files=["x.root"]), "samples.qcd"),
        (changed(simulate__pt_max=100), "simulate"),
        (changed(evaluate__passes=1), "evaluate.passes"),
    ],
)
def test_values_that_do_not_fit_name_the_key(values, key):
    assert refused(values).details["key"] == key


@pytest.mark.parametrize("name", ["../up", "a b", "a;b", "$(x)", "a\nb", "é", "", "-x", ".hidden", "a" * 65, "a'b"])
def test_odd_sample_names_are_refused(name):
    values = changed()
    values["samples"][name] = values["samples"].pop("wz")
    assert "letters" in str(refused(values)) or "64" in str(refused(values))


def test_files_that_match_nothing_are_named(tmp_path):
    values = changed()
    values["samples"]["qcd"] = {"label": "qcd", "files": [str(tmp_path / "*.root")]}
    error = refused(values)
    assert error.details["key"] == "samples.qcd.files" and str(tmp_path) in error.details["found"]


def test_globs_are_sorted_and_grouped(tmp_path):
    for number in (3, 1, 2):
        (tmp_path / f"{number}.root").touch()
    values = changed(convert__files_per_job=2)
    values["samples"]["qcd"] = {"label": "qcd", "files": [str(tmp_path / "*.root")]}
    plan = Plan(values, "my.yaml")
    assert plan.groups("qcd") == ["0000", "0001"]
    assert [Path(file).name for file in plan.files("qcd", "0000")] == ["1.root", "2.root"]


@pytest.mark.parametrize("text", ["a: [", "- 1\n- 2", "", "3"])
def test_files_that_are_no_campaign(tmp_path, text):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(CampaignError):
        load_campaign(path)


def test_a_missing_campaign_file_is_named(tmp_path):
    with pytest.raises(CampaignError, match="cannot be read"):
        load_campaign(tmp_path / "no.yaml")


def test_specs_survive_text_and_are_narrow():
    plan = Plan(DEFAULT, "c")
    text = plan.spec("train", number="0")
    assert as_text(parse_spec(TrainSpec, text)) == text
    assert "bootstrap" not in text and "jets_per_shard" not in text
    other = Plan(changed(evaluate__passes=99, report__title="x"), "c")
    same = ["simulate", "convert", "prepare", "scan", "train", "synthesize"]
    wildcards = {"simulate": {"sample": "qcd", "shard": "0000"}, "convert": {"sample": "qcd"}, "train": {"number": "0"}}
    for stage in same:
        assert plan.spec(stage, **wildcards.get(stage, {})) == other.spec(stage, **wildcards.get(stage, {}))
    assert plan.spec("evaluate") != other.spec("evaluate")


def test_the_scan_does_not_depend_on_the_final_training():
    assert Plan(DEFAULT, "c").spec("scan") == Plan(changed(train__epochs=99, train__ranks=1), "c").spec("scan")


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8), st.lists, max_leaves=4)
)
def test_any_value_anywhere_is_a_campaign_or_a_campaign_error(value):
    for key in ("name", "seed", "samples", "model", "train", "scan"):
        values = {**DEFAULT, key: value}
        try:
            parse_campaign(values, "c.yaml")
        except CampaignError as error:
            assert error.details["file"] == "c.yaml"


def test_the_schema_in_config_is_current():
    assert json.loads((ROOT / "config/schema.json").read_text()) == campaign_schema()
