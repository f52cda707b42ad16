"""Archives of campaigns: whole, reproducible, checked to the last digest."""

import hashlib
import io
import json
import shutil
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import chains
from bunchtrain import provenance
from bunchtrain.cli import app
from bunchtrain.errors import BunchtrainError, InputError
from bunchtrain.files import sha256
from bunchtrain.origin import unpacked
from bunchtrain.origin.archive import archive
from bunchtrain.origin.crate import METADATA

CRATE = Path("campaign.crate.zip")


@pytest.fixture
def finished(tmp_path, monkeypatch):
    return chains.campaign(tmp_path / "here", monkeypatch)


def read(path):
    with zipfile.ZipFile(path) as crate:
        return {name: crate.read(name) for name in crate.namelist()}


def write(path, files):
    with zipfile.ZipFile(path, "w") as crate:
        for name, content in files.items():
            crate.writestr(name, content)


def entities(files):
    return {row["@id"]: row for row in json.loads(files[METADATA])["@graph"]}


def test_the_archive_holds_the_results_and_all_records(finished):
    archive(finished, CRATE)
    files = read(CRATE)
    assert {f"results/{name}" for name in ("report.html", "evaluate/metrics.json", "synthesize/core.zip")} <= set(files)
    assert files["campaign.yaml"] == finished.read_bytes() and json.loads(files["campaign.json"])["name"] == "mini"
    assert not any(name.endswith((".h5", ".root")) or "trials" in name for name in files)
    of_chain = {one.output for one in provenance.walk("results/report.html")[0]}
    assert {f"{path}.prov.json" for path in of_chain} <= set(files)
    rows = entities(files)
    assert {row["@id"] for row in rows.values() if row["@type"] == "File"} == set(files) - {METADATA}
    train = next(row for row in rows.values() if row.get("name") == "bunchtrain train" and "result" in row)
    assert train["@type"] == "CreateAction" and rows[train["instrument"]["@id"]]["@type"] == "SoftwareApplication"
    assert {one["@id"] for one in train["result"]} == {
        f"results/train/seed0/model.{end}" for end in ("json", "safetensors")
    }
    assert {rows[one["@id"]]["name"].removeprefix("results/") for one in train["object"]} == {
        *("prepare/dataset.h5", "prepare/scaler.json", "scan/best.json"),
    }
    assert rows["./"]["conformsTo"]["@id"].endswith("/process/0.5")
    assert rows["./"]["datePublished"] == provenance.read("results/report.html")["made"]


def test_all_is_all_that_has_a_record(finished):
    archive(finished, CRATE, everything=True, licence="https://creativecommons.org/licenses/by/4.0/")
    files = read(CRATE)
    recorded = {
        f"{path.parent}/{path.name.removesuffix('.prov.json')}" for path in Path("results").rglob("*.prov.json")
    }
    assert recorded <= set(files) and "results/scan/trials/0000/model.safetensors" in recorded
    assert entities(files)["./"]["license"] == {"@id": "https://creativecommons.org/licenses/by/4.0/"}


def test_equal_results_give_equal_bytes(finished, tmp_path, monkeypatch):
    archive(finished, CRATE)
    first = sha256(CRATE)
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    monkeypatch.chdir(tmp_path / "there")
    archive(finished, CRATE)
    assert sha256(CRATE) == first


def test_the_command_checks_what_it_made(finished):
    done = CliRunner().invoke(app, ["campaign", "archive", str(finished), "--out", str(CRATE)])
    assert done.exit_code == 0 and sha256(CRATE) in done.stdout
    done = CliRunner().invoke(app, ["verify", str(CRATE)])
    assert done.exit_code == 0 and sha256(CRATE) in done.stdout and done.stdout.endswith("PASS\n")


def test_an_archive_unpacked_tells_where_its_files_came_from(finished, tmp_path, monkeypatch):
    archive(finished, CRATE)
    with zipfile.ZipFile(CRATE) as crate:
        crate.extractall(tmp_path / "unpacked")
    monkeypatch.chdir(tmp_path / "unpacked")
    stages = {entry["stage"] for entry in provenance.chain("results/report.html")}
    assert stages == {"simulate", "convert", "prepare", "scan", "train", "evaluate", "synthesize", "report"}
    assert all(one.endswith(": gone") for one in provenance.altered("results/report.html"))  # data sets are not in it


