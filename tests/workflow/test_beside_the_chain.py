"""What stands beside the training, through Snakemake: jobs of its own, and none of the training."""

import json

import pytest

from bunchtrain.events.reader import Dataset

pytestmark = [pytest.mark.mpi, pytest.mark.fpga]

UNFAMILIAR = {
    "other_process": {"generate": {"process": "wz", "shards": 3, "jets_per_shard": 40}},
    "other_tune": {"generate": {"process": "qcd", "shards": 1, "jets_per_shard": 40}, "simulate": {"tune": 5}},
}


#: What asks about unfamiliar samples.
ASKING = {"evaluate": 1, "synthesize": 1, "report": 1}


def test_unfamiliar_samples_run_their_own_jobs_and_those_that_ask_about_them(copy):
    copy.write({**copy.values, "unfamiliar": UNFAMILIAR})
    assert copy.jobs() == {"simulate": 4, "convert": 3, "index": 2, **ASKING}
    before = {name: copy.read(name) for name in ("prepare/dataset.h5", "prepare/scaler.json")}
    done = copy.run("--", "results/unfamiliar/other_tune/dataset.h5")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    data = Dataset(copy.folder / "results/unfamiliar/other_tune/dataset.h5")
    assert len(data.indices("test")) == 40 and set(data.column("label")) == {-1}
    assert {name: copy.read(name) for name in before} == before
    assert copy.jobs() == {"simulate": 3, "convert": 2, "index": 1, **ASKING}


def test_other_settings_of_one_run_that_one_alone(copy):
    copy.write({**copy.values, "unfamiliar": UNFAMILIAR})
    copy.run("--", "results/unfamiliar/other_tune/dataset.h5")
    copy.write({**copy.values, "unfamiliar": {"other_tune": {**UNFAMILIAR["other_tune"], "simulate": {"tune": 6}}}})
    assert copy.jobs() == {"simulate": 1, "convert": 1, "index": 1, **ASKING}


SCALE = {
    "up": {"kind": "energy_scale", "factor": 1.05},
    "down": {"kind": "energy_scale", "factor": 0.95},
}
SOURCES = {
    "jet_energy_scale": SCALE,
    "efficiency": {"down": {"kind": "efficiency", "lost": 0.1}, "gone": {"kind": "efficiency", "lost": 0.99999999}},
}


def test_variations_are_jobs_of_their_own_and_come_to_the_page(copy):
    kept = ("evaluate/metrics.json", "evaluate/predictions.h5", "train/seed0/model.safetensors", "prepare/dataset.h5")
    before = {name: copy.read(name) for name in kept}
    copy.write({**copy.values, "systematics": SOURCES})
    assert copy.jobs() == {"vary": 4, "systematics": 1, "report": 1}
    done = copy.run()
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert {name: copy.read(name) for name in kept} == before
    summary = json.loads(copy.read("systematics/summary.json"))
    problems = {(row["source"], row["variation"]): row["problem"] for row in summary["variations"]}
    assert len(problems) == 4 and [key for key, problem in problems.items() if problem] == [("efficiency", "gone")]
    page = copy.read("report.html").decode()
    assert "which source matters" in page and "no jet has a constituent left" in page and "jet_energy_scale" in page
    assert copy.jobs() == {}
    copy.write({**copy.values, "systematics": {"jet_energy_scale": {**SCALE, "up": {**SCALE["up"], "factor": 1.06}}}})
    assert copy.jobs() == {"vary": 1, "systematics": 1, "report": 1}


def test_without_variations_the_page_is_as_it_was(copy):
    before = copy.read("report.html")
    copy.write({**copy.values, "systematics": {}, "unfamiliar": {}})
    assert copy.jobs() == {}
    assert copy.read("report.html") == before and b"otherwise" not in before


def test_another_simulation_fans_out_over_all_samples(fresh):
    values = fresh.values
    values["samples"]["top"] = {"label": "top", "generate": {"process": "top", "shards": 3}}
    usual = {"simulate": 5, "convert": 3, "prepare": 1, "scan": 1, "train": 1, "evaluate": 1, "synthesize": 1}
    fresh.write(values)
    assert fresh.jobs() == {**usual, "report": 1}
    other = {"kind": "simulation", "simulate": {"pileup": 5}, "shards": 1}
    fresh.write({**values, "systematics": {"pileup": {"up": other}, "jet_energy_scale": SCALE}})
    more = {"simulate": 7, "convert": 5, "index": 1, "vary": 3, "systematics": 1, "report": 1}
    assert fresh.jobs() == {**usual, **more}
