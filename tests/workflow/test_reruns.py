"""What reruns after a change, and what does not: asserted job lists."""

import json
import os
import re
import shutil
import time
from pathlib import Path

import pytest
import yaml

from conftest import ROOT, SAMPLES, Campaign

BELOW_PREPARE = {"scan": 1, "train": 1, "evaluate": 1, "synthesize": 1, "report": 1}


def test_nothing_reruns_without_a_change(finished):
    assert finished.jobs() == {}


def test_changed_content_of_one_input_reruns_its_group_and_all_below(copy, samples):
    shutil.copy(samples[3], copy.folder / SAMPLES[2])
    assert copy.jobs() == {"convert": 1, "prepare": 1, **BELOW_PREPARE}


def test_changed_content_reruns_also_when_it_comes_with_an_older_time(copy, samples):
    """As `cp -p`, `rsync -a`, `mv` and `tar x` bring it."""
    shutil.copy(samples[3], copy.folder / SAMPLES[2])
    os.utime(copy.folder / SAMPLES[2], (1e9, 1e9))
    assert copy.jobs() == {"convert": 1, "prepare": 1, **BELOW_PREPARE}


def test_a_touched_input_reruns_nothing(copy):
    later = time.time() + 60
    for name in SAMPLES:
        os.utime(copy.folder / name, (later, later))
    assert copy.jobs() == {}


def test_the_profile_of_the_workflow_is_used(copy):
    """It compares content, not times, also of files above the size at which Snakemake alone goes by time."""
    done = copy.run("--dry-run")
    assert "profiles/default" in done.stdout + done.stderr


@pytest.mark.parametrize("name", ["convert/qcd/0000.h5", "prepare/dataset.h5", "train/seed0/model.safetensors"])
def test_a_touched_intermediate_reruns_nothing(copy, name):
    later = time.time() + 60
    os.utime(copy.folder / "results" / name, (later, later))
    assert copy.jobs() == {}


@pytest.mark.parametrize(
    ("section", "key", "value", "jobs"),
    [
        ("scan", "trials", 3, BELOW_PREPARE),
        ("train", "epochs", 5, {"train": 1, "evaluate": 1, "synthesize": 1, "report": 1}),
        ("evaluate", "passes", 9, {"evaluate": 1, "report": 1}),
        ("synthesize", "clock_ns", 4.0, {"synthesize": 1, "report": 1}),
        ("synthesize", "candidates", {"weight_bits": [4, 5]}, {"candidate": 2, "report": 1}),
        ("synthesize", "search", {"space": {"weight_bits": {"low": 2, "high": 8}}}, {"search": 1, "report": 1}),
        ("report", "title", "Another title", {"report": 1}),
        ("prepare", "constituents", 20, {"prepare": 1, **BELOW_PREPARE}),
        ("simulate", "radius", 0.9, {"simulate": 2, "convert": 1, "prepare": 1, **BELOW_PREPARE}),
    ],
)
def test_a_changed_parameter_reruns_its_stage_and_all_below(copy, section, key, value, jobs):
    values = copy.values
    values.setdefault(section, {})[key] = value
    copy.write(values)
    assert copy.jobs() == jobs


@pytest.mark.fpga
def test_students_to_compare_are_synthesised_and_come_to_the_page(copy):
    values = copy.values
    values["synthesize"]["candidates"] = {"weight_bits": [3, 5]}
    space = {"weight_bits": {"low": 2, "high": 8}}
    values["synthesize"]["search"] = {"trials": 2, "initial": 1, "finalists": 1, "space": space}
    copy.write(values)
    before = copy.read("synthesize/core.zip")
    done = copy.run()
    assert done.returncode == 0, done.stderr
    for name in ("weight_bits-3", "weight_bits-5"):
        assert json.loads(copy.read(f"synthesize/candidates/{name}/figures.json"))["resources"]["lut"] > 0
    page = copy.read("report.html").decode()
    assert "Other students" in page and "weight_bits-5" in page and "3 of 3 students" in page
    assert "DeepHyper proposed 2 students" in page and "search-000" in page
    assert copy.read("synthesize/core.zip") == before and copy.jobs() == {}


