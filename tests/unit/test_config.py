"""Campaign files: what is refused, and how it is said."""

import copy
import json
import os
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bunchtrain import registry
from bunchtrain.config import inputs, ranges
from bunchtrain.config.campaign import load_campaign, parse_campaign, parse_section
from bunchtrain.config.schema import campaign_schema
from bunchtrain.config.specs import ReportSpec, ScanSpec, TrainSpec, as_text, parse_spec
from bunchtrain.config.train import Train
from bunchtrain.config.yamlfile import read_yaml
from bunchtrain.dag import Plan
from bunchtrain.errors import CampaignError, InputError
from bunchtrain.files import sha256

ROOT = Path(__file__).parents[2]
DEFAULT = yaml.safe_load((ROOT / "config/config.yaml").read_text())


def changed(shipped: str | None = None, /, **values) -> dict:
    """The default campaign, or one of config/campaigns, with dotted keys set (`__` stands for a dot)."""
    campaign = copy.deepcopy(DEFAULT) if shipped is None else read_yaml(ROOT / f"config/campaigns/{shipped}.yaml")
    for key, value in values.items():
        *path, last = key.split("__")
        place = campaign
        for part in path:
            place = place.setdefault(part, {})
        place[last] = value
    return campaign


def refused(values: dict) -> CampaignError:
    with pytest.raises(CampaignError) as caught:
        Plan(values, "my.yaml")
    assert caught.value.details["file"] == "my.yaml"
    return caught.value


SHIPPED = [path for path in sorted((ROOT / "config").rglob("*.yaml")) if path.parent.name != "overlays"]


@pytest.mark.parametrize(("name", "candidates", "searched"), [("front", 12, False), ("search", 0, True)])
def test_an_overlay_goes_with_the_demo(name, candidates, searched):
    overlay, demo = (read_yaml(ROOT / file) for file in (f"config/overlays/{name}.yaml", "config/config.yaml"))
    assert list(overlay) == ["synthesize"]
    student = {**demo["synthesize"]["student"], **overlay["synthesize"].pop("student", {})}
    plan = Plan({**demo, "synthesize": {**demo["synthesize"], **overlay["synthesize"], "student": student}}, "my.yaml")
    assert len(plan.candidates) == candidates and plan.searched == searched


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
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
        (changed(scan__space={"model.layers": {"choices": [1, 2, 2]}}), "scan.space.model.layers.choices"),
        (changed(model__dropout=1.0), "model.dropout"),
        (changed(output="../elsewhere"), "output"),
        (changed(output="/tmp/x"), "output"),
        (changed(name="a b; rm -rf $(x)"), "name"),
        (changed(samples__qcd__files=["x.root"]), "samples.qcd"),
        (changed(simulate__pt_max=100), "simulate"),
        (changed(evaluate__passes=1), "evaluate.passes"),
        (changed(convert__step_size="0 MB"), "convert.step_size"),
        (changed(output="src/results"), "output"),
        (changed(output="./.git"), "output"),
        (changed(output=".snakemake/x"), "output"),
        (changed(task__background="top"), "task.background"),
        (changed(model__dropout=0), "model.dropout"),
        (changed(scan__space={"model.dropout": {"low": 0.0, "high": 0.5}}), "scan.space.model.dropout"),
        (changed(scan__space={"model.dropout": {"choices": [0, 0.1]}}), "scan.space.model.dropout"),
        (changed(prepare__constituents=7), "synthesize.student.constituents"),
        (changed(train__backend="serial"), "train.ranks"),
    ],
)
def test_values_that_do_not_fit_name_the_key(values, key):
    assert refused(values).details["key"] == key


@pytest.mark.parametrize("key", ["epochs", "patience", "max_jets", "ranks", "backend", "seeds"])
def test_a_scan_of_what_its_evaluations_override_is_refused(key):
    dimension = {"choices": ["serial", "ddp"]} if key == "backend" else {"low": 1, "high": 50}
    error = refused(changed(scan__space={f"train.{key}": dimension}))
    assert error.details["key"] == f"scan.space.train.{key}" and "would change nothing" in error.details["expected"]


def test_a_scan_may_vary_the_share_of_the_validation_split():
    assert Plan(changed(scan__space={"train.validate_fraction": {"low": 0.5, "high": 1.0}}), "c").campaign.scan.space


