"""The demo in miniature, through Snakemake, every part real."""

import json
import re
import shutil
import zipfile

import h5py
import pytest

from bunchtrain import provenance
from bunchtrain.files import read_json, sha256
from conftest import ROOT

pytestmark = [pytest.mark.mpi, pytest.mark.fpga]


def test_the_chain_ends_in_core_and_report(finished):
    results = finished.folder / "results"
    synthesis, metrics = read_json(results / "synthesize/report.json"), read_json(results / "evaluate/metrics.json")
    assert 0.5 < metrics["auc"]["value"] <= 1 and synthesis
    with zipfile.ZipFile(results / "synthesize/core.zip") as core:
        assert core.testzip() is None
        names = core.namelist()
        origin = json.loads(core.read(next(name for name in names if name.endswith("/provenance.json"))))
    assert any(name.endswith("component.xml") for name in names) and any(name.endswith(".v") for name in names)
    assert read_json(results / "train/seed0/history.json")["ranks"] == 2
    digests = {source["sha256"] for one in origin["made_from"] for source in one["inputs"]}
    assert {sha256(path) for path in finished.folder.glob("data/*/*.root")} <= digests


def test_the_report_needs_no_network(finished):
    page = finished.read("report.html").decode()
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", page) and "@import" not in page
    assert page.count("<svg") >= 7 and "The demo in miniature" in page and "{{" not in page
    assert "qcd rejection" in page and "best mass window" in page and "Certainty through quantisation" in page


def _is_output(path):
    return path.is_file() and not path.name.startswith(".") and not path.name.endswith(provenance.SUFFIX)


def test_every_output_has_its_record_and_the_chain_reaches_the_inputs(finished, monkeypatch):
    monkeypatch.chdir(finished.folder)
    # What Snakemake promises, less its own logs and benchmarks, plus what else a stage calls an output.
    kept = ("simulate/*/*.root", "convert/*/*", "prepare/*", "scan/*.csv", "scan/best.json", "train/*/model.*")
    outputs = [
        path
        for pattern in (*kept, "evaluate/*", "synthesize/*.*", "*.html")
        for path in (finished.folder / "results").glob(pattern)
    ]
    outputs = [path for path in outputs if _is_output(path)]
    missing = [str(path) for path in outputs if not provenance.record_path(path).exists()]
    assert len(outputs) > 15 and missing == []
    chain = provenance.chain("results/report.html")
    assert {record["stage"] for record in chain} >= {"convert", "prepare", "scan", "train", "evaluate", "synthesize"}
    inputs = {entry["path"]: entry["sha256"] for record in chain for entry in record["inputs"]}
    assert inputs["data/top/a.root"] == sha256("data/top/a.root")
    assert provenance.altered("results/report.html") == []


def test_splits_share_no_event(finished):
    with h5py.File(finished.folder / "results/prepare/dataset.h5") as file:
        keys = zip(file["jets/label"][:], file["jets/run_number"][:], file["jets/event_number"][:], strict=True)
        side = {}
        for key, split in zip(keys, file["jets/split"][:], strict=True):
            assert side.setdefault(key, split) == split


def test_a_second_run_has_nothing_to_do(finished):
    done = finished.run()
    assert done.returncode == 0 and "Nothing to be done" in done.stdout + done.stderr


def test_a_campaign_of_ones_own_is_not_merged_into_the_default_one(fresh):
    """In a checkout, where config/config.yaml stands."""
    shutil.copytree(ROOT / "config", fresh.folder / "config")
    assert fresh.jobs()["simulate"] == 2 and fresh.jobs()["convert"] == 3


def test_logs_and_benchmarks_are_kept(finished):
    results = finished.folder / "results"
    assert "epoch 4/4" in (results / "logs/train/seed0.log").read_text()
    assert len(list((results / "benchmarks").rglob("*.tsv"))) >= 9


def test_the_scan_table_holds_its_trials(finished):
    assert len(finished.read("scan/results.csv").decode().splitlines()) == 3
    best = json.loads(finished.read("scan/best.json"))
    card = json.loads(finished.read("train/seed0/model.json"))
    assert card["model"]["hidden"] == best["values"]["model.hidden"]
