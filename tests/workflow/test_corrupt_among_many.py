"""One corrupt file among a thousand: named, in nobody's way, and mended by its own job alone."""

import re
import shutil

import pytest
import yaml

from bunchtrain.course.events import read
from conftest import ROOT, Campaign
from manyfiles import many_files

FILES, PER_JOB = 500, 100
TARGET = "results/prepare/dataset.h5"
MADE = [f"convert/{sample}/{group:04d}.h5" for sample in ("qcd", "top") for group in range(FILES // PER_JOB)]


class Many(Campaign):
    """A campaign of a thousand files."""

    def prepared(self):
        return self.drive("--keep-going", "--", TARGET)

    def last_run(self):
        """Return the jobs of the last run that ended well, and those that failed."""
        jobs = read(self.folder / "results", self.folder / "campaign.yaml")[-1].jobs.values()
        named = sorted((" ".join([job.rule, *job.wildcards.values()]), job.failed) for job in jobs)
        return [name for name, failed in named if not failed], [name for name, failed in named if failed]


@pytest.fixture
def laid_out(tmp_path):
    """Two folders with the same campaign."""
    values = yaml.safe_load((ROOT / "tests/workflow/mini.yaml").read_text())
    values["samples"] = {name: {"label": name, "files": [f"data/{name}"]} for name in ("qcd", "top")}
    campaigns = []
    for label, name in enumerate(values["samples"]):
        many_files(tmp_path / "data" / name, label, FILES, jets=4)
    for place in ("undisturbed", "disturbed"):
        shutil.copytree(tmp_path / "data", tmp_path / place / "data")
        campaign = Many(tmp_path / place)
        campaign.environment["PYTHONPATH"] = str(ROOT / "src")
        campaign.write({**values, "convert": {"files_per_job": PER_JOB}})
        campaigns.append(campaign)
    return campaigns


@pytest.mark.slow
def test_a_corrupt_file_among_a_thousand_stops_its_own_job_alone(laid_out):
    undisturbed, campaign = laid_out
    bad = campaign.folder / "data/top/00233.root"
    whole = bad.read_bytes()
    bad.write_bytes(whole[: len(whole) // 2])

    done = campaign.prepared()
    assert done.returncode == 1 and "Traceback" not in done.stdout + done.stderr
    well, failed = campaign.last_run()
    assert failed == ["convert top 0002"] and len(well) == len(MADE) - 1
    told = campaign.bunchtrain("campaign", "failures", "campaign.yaml")
    assert told.returncode == 1 and "1 job: a ROOT file is truncated" in told.stdout
    assert re.search(r"file +data/top/00233\.root", told.stdout)
    assert f"{len(whole) // 2} bytes" in told.stdout and f"{len(whole)} bytes" in told.stdout
    missing = [name for name in MADE if not (campaign.folder / "results" / name).exists()]
    assert missing == ["convert/top/0002.h5"] and not (campaign.folder / TARGET).exists()

    bad.write_bytes(whole)
    assert campaign.prepared().returncode == 0
    assert campaign.last_run() == (["convert top 0002", "prepare"], [])
    assert undisturbed.prepared().returncode == 0
    for name in (*MADE, "convert/top/0002.json", "prepare/scaler.json", "prepare/summary.json", "prepare/dataset.h5"):
        assert campaign.read(name) == undisturbed.read(name), name