@pytest.mark.parametrize(
    ("key", "own", "dimension", "expected"),
    [
        ("model.hidden", 64, {"low": 16, "high": 48}, "a whole number from 16 to 48"),
        ("model.hidden", 12, {"choices": [4, 8, 16]}, "one of 4, 8, 16"),
        ("train.learning_rate", 0.1, {"low": 1e-4, "high": 1e-2, "log": True}, "a number from 0.0001 to 0.01"),
        ("train.warmup_epochs", 1.5, {"low": 0, "high": 3}, "a whole number from 0 to 3"),
    ],
)
def test_an_own_value_outside_the_space_is_refused(key, own, dimension, expected):
    head, _, tail = key.partition(".")
    values = changed(**{f"{head}__{tail}": own, "scan__space": {key: dimension}})
    details = refused(values).details
    assert (details["key"], details["found"]) == (key, str(own)) and details["expected"].startswith(expected)
    values["scan"]["trials"] = 0
    assert Plan(values, "c").campaign.scan.trials == 0


def test_serial_and_one_rank_go_together():
    assert Plan(changed(train__backend="serial", train__ranks=1), "c").campaign.train.ranks == 1


@pytest.mark.parametrize(("kind", "rows"), [("calorimeter", "showers"), ("hits", "events")])
def test_a_format_without_jets_does_not_go_with_a_task_of_jets(kind, rows):
    error = refused(changed(convert__format={"kind": kind}))
    assert error.details["key"] == "convert.format.kind" and error.details["found"] == f"{kind}, which gives {rows}"
    assert "nanoaod" in error.details["expected"] and kind not in error.details["expected"]
    mend = f"a task that learns from {rows}: {'tracking' if rows == 'events' else 'calorimeter'}"
    assert "jet_tagging" in error.problem and mend in error.details["mend"]


def test_kinds_that_do_not_say_what_their_rows_are_go_with_all(monkeypatch):
    monkeypatch.setattr(registry, "constant", lambda family, kind, name, key=None: None)
    assert Plan(changed(convert__format={"kind": "hits"}), "c").campaign.convert.format.kind == "hits"


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


@pytest.mark.parametrize("pattern", ["", ".", "/", "a**b", "//", "..", "~", "a\0b", "[", "data"])
def test_what_is_no_file_is_refused_with_its_key(tmp_path, monkeypatch, pattern):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    values = changed()
    values["samples"]["qcd"] = {"label": "qcd", "files": [pattern]}
    assert refused(values).details["key"] == "samples.qcd.files"


