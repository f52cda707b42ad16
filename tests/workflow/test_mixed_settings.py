"""A driver of other settings is killed while its jobs go on, by themselves: what they leave stays out of results."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from bunchtrain import adopted, orphans, provenance
from bunchtrain.config.campaign import load_campaign
from bunchtrain.dag import Plan
from conftest import ROOT, Campaign
from manyfiles import many_files

UNTIL = ("--until", "convert")
SHARDS = [f"convert/{sample}/{group}.h5" for sample in ("qcd", "top") for group in ("0000", "0001")]


@pytest.fixture
def converted(tmp_path):
    """A campaign whose shards are made."""
    values = yaml.safe_load((ROOT / "tests/workflow/mini.yaml").read_text())
    values["samples"] = {name: {"label": name, "files": [f"data/{name}"]} for name in ("qcd", "top")}
    for label, name in enumerate(values["samples"]):
        many_files(tmp_path / "data" / name, label, 2, jets=4)
    campaign = Campaign(tmp_path)
    campaign.environment["PYTHONPATH"] = str(ROOT / "src")
    campaign.write({**values, "convert": {"files_per_job": 1}})
    done = campaign.drive(*UNTIL)
    assert done.returncode == 0, done.stdout + done.stderr
    return campaign


def outlives(campaign, shards):
    """Leave what a driver leaves that was killed with all jobs of these shards submitted, once they have ended."""
    state = campaign.folder / ".snakemake"
    plan = Plan(load_campaign("campaign.yaml").model_dump(mode="json", exclude_none=True), "campaign.yaml")
    orphans.named(state, adopted.asked(plan))
    (state / "locks").mkdir(exist_ok=True)
    (state / "locks/0.output.lock").write_text("results/report.html\n")
    for name in shards:
        out, (_, sample, group) = f"results/{name}", Path(name).with_suffix("").parts
        spec, part = plan.spec("convert", sample=sample), plan.part(sample, group)
        words = ["--spec", spec, "--out", out, "--manifest", out.removesuffix("h5") + "json", "--part", part]
        command = [sys.executable, "-m", "bunchtrain", "convert", *words, "--", *plan.files(sample, group)]
        subprocess.run(command, env=campaign.environment, check=True, capture_output=True)


def test_what_other_settings_have_left_is_made_again(converted, monkeypatch):
    monkeypatch.chdir(converted.folder)
    values = converted.values
    before = {name: provenance.read(f"results/{name}")["spec"] for name in SHARDS}
    converted.write({**values, "convert": {"files_per_job": 1, "step_size": "3 MB"}})
    outlives(converted, SHARDS[1:3])
    assert provenance.read(f"results/{SHARDS[1]}")["spec"] != before[SHARDS[1]]
    converted.write(values)
    done = converted.drive(*UNTIL)
    assert done.returncode == 0, done.stdout + done.stderr
    told = [line.rpartition(" ")[2] for line in done.stdout.splitlines() if "made again, as the campaign" in line]
    assert sorted(told) == sorted(f"results/{name[:-2]}{end}" for name in SHARDS[1:3] for end in ("h5", "json"))
    assert {name: provenance.read(f"results/{name}")["spec"] for name in SHARDS} == before
    assert converted.jobs(*UNTIL) == {}