def test_the_ten_thousandth_file_has_a_rule_too(tmp_path):
    campaign = Campaign(tmp_path)
    values = yaml.safe_load((Path(__file__).parent / "mini.yaml").read_text())
    values["samples"]["top"] = {"label": "top", "generate": {"process": "top", "shards": 10001}}
    campaign.write({**values, "convert": {"files_per_job": 100}})
    assert campaign.jobs("results/simulate/top/10000.root") == {"simulate": 1}


def reordered(values):
    """Keys in the reverse order, at every depth."""
    return {key: reordered(values[key]) for key in reversed(values)} if isinstance(values, dict) else values


def write_in_order(campaign, values):
    (campaign.folder / "campaign.yaml").write_text("# a remark\n" + yaml.safe_dump(values, sort_keys=False) + "\n\n")


def test_a_cosmetic_edit_of_the_campaign_reruns_nothing(copy):
    """But the order of the samples stays: it numbers the classes."""
    values = copy.values
    write_in_order(copy, {**reordered(values), "samples": values["samples"]})
    assert list(copy.values) != list(values) and list(copy.values["train"]) != list(values["train"])
    assert copy.jobs() == {}


def test_another_order_of_the_samples_numbers_the_classes_anew(copy):
    values = copy.values
    write_in_order(copy, {**values, "samples": dict(reversed(values["samples"].items()))})
    assert copy.jobs() == {"convert": 3, "prepare": 1, **BELOW_PREPARE}


def test_one_more_file_reruns_only_the_group_it_joins(copy, samples):
    shutil.copy(samples[3], copy.folder / "data/top/d.root")
    assert copy.jobs() == {"convert": 1, "prepare": 1, **BELOW_PREPARE}


@pytest.fixture
def edited(copy, tmp_path):
    """The campaign with its own copy of the project, whose files may be edited."""
    root = tmp_path / "project"
    for name in ("src", "workflow", "envs", "profiles"):
        shutil.copytree(
            ROOT / name, root / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
        )
    shutil.copytree(ROOT / "config", root / "config")
    shutil.copy(ROOT / "Snakefile", root / "Snakefile")
    copy.snakefile = root / "Snakefile"
    copy.environment["PYTHONPATH"] = str(root / "src")
    return copy, root


def _raise_version(path):
    raised = re.sub(r"^VERSION = (\d+)$", lambda found: f"VERSION = {int(found[1]) + 1}", path.read_text(), flags=re.M)
    assert raised != path.read_text()
    path.write_text(raised)


VERSIONS = [
    ("simulate", {"simulate": 2, "convert": 1, "prepare": 1, **BELOW_PREPARE}),
    ("convert", {"convert": 3, "prepare": 1, **BELOW_PREPARE}),
    ("prepare", {"prepare": 1, **BELOW_PREPARE}),
    ("scan", BELOW_PREPARE),
    ("evaluate", {"evaluate": 1, "report": 1}),
    ("synth", {"synthesize": 1, "report": 1}),
    ("report", {"report": 1}),
]


@pytest.mark.parametrize(("stage", "jobs"), VERSIONS)
def test_a_raised_version_reruns_its_stage_and_all_below(edited, stage, jobs):
    campaign, root = edited
    path = root / "src/bunchtrain" / stage / "__init__.py"
    _raise_version(path)
    assert campaign.jobs() == jobs


def test_a_raised_training_version_reruns_the_scan_too(edited):
    """The scan's evaluations are trainings."""
    campaign, root = edited
    path = root / "src/bunchtrain/train/__init__.py"
    _raise_version(path)
    assert campaign.jobs() == BELOW_PREPARE


def test_cosmetic_edits_of_the_project_rerun_nothing(edited):
    campaign, root = edited
    for path in [*root.rglob("*.smk"), *root.rglob("run.py"), root / "Snakefile"]:
        path.write_text("# a remark\n" + path.read_text() + "\n# another\n")
    assert campaign.jobs() == {}
