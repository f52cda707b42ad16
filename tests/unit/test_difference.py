"""What two campaigns differ in."""

import json
import shutil
import zipfile
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import chains
from bunchtrain import evaluate, provenance
from bunchtrain.cli import app
from bunchtrain.errors import InputError
from bunchtrain.files import write_json
from bunchtrain.origin.archive import archive
from bunchtrain.origin.difference import differences
from bunchtrain.origin.sides import Side, flat, side

values = st.one_of(st.integers(), st.text(max_size=3), st.floats(allow_nan=False), st.none())
rows = st.dictionaries(st.text(max_size=3), values, max_size=4)
digests = st.dictionaries(st.text(max_size=3), st.sampled_from("abc"), max_size=4)
sides = st.builds(Side, st.none() | rows, rows, digests, rows, rows, st.text(max_size=3), rows)


def diff(*words):
    return CliRunner().invoke(app, ["campaign", "diff", *map(str, words)])


@pytest.fixture
def two(tmp_path, monkeypatch):
    """Two campaigns, alike but for a batch size, an input and what came of it."""
    one = tmp_path / "one" / chains.campaign(tmp_path / "one", monkeypatch)
    train = {**yaml.safe_load(chains.MINI.read_text())["train"], "batch_size": 32}
    monkeypatch.setattr(evaluate, "VERSION", evaluate.VERSION + 1)
    monkeypatch.setattr(chains, "FIGURES", {**chains.FIGURES, "auc": {"value": 0.95, "error": 0.01}})
    other = tmp_path / "other" / chains.campaign(tmp_path / "other", monkeypatch, {"train": train}, data="new top")
    monkeypatch.chdir(tmp_path)
    return one, other


def test_a_campaign_does_not_differ_from_itself_in_any_form(tmp_path, monkeypatch):
    file = chains.campaign(tmp_path / "here", monkeypatch)
    archive(file, Path("campaign.crate.zip"))
    forms = [file, Path("results"), Path("campaign.crate.zip")]
    for one in forms:
        for other in forms:
            done = diff(one, other)
            assert done.exit_code == 0 and "no difference" in done.stdout, done.stdout


def test_all_that_differs_is_told(two):
    done = diff(*two, "--json")
    told = json.loads(done.stdout)
    assert done.exit_code == 1
    assert told["settings"] == [{"key": "train.batch_size", "one": 64, "other": 32}]
    assert [row["key"] for row in told["inputs"]] == ["data/top/a.root"]
    assert [row["key"] for row in told["versions"]] == ["evaluate"] and told["tools"] == told["commits"] == []
    (row,) = told["figures"]
    assert row["key"] == "evaluate.auc.value" and row["difference"] == pytest.approx(0.05)
    done = diff(*two)
    assert done.exit_code == 1 and "train.batch_size: 64 -> 32" in done.stdout
    assert "evaluate.auc.value: 0.9 -> 0.95 (+0.05)" in done.stdout


def test_results_are_looked_for_beside_the_campaigns_file(two, monkeypatch):
    monkeypatch.chdir(two[0].parent)
    found = differences(side(two[1]), side(Path("campaign.yaml")))
    assert [row["key"] for row in found["figures"]] == ["evaluate.auc.value"]


def test_folders_are_compared_by_what_their_stages_were_told(two):
    told = json.loads(diff(*(one.parent / "results" for one in two), "--json").stdout)
    assert {"key": "train.settings.batch_size", "one": "64", "other": "32"} in told["settings"]


def test_an_input_by_another_name_is_no_difference(tmp_path, monkeypatch):
    chains.campaign(tmp_path / "here", monkeypatch)
    monkeypatch.chdir(tmp_path)
    shutil.copytree("here", "there")
    for name in ("0000.h5", "0000.json"):
        path = Path("there/results/convert/top", name)
        entry = provenance.read(path)
        chains.edit(path, True, inputs=[{**entry["inputs"][0], "path": "elsewhere/b.root"}])
    assert diff("here/results", "there/results").exit_code == 0


def test_other_tools_and_commits_are_told(tmp_path, monkeypatch):
    chains.campaign(tmp_path / "here", monkeypatch)
    monkeypatch.chdir(tmp_path)
    shutil.copytree("here", "there")
    path = Path("there/results/report.html")
    entry = provenance.read(path)
    chains.edit(path, True, commit="f" * 40, tools={**entry["tools"], "numpy": "0.1"})
    done = diff("here/results", "there/results")
    assert done.exit_code == 1 and "numpy" in done.stdout and "f" * 40 in done.stdout


def test_what_is_measured_with_a_watch_is_no_figure(tmp_path, monkeypatch):
    chains.campaign(tmp_path / "here", monkeypatch)
    found = side(Path("results")).figures
    assert found["synthesize.resources.lut"] == 1343 and not any("seconds" in key for key in found)


@pytest.mark.parametrize(
    ("name", "problem"),
    [("none", "no such file"), ("empty", "no stage has written here"), ("text.zip", "cannot be read")],
)
def test_what_cannot_be_compared_is_explained(tmp_path, monkeypatch, name, problem):
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("text.zip").write_text("text")
    with pytest.raises(InputError, match=problem):
        side(Path(name))


def test_an_archive_that_was_changed_is_compared_with_nothing(tmp_path, monkeypatch):
    archive(chains.campaign(tmp_path / "here", monkeypatch), Path("campaign.crate.zip"))
    with zipfile.ZipFile("campaign.crate.zip") as crate, zipfile.ZipFile("changed.zip", "w") as changed:
        for name in crate.namelist():
            better = crate.read(name).replace(b"0.9", b"1.0") if name.endswith("metrics.json") else crate.read(name)
            changed.writestr(name, better)
    with pytest.raises(InputError, match="not the one that was archived"):
        side(Path("changed.zip"))


def test_figures_that_are_none_are_left_out(tmp_path, monkeypatch):
    chains.campaign(tmp_path / "here", monkeypatch)
    write_json("results/evaluate/metrics.json", [1])
    assert not any(key.startswith("evaluate") for key in side(Path("results")).figures)


@given(sides)
def test_nothing_differs_from_itself(one):
    assert not any(differences(one, one).values())


@given(sides, sides)
def test_it_does_not_matter_which_is_first(one, other):
    there, back = differences(one, other), differences(other, one)
    for name in there:
        turned = [(row["key"], row["other"], row["one"]) for row in back[name]]
        assert [(row["key"], row["one"], row["other"]) for row in there[name]] == turned


@given(st.recursive(values, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner)))
def test_flat_keeps_all_leaves(value):
    def leaves(one):
        nested = isinstance(one, list) and any(isinstance(inner, dict | list) for inner in one)
        if nested or (isinstance(one, dict) and one):
            return [leaf for inner in (one if nested else one.values()) for leaf in leaves(inner)]
        return [one]

    if len(set(keys := list(flat(value)))) == len(keys) and not any("." in str(key) or not key for key in keys):
        assert list(flat(value).values()) == leaves(value)
