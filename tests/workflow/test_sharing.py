"""Campaigns beside each other: nothing made twice that they share, nothing written by two."""

import re
import subprocess
import sys
import time

import pytest

from minicampaign import lay_out


def _started(campaign, *arguments):
    command = [sys.executable, "-m", "bunchtrain", "campaign", "run", "campaign.yaml", "--cores", "1", *arguments]
    with (campaign.folder / "output").open("w") as stream:
        return subprocess.Popen(
            command, cwd=campaign.folder, env=campaign.environment, stdout=stream, stderr=subprocess.STDOUT
        )


def _ended(campaign, process):
    """Return its exit status and what it said."""
    return process.wait(600), (campaign.folder / "output").read_text()


@pytest.fixture
def two(tmp_path, samples):
    """Two users' folders with the same campaign, and a store for both."""
    (tmp_path / "store").mkdir()
    campaigns = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        campaign = lay_out(tmp_path / name, samples)
        campaign.environment["BUNCHTRAIN_STORE"] = str(tmp_path / "store")
        campaigns.append(campaign)
    return campaigns


def test_campaigns_at_the_same_time_make_each_shard_once(two, finished, tmp_path):
    wanted = ["--", "results/prepare/dataset.h5"]
    running = [_started(campaign, *wanted) for campaign in two]
    for campaign, process in zip(two, running, strict=True):
        status, said = _ended(campaign, process)
        assert status == 0, said[-3000:]
    logs = [path.read_text() for campaign in two for path in sorted((campaign.folder / "results/logs").glob("*/*.log"))]
    told = [re.findall(r"\[store\] (kept|taken)", log) for log in logs]
    assert sorted(word for words in told for word in words) == ["kept"] * 5 + ["taken"] * 5
    for name in ("convert/qcd/0000.h5", "convert/top/0000.h5", "convert/top/0001.json", "prepare/scaler.json"):
        assert two[0].read(name) == two[1].read(name) == finished.read(name), name
    # Without the store nothing is to be done either: it changes no result and asks for none.
    two[0].environment.pop("BUNCHTRAIN_STORE")
    assert two[0].jobs(*wanted) == {}


def test_two_drivers_of_one_output_in_two_folders_are_refused(two, tmp_path):
    """As when both lead to one folder on a scratch disk."""
    (tmp_path / "scratch").mkdir()
    for campaign in two:
        (campaign.folder / "results").symlink_to(tmp_path / "scratch")
    first = _started(two[0], "--", "results/prepare/dataset.h5")
    lock = tmp_path / "scratch/logs/driver.lock"
    while not (lock.exists() and lock.read_text()):
        assert first.poll() is None
        time.sleep(0.05)
    status, said = _ended(two[1], _started(two[1]))
    assert status == 2 and "another campaign writes to this output" in said
    assert f"process {first.pid} on" in said and "Traceback" not in said
    assert _ended(two[0], first)[0] == 0


def test_a_store_that_is_none_is_told_before_anything_runs(two):
    two[0].environment["BUNCHTRAIN_STORE"] = "not/there"
    status, said = _ended(two[0], _started(two[0]))
    assert status == 2 and "the store is no folder" in said and "BUNCHTRAIN_STORE" in said
    assert not (two[0].folder / "results/simulate").exists()
