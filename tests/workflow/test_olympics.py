"""A blind search in miniature, through Snakemake: boxes are made, searched, and opened."""

import json
import shutil

import h5py
import numpy as np
import pytest
import yaml

from bunchtrain.config.dijets import Dijets
from bunchtrain.dag import Plan
from bunchtrain.files import read_json
from bunchtrain.simulate.boxes import hidden
from conftest import ROOT, Campaign

pytestmark = pytest.mark.mpi

#: One with a resonance, one without, by the seed.
BOXES = {"a": True, "d": False}

HUNT = {"cuts": [0.1], "step": 0.18, "fewest": 20, "folds": 3, "ensemble": 1, "trees": 10, "pseudo_experiments": 50}


def miniature(folder):
    values = yaml.safe_load((ROOT / "config/campaigns/olympics.yaml").read_text())
    values["samples"]["background"]["generate"] |= {"shards": 1, "jets_per_shard": 400}
    values["samples"]["signal"]["generate"] |= {"shards": 1, "jets_per_shard": 150}
    values["boxes"] = {name: {"shards": 2, "events_per_shard": 200} for name in BOXES}
    values |= {"seed": 1, "output": "results", "hunt": HUNT, "evaluate": {"passes": 4, "bootstrap": 10}}
    values["train"] |= {"epochs": 1, "batch_size": 64}
    campaign = Campaign(folder)
    campaign.write(values)
    return campaign


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """The campaign, run to its page; its boxes are closed."""
    campaign = miniature(tmp_path_factory.mktemp("olympics"))
    early = campaign.bunchtrain("unblind", "campaign.yaml")
    assert early.returncode == 2 and "stays closed" in early.stderr
    done = campaign.run()
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-6000:]
    return campaign


@pytest.fixture
def copy(searched, tmp_path):
    shutil.copytree(searched.folder, tmp_path / "copy", symlinks=True)
    return Campaign(tmp_path / "copy")


def test_the_page_shows_every_box_and_nothing_that_is_sealed(searched):
    page = (searched.folder / "results/report.html").read_text()
    assert all(f"Box {name}" in page for name in BOXES) and "What a hunt can find" in page
    texts = [page, *((path.read_text()) for path in (searched.folder / "results").rglob("*.json"))]
    texts += [path.read_text() for path in (searched.folder / "results/logs").rglob("*.log")]
    for name, present in BOXES.items():
        told = hidden(1, name, Dijets(mass_min=1400))
        assert told.present == present
        for number in (told.mass, *told.daughters, told.strength):
            assert all(f"{number:.4f}" not in text for text in texts)
    assert not (searched.folder / "results/unblinded.json").exists()


def test_the_hunt_sees_no_label(searched):
    for name in BOXES:
        with h5py.File(searched.folder / f"results/boxes/{name}/dataset.h5") as file:
            assert set(file["jets/label"][:]) == {-1} and not any("signal" in key for key in file["jets"])
        result = read_json(searched.folder / f"results/hunt/{name}/result.json")
        assert result["events"] == 400 and "signal" not in json.dumps(result["tests"])


def test_opening_scores_what_was_found_and_freezes_it(copy):
    done = copy.bunchtrain("unblind", "campaign.yaml", "--box", "a")
    assert done.returncode == 0, done.stderr
    told = read_json(copy.folder / "results/unblinded.json")["1"]
    assert set(told) == {"a"} and told["a"]["present"] and told["a"]["blind"]
    assert told["a"]["true"]["mass"] == hidden(1, "a", Dijets()).mass
    assert told["a"]["before"]["signal"] > 0 and told["a"]["found"]["before"]["background"] > 0
    done = copy.bunchtrain("unblind", "campaign.yaml")
    assert done.returncode == 0 and "called empty" in " ".join(done.stdout.split()), done.stdout + done.stderr
    again = read_json(copy.folder / "results/unblinded.json")["1"]
    assert again["a"] == told["a"] and not again["d"]["present"] and again["d"]["before"]["signal"] == 0
    assert copy.jobs() == {}  # the campaign knows nothing of the opening


