"""What a campaign tells each job, by the file that it makes: every output of the workflow is known."""

import json
from pathlib import Path

import pytest
import yaml

from bunchtrain import told
from bunchtrain.campaign import _snakemake
from bunchtrain.config.campaign import load_campaign
from bunchtrain.course.planned import planned
from bunchtrain.dag import Plan

ROOT = Path(__file__).parents[2]


def plan_of(file):
    return Plan(load_campaign(file).model_dump(mode="json", exclude_none=True), file)


@pytest.fixture(params=["uncertainty-ftag"])
def campaign(tmp_path, monkeypatch, request):
    """A campaign with variations, what no class has, and much else."""
    monkeypatch.chdir(tmp_path)
    values = yaml.safe_load((ROOT / f"config/campaigns/{request.param}.yaml").read_text())
    values |= {"output": "results"}
    Path("campaign.yaml").write_text(yaml.safe_dump(values))
    return Path("campaign.yaml")


@pytest.mark.parametrize("campaign", ["uncertainty-ftag", "olympics"], indirect=True)
def test_every_output_of_the_workflow_is_known(campaign):
    plan = plan_of(campaign)
    jobs = planned(_snakemake(campaign))
    special = {"sensitivity", "hunt"} if plan.boxes() else {"vary", "systematics"}
    assert {"simulate", "convert", "index", "train", "report"} | special <= {job.rule for job in jobs}
    for job in jobs:
        for name in job.output:
            stage, wildcards = told.place(name.removeprefix("results/"))
            assert stage == job.rule and wildcards == job.wildcards, name
            found = told.of_file(plan, Path(name))
            assert (found is None) == (stage == "train"), name  # which waits for the scan's best values


def test_a_training_is_told_what_the_scan_found_best(campaign):
    Path("results/scan").mkdir(parents=True)
    Path("results/scan/best.json").write_text(json.dumps({"values": {"train.learning_rate": 0.0123}}))
    found = told.told(plan_of(campaign), "train/seed1/model.json")
    assert found["settings"]["learning_rate"] == 0.0123
    before = json.loads(plan_of(campaign).spec("train", number="1"))
    assert told.differences(found, before) == ["settings.learning_rate"]


@pytest.mark.parametrize(
    "name",
    ["convert/none/0000.h5", "train/seed99/model.json", "convert/.lock", "scan/trials/0000/model.json", "x/dataset.h5"],
)
def test_what_the_campaign_does_not_ask_for_is_told_nothing(campaign, name):
    assert told.told(plan_of(campaign), name) is None