def test_a_file_is_taken_by_its_name_before_its_name_is_a_pattern(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a[1].root", "a1.root", "b.root"):
        (tmp_path / name).touch()
    (tmp_path / "folder.root").mkdir()
    values = changed(convert__files_per_job=9)
    for pattern, found in (("a[1].root", ["a[1].root"]), ("*.root", ["a1.root", "a[1].root", "b.root"])):
        values["samples"]["qcd"] = {"label": "qcd", "files": [pattern, "b.root"]}
        assert set(Plan(values, "c").files("qcd", "0000")) == {*found, "b.root"}


def test_more_files_than_a_command_takes_are_refused():
    values = changed(convert__files_per_job=5000)
    values["samples"]["qcd"]["generate"]["shards"] = 5000
    details = refused(values).details
    assert details["key"] == "convert.files_per_job" and details["mend"].startswith("lower")
    values["convert"]["files_per_job"] = 10
    assert len(Plan(values, "c").groups("qcd")) == 500


def test_the_shards_of_many_jobs_are_a_word_for_each_sample():
    values = changed(convert__files_per_job=1, output="out")
    values["samples"]["qcd"]["generate"]["shards"] = 12_000
    plan = Plan(values, "c")
    assert plan.shards(["qcd"]) == ["out/convert/qcd/0000..11999.h5"]
    assert [str(path) for path in ranges.files(plan.shards())] == plan.converted()
    assert len(plan.converted(["qcd"])) == 12_000 and plan.converted()[10_000] == "out/convert/qcd/10000.h5"


def test_words_that_are_no_range_stand_for_themselves():
    words = ["a/0000..1.h5", "a/1..0002.h5", "0001..0002", "b.h5", "x/12345..12346.h5/y"]
    assert ranges.files(words) == [Path(one) for one in words]
    assert ranges.files(["a/0001..0001.h5"]) == [Path("a/0001.h5")]
    with pytest.raises(InputError, match="ends before it begins"):
        ranges.files(["a/0002..0001.h5"])


@pytest.fixture
def brought(tmp_path, monkeypatch):
    """A campaign with files of the user's, in groups of two, and a list of what was read."""
    monkeypatch.chdir(tmp_path)
    for name in "abc":
        (tmp_path / f"{name}.root").write_text(name)
    values = changed(convert__files_per_job=2, output="out")
    values["samples"]["qcd"] = {"label": "qcd", "files": ["*.root"]}
    read = []
    monkeypatch.setattr(inputs, "sha256", lambda file: read.append(file) or sha256(file))

    def digests():
        plan = Plan(values, "c")
        return [plan.digests("qcd", group) for group in plan.groups("qcd")]

    return digests, read, tmp_path


def test_digests_are_those_of_the_files_and_are_read_once(brought):
    digests, read, folder = brought
    first = digests()
    assert first == [[sha256(folder / "a.root"), sha256(folder / "b.root")], [sha256(folder / "c.root")]]
    assert digests() == first and read == ["a.root", "b.root", "c.root"]
    assert Plan(DEFAULT, "c").digests("qcd", "0000") == []


def test_other_content_with_an_older_time_has_another_digest_and_a_touch_has_not(brought):
    digests, read, folder = brought
    first = digests()
    os.utime(folder / "a.root", (9e9, 9e9))
    assert digests() == first and read[3:] == ["a.root"]
    (folder / "new").write_text("x")
    os.utime(folder / "new", (1, 1))
    (folder / "new").replace(folder / "c.root")
    second = digests()
    assert second[0] == first[0] and second[1] == [sha256(folder / "c.root")] != first[1]


@pytest.mark.parametrize("text", ["", "[1]", '["a.root"', '"a"', "3", '["a.root"]\n["b.root", "x"]\n[["c"], 1]\n\xff'])
def test_a_damaged_list_of_digests_is_made_again(brought, text):
    digests, _, folder = brought
    first = digests()
    (folder / "out/convert/.digests.jsonl").write_text(text, encoding="latin-1")
    assert digests() == first == digests()


def test_the_list_of_digests_does_not_grow_for_ever(brought):
    digests, _, folder = brought
    for second in range(1, 200):
        os.utime(folder / "a.root", (second, second))
        first = digests()
    lines = (folder / "out/convert/.digests.jsonl").read_text().split()
    assert lines.count('["a.root",') < 120 and digests() == first


def test_a_file_that_cannot_be_read_is_left_to_its_job(brought):
    digests, _, folder = brought
    before = digests()
    values = changed(samples__qcd={"label": "qcd", "files": ["*.root"]}, output="out", convert__files_per_job=3)
    plan = Plan(values, "c")
    (folder / "a.root").unlink()
    assert plan.digests("qcd", "0000") == ["unreadable", before[0][1], before[1][0]]


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


def test_numbers_and_characters_of_a_spec_survive_its_text(tmp_path):
    values = changed(scan__space={"train.weight_decay": {"choices": [1.0e-5, 1.0e-4, 0.0]}}, report__title="Top 🚀 é")
    plan = Plan(values, "c")
    scanned, page = parse_spec(ScanSpec, plan.spec("scan")), parse_spec(ReportSpec, plan.spec("report"))
    assert scanned.settings.space["train.weight_decay"].choices == [1e-5, 1e-4, 0.0]
    assert page.title == "Top 🚀 é" and page.title.encode()
    (tmp_path / "spec.json").write_text(plan.spec("report"))
    (tmp_path / "spec.yaml").write_text("{version: 1, name: a, title: é, classes: [b]}", encoding="utf-8")
    assert parse_spec(ReportSpec, str(tmp_path / "spec.json")) == page
    assert parse_spec(ReportSpec, str(tmp_path / "spec.yaml")).title == "é"


def test_more_seeds_leave_each_training_as_it_is():
    one, two = Plan(changed(train__seeds=1), "c"), Plan(changed(train__seeds=2), "c")
    assert one.spec("train", number="0") == two.spec("train", number="0") != two.spec("train", number="1")
    assert len(two.trainings()) == 2


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


@pytest.mark.parametrize("text", ["name: a\nseed: 1\nname: b\n", "train:\n  ranks: 1\n  ranks: 2\n"])
def test_a_key_that_is_given_twice_is_refused(tmp_path, text):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(CampaignError, match="given twice") as caught:
        load_campaign(path)
    assert caught.value.details["file"] == str(path) and "lines" in caught.value.details["found"]


def test_what_several_keys_of_a_section_make_wrong_is_told_in_words():
    with pytest.raises(CampaignError, match="cannot be dealt out") as error:
        parse_section(Train, {"batch_size": 4, "accumulation": 8}, "a.yaml")
    assert error.value.details["mend"] and "found" not in {k for k, v in error.value.details.items() if v}


def test_a_campaign_without_a_core_ends_in_its_page(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    values = {**{key: value for key, value in DEFAULT.items() if key != "synthesize"}, "core": False}
    plan = Plan(values, "my.yaml")
    assert not plan.core and [Path(end).name for end in plan.ends()] == ["report.html"]
    without_scan = {key: value for key, value in values.items() if key != "scan"}
    problem = str(refused({**without_scan, "synthesize": {"vectors": 5000}}))
    assert "no core is asked for" in problem and "synthesize" in problem