def test_a_result_made_after_the_opening_is_called_so(copy):
    copy.bunchtrain("unblind", "campaign.yaml", "--box", "a")
    frozen = read_json(copy.folder / "results/unblinded.json")["1"]["a"]["frozen"]
    copy.write({**copy.values, "hunt": {**HUNT, "trees": 12}})
    assert copy.jobs() == {"sensitivity": 1, "hunt": 2, "report": 1}
    stale = copy.bunchtrain("unblind", "campaign.yaml")
    assert stale.returncode == 2 and "other settings" in stale.stderr
    done = copy.run("--until", "hunt")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    done = copy.bunchtrain("unblind", "campaign.yaml", "--box", "a")
    assert "after the opening" in " ".join(done.stdout.replace("│", " ").split()), done.stdout + done.stderr
    told = read_json(copy.folder / "results/unblinded.json")["1"]["a"]
    assert not told["blind"] and told["frozen"] == frozen != told["result"]


@pytest.mark.parametrize(
    ("section", "changes", "told"),
    [
        ("boxes", {"a": {"shards": 2, "events_per_shard": 300}}, "simulate: jets"),
        ("boxes", {"a": {"shards": 1, "events_per_shard": 200}}, "convert: files"),
        ("simulate", {"dijets": {"mass_min": 1400, "pt_min": 600}}, "simulate: settings.dijets.pt_min"),
        ("simulate", {"radius": 0.8}, "simulate: settings.radius"),
        ("convert", {"select": {"jets": "tau21 < 0.5"}}, "convert: columns.select.jets"),
        ("convert", {"derive": {"jets": {"twice": "2 * mass"}}}, "convert: columns.derive.jets"),
        ("seed", 2, "seed"),
    ],
)
def test_settings_that_have_changed_anywhere_keep_a_box_closed(searched, section, changes, told):
    values = searched.values
    changed = {**values[section], **changes} if isinstance(changes, dict) else changes
    other = searched.folder / "other.yaml"
    other.write_text(yaml.safe_dump({**values, section: changed}))
    done = searched.bunchtrain("unblind", "other.yaml", "--box", "a")
    assert done.returncode == 2 and "other settings" in done.stderr and told in done.stderr, done.stderr
    assert not (searched.folder / "results/unblinded.json").exists()


def test_a_new_sample_keeps_a_box_closed(searched):
    values = {**searched.values, "samples": {**searched.values["samples"]}}
    values["samples"]["more"] = values["samples"]["background"]
    (searched.folder / "other.yaml").write_text(yaml.safe_dump(values))
    done = searched.bunchtrain("unblind", "other.yaml", "--box", "a")
    assert done.returncode == 2 and "nothing was made of" in done.stderr, done.stderr


def test_files_that_have_changed_keep_a_box_closed(copy):
    path = copy.folder / "results/simulate/boxes/d/0000.root"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    done = copy.bunchtrain("unblind", "campaign.yaml", "--box", "d")
    assert done.returncode == 2 and "has changed since" in done.stderr and "Traceback" not in done.stderr


def test_a_feature_that_is_no_number_is_told(searched, tmp_path):
    shutil.copytree(searched.folder, tmp_path / "copy", symlinks=True)
    copy = Campaign(tmp_path / "copy")
    (shard,) = (copy.folder / "results/convert/boxes/a").glob("*.h5")
    with h5py.File(shard, "r+") as file:
        file["jets/tau21"][3] = np.nan
    spec = Plan(copy.values, "campaign.yaml").spec("hunt", box="a")
    base = copy.folder / "results"
    words = ("--dataset", str(base / "boxes/a/dataset.h5"), "--sensitivity", str(base / "hunt/sensitivity.json"))
    done = copy.bunchtrain("hunt", "--spec", spec, *words, "--out", str(tmp_path / "out"))
    assert done.returncode == 2 and "jets/tau21" in done.stderr and "event 3" in done.stderr
    assert "Traceback" not in done.stderr and not (tmp_path / "out").exists()
