"""Where a file came from and what was made of it: both ways, moved, tampered with, in other forms."""

import json
import os
import shutil
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import chains
from bunchtrain import provenance
from bunchtrain.cli import app
from bunchtrain.errors import InputError
from bunchtrain.files import read_json, write_json
from bunchtrain.origin.prov import document
from bunchtrain.origin.records import Records
from bunchtrain.origin.ways import Question, answer
from bunchtrain.provenance import altered, record, record_path, walk

RELATIONS = {
    "used": {"prov:activity": "activity", "prov:entity": "entity"},
    "wasGeneratedBy": {"prov:activity": "activity", "prov:entity": "entity"},
    "wasAssociatedWith": {"prov:activity": "activity", "prov:agent": "agent"},
    "wasDerivedFrom": {"prov:generatedEntity": "entity", "prov:usedEntity": "entity", "prov:activity": "activity"},
}


@pytest.fixture
def line(tmp_path, monkeypatch):
    """Three files, each made from the one before."""
    monkeypatch.chdir(tmp_path)
    Path("a.root").write_text("a")
    for name, source in (("b.h5", "a.root"), ("c.zip", "b.h5"), ("d.html", "c.zip")):
        Path(name).write_text(name)
        record([name], stage="convert", spec={"version": 1}, inputs=[source])
    return [Path(name) for name in ("a.root", "b.h5", "c.zip", "d.html")]


def run(*words):
    return CliRunner().invoke(app, ["provenance", *map(str, words)])


def test_a_record_vouches_for_those_of_its_inputs(line):
    assert altered("d.html") == []
    vouched = read_json(record_path("c.zip"))["inputs"][0]["record"]
    assert vouched == provenance.essence(read_json(record_path("b.h5")))
    assert "record" not in read_json(record_path("b.h5"))["inputs"][0]


@pytest.mark.parametrize(
    ("changes", "reseal", "told"),
    [
        ({"spec": {"version": 2}}, False, "edited, its seal does not fit"),
        ({"made": "2020-01-01T00:00:00+00:00"}, False, "edited, its seal does not fit"),
        ({"spec": {"version": 2}}, True, "not the record of the file that c.zip was made from"),
        ({"commit": "0" * 40}, True, "not the record of the file that c.zip was made from"),
        ({"seal": ""}, False, "edited, its seal does not fit"),
    ],
)
def test_an_edited_record_is_noticed(line, changes, reseal, told):
    chains.edit(Path("b.h5"), reseal, **changes)
    assert altered("d.html") == [f"b.h5.prov.json: {told}"]
    done = run("d.html")
    assert done.exit_code == 1 and told in done.stdout


def test_a_record_that_lost_its_seal_is_noticed(line):
    entry = read_json(record_path("d.html"))
    del entry["seal"]
    write_json(record_path("d.html"), entry)
    assert altered("d.html") == ["d.html.prov.json: edited, its seal is missing"]


def test_a_record_that_is_gone_or_no_record_is_noticed(line):
    record_path("b.h5").write_text('{"stage": 1}')
    assert altered("d.html") == ["b.h5.prov.json: a provenance record is damaged"]
    with pytest.raises(InputError, match="cannot be read"):
        provenance.chain("d.html")
    record_path("b.h5").unlink()
    assert altered("d.html") == [
        "b.h5.prov.json: gone; a record stood beside the file that c.zip was made from",
    ]
    assert run("d.html").exit_code == 1


def test_what_the_docs_say_cannot_be_noticed(line):
    chains.edit(Path("d.html"), True, spec={"version": 2})  # no later record vouches for the last
    chains.edit(Path("b.h5"), True, made="2020-01-01T00:00:00+00:00")  # and none for when
    assert altered("d.html") == []


def test_the_same_made_again_at_another_time_is_the_same(line):
    again = {"made": "2030-01-01T00:00:00+00:00", "machine": "other", "slurm_job": "7"}
    chains.edit(Path("b.h5"), True, **again)
    assert altered("d.html") == []


