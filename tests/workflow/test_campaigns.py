"""Every campaign of config/campaigns in miniature, through Snakemake, every part real."""

import pytest
import yaml

from bunchtrain import registry
from bunchtrain.files import read_json
from conftest import ROOT, Campaign

CAMPAIGNS = sorted((ROOT / "config/campaigns").glob("*.yaml"))

pytestmark = pytest.mark.mpi


def task_of(values, name):
    """Return a constant of the campaign's task."""
    return registry.constant("tasks", values.get("task", {}).get("kind", "jet_tagging"), name)


def has_core(values):
    """Whether the task asks for an answer about whole jets, of which a core can be made."""
    return values.get("core", True) and not without_classes(values) and "graph" in task_of(values, "LEVELS")


def without_classes(values):
    """Whether the task tells no classes apart: it learns what is usual, or what follows from parameters."""
    return task_of(values, "ANSWERS") in ("latent", "response")


#: How many rows there are in miniature, by the key that says so.
FEW = {"jets_per_shard": 150, "events_per_shard": 24, "showers_per_shard": 300, "probes_per_shard": 200}


def miniature(path, folder, network):
    """Lay a campaign out with few jets, epochs and trials."""
    values = yaml.safe_load(path.read_text())
    for sample in (*values["samples"].values(), *values.get("unfamiliar", {}).values()):
        process, key = (
            sample["generate"]["process"],
            next(key for key in sample["generate"] if key.endswith("_per_shard")),
        )
        few = 500 if "dijet" in process else FEW[key]  # some in every region of their mass
        sample["generate"] |= {"shards": 1, key: few}
    for box in values.get("boxes", {}).values():
        box |= {"shards": 1, "events_per_shard": 250}
        values["hunt"] = {
            "fewest": 10,
            "trees": 5,
            "ensemble": 1,
            "step": 0.18,
            "cuts": [0.1],
            "pseudo_experiments": 50,
        }
    if "simulate" in values:
        values["simulate"] |= {"pileup_pool": 50}
    values["output"] = "results"
    known = registry.declared("models", values["model"]["kind"]).model_fields
    values["model"] |= {key: value for key, value in network.items() if key in known}
    values["train"] |= {"epochs": 2, "batch_size": 64, "seeds": min(values["train"].get("seeds", 1), 2)}
    if "scan" in values:
        values["scan"] |= {"trials": 2, "epochs": 1, "max_jets": 100, "objective": ["rejection", "calibration_error"]}
        if "model.hidden" in values["scan"]["space"]:
            values["scan"]["space"]["model.hidden"] = {"choices": [8, 12]}
    values["evaluate"] = values.get("evaluate", {}) | {"passes": 4, "bootstrap": 10}
    if task_of(values, "ROWS") == "events":
        values["simulate"] |= {"pileup": 4}
        values["train"] |= {"batch_size": 2}
    if has_core(values):
        values["synthesize"] = {
            "student": {
                "constituents": 4,
                "network": {"kind": "dense", "hidden": [8]},
                "epochs": 5,
                "batch_size": 64,
                "sparsity": 0.25,
            },
            "vectors": 200,
            "auc_loss": 0.5,
        }
    campaign = Campaign(folder)
    campaign.write(values)
    return campaign


#: Those whose evaluation has a test of its own elsewhere, or differs little from another's, are for the long suite.
QUICK = [
    pytest.param(path, marks=[pytest.mark.slow] if path.stem in ("olympics", "tagging-in-pileup") else [], id=path.stem)
    for path in CAMPAIGNS
]


@pytest.mark.parametrize("path", QUICK)
def test_a_campaign_reaches_its_evaluation(path, tmp_path):
    campaign = miniature(path, tmp_path, {"hidden": 8})
    done = campaign.run("--", "results/evaluate/metrics.json")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    metrics = read_json(tmp_path / "results/evaluate/metrics.json")
    labels = {sample["label"] for sample in campaign.values["samples"].values()}
    if task_of(campaign.values, "ANSWERS") == "response":
        assert metrics["answers"] == "response" and len(metrics["panels"]) > 3 and metrics["seeds"][0]
        return
    if without_classes(campaign.values):
        assert set(metrics["hidden"]) == set(campaign.values["unfamiliar"]) and metrics["classes"] == sorted(labels)
        assert all(0 < area < 1 for areas in metrics["seeds"][0]["areas"].values() for area in areas.values())
        return
    assert set(metrics["jets"]) == labels
    # What little signal there is in miniature does not teach a network that sees no label.
    assert metrics["auc"]["value"] > (0 if task_of(campaign.values, "UNLABELLED") else 0.5)
    assert (len(metrics["baselines"]) > 0) and metrics["items"] == registry.constant(
        "tasks", campaign.values["task"]["kind"], "ITEMS"
    )


@pytest.mark.slow
@pytest.mark.fpga
@pytest.mark.parametrize("path", CAMPAIGNS, ids=lambda path: path.stem)
def test_a_campaign_ends_in_its_report(path, tmp_path):
    campaign = miniature(path, tmp_path, {"hidden": 8})
    done = campaign.run()
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    page = (tmp_path / "results/report.html").read_text()
    labels = {sample["label"] for sample in campaign.values["samples"].values()}
    assert campaign.values["report"]["title"] in page and all(f">{label}<" in page for label in labels)
    assert (tmp_path / "results/synthesize/core.zip").exists() == has_core(campaign.values)


def test_there_are_campaigns():
    assert [path.stem for path in CAMPAIGNS] == [
        "anomaly-vae",
        "anomaly-weak",
        "calorimeter",
        "field",
        "flavour-tagging",
        "jet-tagging",
        "olympics",
        "pileup",
        "tagging-in-pileup",
        "tracking",
        "uncertainty-ftag",
    ]