def test_a_campaign_not_run_to_its_end_is_refused(finished):
    Path("results/synthesize/core.zip").unlink()
    with pytest.raises(InputError) as caught:
        archive(finished, CRATE)
    assert "results/synthesize/core.zip" in caught.value.details["found"]
    assert "bunchtrain campaign run campaign.yaml" in caught.value.details["mend"] and not CRATE.exists()
    for left in ("results/report.html", "results/synthesize/core.zip"):
        provenance.record_path(left).unlink()
    archive(finished, CRATE, partial=True)
    unpacked.verify(CRATE)
    files = read(CRATE)
    assert "results/evaluate/metrics.json" in files and "results/synthesize/core.zip" not in files
    assert "not run to its end" in entities(files)["./"]["description"]


def test_results_that_changed_are_refused(finished):
    Path("results/evaluate/metrics.json").write_text("{}")
    with pytest.raises(InputError) as caught:
        archive(finished, CRATE, partial=True)
    assert "results/evaluate/metrics.json: changed since" in caught.value.details["found"]


def test_an_edited_record_of_a_data_set_is_refused(finished):
    chains.edit(Path("results/convert/top/0000.h5"), True, commit="0" * 40)
    with pytest.raises(InputError) as caught:
        archive(finished, CRATE)
    assert "results/convert/top/0000.h5.prov.json" in caught.value.details["found"]


def test_data_sets_may_be_gone_but_not_their_records(finished):
    for path in [*Path("results").rglob("*.root"), *Path("results").rglob("*.h5")]:
        path.unlink()
    archive(finished, CRATE)
    unpacked.verify(CRATE)
    provenance.record_path("results/simulate/qcd/0000.root").unlink()
    with pytest.raises(InputError, match="not what their records say"):
        archive(finished, CRATE)


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [("evaluate", "passes", 9), ("prepare", "constituents", 20), ("scan", "trials", 3), ("train", "epochs", 5)],
)
def test_a_file_that_says_otherwise_than_what_was_run_is_refused(finished, section, key, value):
    values = yaml.safe_load(finished.read_text())
    values[section][key] = value
    finished.write_text(yaml.safe_dump(values))
    with pytest.raises(InputError) as caught:
        archive(finished, CRATE)
    assert caught.value.details["key"] == f"{section}: settings.{key}"


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (lambda values: values["convert"].update(step_size="7 MB"), "convert: step_size"),
        (lambda values: values["samples"]["qcd"]["generate"].update(jets_per_shard=11), "simulate: jets"),
        (lambda values: values["samples"]["top"].update(files=["data/top/a.root", "data/more.root"]), "convert: files"),
        (lambda values: values["samples"].update(z={"label": "top", "files": ["data/more.root"]}), "nothing was"),
        (lambda values: values.update(core=False), "report: core"),
        (lambda values: values["train"].update(seeds=2), "nothing was made of"),
        (lambda values: values["samples"]["qcd"]["generate"].update(shards=1), "convert: files"),
    ],
)
def test_whatever_was_made_otherwise_is_refused(finished, change, key):
    archive(finished, CRATE)
    CRATE.unlink()
    Path("data/more.root").write_text("b")
    values = yaml.safe_load(finished.read_text())
    change(values)
    finished.write_text(yaml.safe_dump(values))
    with pytest.raises(InputError, match="says otherwise than what was run") as caught:
        archive(finished, CRATE)
    assert key in caught.value.details["key"] and "campaign run campaign.yaml" in caught.value.details["mend"]
    assert not CRATE.exists()


def restated(files, name, content):
    """Put another content into an archive and into its metadata."""
    told = json.loads(files[METADATA])
    row = next(row for row in told["@graph"] if row["@id"] == name)
    digest = hashlib.sha256(content).hexdigest()
    row |= {"sha256": digest, "contentSize": str(len(content))}
    return {**files, name: content, METADATA: json.dumps(told).encode()}


def without(files, name):
    """Take a file out of an archive, and out of its metadata."""
    told = json.loads(files[METADATA])
    told["@graph"] = [row for row in told["@graph"] if row["@id"] != name]
    root = next(row for row in told["@graph"] if row["@id"] == "./")
    root["hasPart"] = [one for one in root["hasPart"] if one["@id"] != name]
    return {**{key: files[key] for key in files if key != name}, METADATA: json.dumps(told).encode()}


def forged(files, name, reseal, **changes):
    entry = {**json.loads(files[name]), **changes}
    entry |= {"seal": provenance.seal(entry)} if reseal else {}
    return restated(files, name, json.dumps(entry).encode())


def told_otherwise(files, kind, key, value):
    told = json.loads(files[METADATA])
    next(row for row in told["@graph"] if row["@type"] == kind and row.get(key) != value)[key] = value
    return {**files, METADATA: json.dumps(told).encode()}