def test_records_of_before_are_read(line):
    for path in line[1:]:
        entry = read_json(record_path(path))
        del entry["seal"]
        sources = [{"path": one["path"], "sha256": one["sha256"]} for one in entry["inputs"]]
        write_json(record_path(path), {**entry, "record": 1, "inputs": sources})
    assert altered("d.html") == [] and run("d.html").exit_code == 0
    Path("b.h5").write_text("other")
    assert [one.partition(": ")[0] for one in altered("d.html")] == ["b.h5"]


def test_a_core_is_asked_what_it_was_made_from(line):
    rows = provenance.ancestry(["b.h5"])
    with zipfile.ZipFile("core.zip", "w") as core:
        core.writestr("top/provenance.json", json.dumps({"made_from": rows}))
    record(["core.zip"], stage="synthesize", spec={"version": 1}, inputs=["b.h5"])
    assert run("core.zip").exit_code == 0
    Path("b.h5").write_text("forged")
    record(["b.h5"], stage="convert", spec={"version": 1}, inputs=["a.root"])
    record(["core.zip"], stage="synthesize", spec={"version": 1}, inputs=["b.h5"])  # all of it forged, but for the core
    assert altered("core.zip") == []
    done = run("core.zip")
    assert done.exit_code == 1 and "made from another" in done.stdout


@pytest.mark.parametrize("content", [b"no zip", b""])
def test_a_core_that_does_not_say_what_it_was_made_from(line, content):
    Path("core.zip").write_bytes(content)
    record(["core.zip"], stage="synthesize", spec={"version": 1}, inputs=["b.h5"])
    done = run("core.zip")
    assert done.exit_code == 1 and "core.zip: does not say what it was made from" in done.stdout


@pytest.mark.parametrize("start", ["moved/results/report.html", "moved/other/report.html"])
def test_a_campaign_that_was_moved_is_followed(tmp_path, monkeypatch, start):
    chains.campaign(tmp_path / "here", monkeypatch)
    monkeypatch.chdir(tmp_path)
    Path("here").rename("moved")
    if "other" in start:
        Path("moved/results").rename("moved/other")
    assert altered(start) == [] and len(walk(start)[0]) > 10
    assert run("--down", "moved/data/top/a.root", "--in", "moved").exit_code == 0


def test_the_way_down_is_found_by_name_and_by_content(tmp_path, monkeypatch):
    chains.campaign(tmp_path / "here", monkeypatch)
    by_name = answer(Question(Path("data/top/a.root"), down=True))
    names = {str(one.output) for one in by_name.found}
    assert {"results/convert/top/0000.h5", "results/synthesize/core.zip", "results/report.html"} <= names
    assert not names & {"results/convert/qcd/0000.h5"} and by_name.changes == []
    shutil.move("data/top/a.root", tmp_path / "renamed.root")
    with pytest.raises(InputError) as caught:
        answer(Question(tmp_path / "renamed.root", down=True))
    assert "--by-content" in caught.value.details["mend"]
    found = answer(Question(tmp_path / "renamed.root", down=True, by_content=True))
    assert {str(one.output) for one in found.found} == names and found.changes == []
    assert "entries 0 to 400 of jets" in run("--down", "--by-content", tmp_path / "renamed.root").stdout
    assert answer(Question(Path("data/top/a.root"), down=True)).changes == ["data/top/a.root: gone"]


def test_an_output_that_was_copied_away_is_found_by_content(tmp_path, monkeypatch):
    chains.campaign(tmp_path / "here", monkeypatch)
    shutil.copy("results/synthesize/core.zip", tmp_path / "mine.zip")
    with pytest.raises(InputError, match="no provenance record"):
        answer(Question(tmp_path / "mine.zip"))
    found = answer(Question(tmp_path / "mine.zip", by_content=True))
    assert {one.entry["stage"] for one in found.found} == {
        *("simulate", "convert", "prepare", "scan", "train", "synthesize"),
    }
    (tmp_path / "unknown").write_text("unknown")
    with pytest.raises(InputError, match="no record speaks of this content"):
        answer(Question(tmp_path / "unknown", by_content=True))


def test_the_way_down_of_the_last_result_ends_there(tmp_path, monkeypatch):
    chains.campaign(tmp_path / "here", monkeypatch)
    done = run("--down", "results/report.html")
    assert done.exit_code == 0 and "nothing in results was made from it" in done.stdout
    Path("results/report.html").write_text("tampered")
    assert run("--down", "results/report.html").exit_code == 1


def test_the_entries_of_a_shard_are_shown(tmp_path, monkeypatch):
    chains.campaign(tmp_path / "here", monkeypatch)
    assert "data/top/a.root  (input), entries 0 to 400 of jets" in run("results/report.html").stdout


def test_inputs_on_other_machines_are_listed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.h5").write_text("a")
    address = "root://host//far/x.root"
    about = {address: {"tree": "jets", "entries": [5, 9]}}
    record(["a.h5"], stage="convert", spec={"version": 1}, inputs=[address], digests={address: "0" * 64}, about=about)
    done = run("a.h5")
    assert done.exit_code == 0 and f"{address}  (elsewhere), entries 5 to 9 of jets" in done.stdout
    assert document(walk("a.h5")[0])["used"]


def test_forms(tmp_path, monkeypatch):
    chains.campaign(tmp_path / "here", monkeypatch)
    told = json.loads(run("results/report.html", "--format", "json").stdout)
    assert told["direction"] == "up" and told["changes"] == []
    assert told["records"][0]["record"] == read_json(record_path("results/report.html"))
    done = run("results/report.html", "--format", "prof")
    assert done.exit_code != 0 and isinstance(done.exception, InputError)
    assert done.exception.details["nearest"] == "prov"


def test_prov_json_refers_to_what_it_holds(tmp_path, monkeypatch):
    chains.campaign(tmp_path / "here", monkeypatch)
    told = json.loads(run("results/report.html", "--format", "prov").stdout)
    assert set(told) == {"prefix", "entity", "activity", "agent", *RELATIONS}
    for relation, kinds in RELATIONS.items():
        assert told[relation]
        for row in told[relation].values():
            assert {name: row[name] in told[kind] for name, kind in kinds.items()} == dict.fromkeys(kinds, True)
    for kind in ("entity", "activity", "agent"):
        assert {name.partition(":")[0] for name in told[kind]} <= set(told["prefix"])
    generated = [row["prov:entity"] for row in told["wasGeneratedBy"].values()]
    assert len(generated) == len(set(generated))  # a file is made once
    labels = {row["prov:label"] for name, row in told["entity"].items() if name not in generated}
    assert labels == {"data/top/a.root"}
    assert any(row.get("bunchtrain:entries") == "[0, 400]" for row in told["used"].values())


def test_files_of_one_run_have_one_activity(tmp_path, monkeypatch):
    chains.campaign(tmp_path / "here", monkeypatch)
    found = [one for one in Records([Path("results")]).found if one.entry["stage"] == "prepare"]
    assert len(found) == 3 and len(document(found)["activity"]) == 1


@given(st.lists(st.sets(st.integers(0, 7), max_size=3), min_size=1, max_size=8))
def test_down_is_up_the_other_way_round(tmp_path_factory, sources):
    """File n is made from those of its set that come before it."""
    folder, here = tmp_path_factory.mktemp("dag"), Path.cwd()
    os.chdir(folder)
    try:
        for number, wanted in enumerate(sources):
            Path(f"{number}.h5").write_text(str(number))
            inputs = [f"{one}.h5" for one in sorted(wanted) if one < number]
            record([f"{number}.h5"], stage="convert", spec={"version": 1}, inputs=inputs)
        paths = [Path(f"{number}.h5") for number in range(len(sources))]
        up = {path: {one.output for one in answer(Question(path)).found} for path in paths}
        for path in paths:
            down = answer(Question(path, down=True))
            assert {one.output for one in down.found} == {other for other in paths if path in up[other]}
            assert down.changes == []
    finally:
        os.chdir(here)