TRAIN, METRICS = "results/train/seed0/model.json", "results/evaluate/metrics.json"


@pytest.mark.parametrize(
    ("tamper", "problem"),
    [
        (lambda files: {**files, METRICS: b"{}"}, "not the one that was archived"),
        (lambda files: {**files, METRICS: files[METRICS].replace(b"0.9", b"1.0")}, "not the one that was archived"),
        (lambda files: {name: files[name] for name in files if name != METRICS}, "lacks a file that its metadata"),
        (lambda files: {**files, "results/new.json": b"{}"}, "holds a file that its metadata do not name"),
        (lambda files: restated(files, METRICS, b"{}"), "a record of an archive is that of another file"),
        (lambda files: forged(files, f"{TRAIN}.prov.json", False, stage="prepare"), "was edited"),
        (lambda files: forged(files, f"{TRAIN}.prov.json", True, commit="0"), "not the one that another vouches for"),
        (lambda files: forged(files, f"{TRAIN}.prov.json", True, made="2020"), "tell of other runs than the records"),
        (lambda files: without(files, f"{TRAIN}.prov.json"), "not the one that another vouches for"),
        (lambda files: restated(files, f"{TRAIN}.prov.json", b"[]"), "a provenance record is damaged"),
        (lambda files: restated(files, f"{TRAIN}.prov.json", b"{"), "not JSON"),
        (lambda files: told_otherwise(files, "CreateAction", "endTime", "2020"), "other runs than the records"),
        (lambda files: told_otherwise(files, "CreateAction", "object", []), "other runs than the records"),
        (lambda files: told_otherwise(files, "SoftwareApplication", "softwareVersion", "9"), "not what follows from"),
        (lambda files: told_otherwise(files, "CreateAction", "description", "x"), "not what follows from"),
        (lambda files: told_otherwise(files, "Dataset", "datePublished", "2020"), "not what follows from"),
        (lambda files: told_otherwise(files, "Dataset", "license", 1), "not what follows from"),
        (lambda files: told_otherwise(files, "Dataset", "hasPart", [{"@id": "x"}]), "refer to nothing"),
        (lambda files: told_otherwise(files, "Dataset", "hasPart", "x"), "do not list their files"),
        (lambda files: told_otherwise(files, "CreativeWork", "conformsTo", 1), "not those of an RO-Crate 1.1"),
        (lambda files: told_otherwise(files, "File", "@id", "../x"), "refer to nothing"),
        (lambda files: told_otherwise(files, "File", "@id", 1), "no list of entities"),
        (lambda files: {**files, METADATA: b"[]"}, "no list of entities"),
        (lambda files: {**files, METADATA: b"[" * 100_000}, "not JSON"),
        (lambda files: {**files, "../outside": b""}, "would leave the archive's folder"),
        (lambda files: {**files, "/outside": b""}, "would leave the archive's folder"),
    ],
)
def test_a_tampered_archive_is_refused(finished, tamper, problem):
    archive(finished, CRATE)
    write("tampered.zip", tamper(read(CRATE)))
    assert unpacked.is_crate(Path("tampered.zip"))
    with pytest.raises(InputError) as caught:
        unpacked.verify(Path("tampered.zip"))
    assert problem in str(caught.value)


def test_a_file_twice_is_refused(finished):
    archive(finished, CRATE)
    with zipfile.ZipFile(CRATE, "a") as crate, pytest.warns(UserWarning, match="Duplicate"):
        crate.writestr(METRICS, b"{}")
    with pytest.raises(InputError, match="twice"):
        unpacked.verify(CRATE)


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        archive(chains.campaign(tmp_path_factory.mktemp("packed") / "here", patch), CRATE)
        return CRATE.read_bytes()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damage_is_told_without_a_traceback(packed, tmp_path, data):
    """What passes in spite of it holds the same files."""
    place = data.draw(st.integers(0, len(packed) - 1))
    kept = packed[:place] if data.draw(st.booleans()) else None
    damaged = kept if kept is not None else packed[:place] + bytes([packed[place] ^ 0xFF]) + packed[place + 1 :]
    path = tmp_path / "damaged.zip"
    path.write_bytes(damaged)
    with suppress(BunchtrainError):
        assert unpacked.is_crate(path)
        unpacked.verify(path)
        assert read(path) == read(io.BytesIO(packed))


def test_a_file_that_is_no_archive(finished):
    Path("text.zip").write_text("text")
    done = CliRunner().invoke(app, ["verify", "text.zip"])
    assert isinstance(done.exception, InputError) and "cannot be read" in str(done.exception)
