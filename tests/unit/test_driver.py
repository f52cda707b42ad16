"""What the driver makes of its words, and what it refuses before anything runs."""

from pathlib import Path

import pytest
import yaml

from bunchtrain.campaign import _is_dry, _locked, describe
from bunchtrain.errors import BunchtrainError, CampaignError, InputError
from bunchtrain.provenance import check_target, record_path

CONFIG = Path(__file__).parents[2] / "config/config.yaml"


@pytest.mark.parametrize("words", [["-n"], ["-np"], ["-pn"], ["--dry-run"], ["--dryrun"], ["--dry-r"], ["-k", "-n"]])
def test_a_dry_run_is_known_however_it_is_spelt(words):
    assert _is_dry(words)


@pytest.mark.parametrize("words", [[], ["-p"], ["--cores", "2"], ["--nolock"], ["--", "-n"], ["--until", "train"]])
def test_what_is_no_dry_run_is_none(words):
    assert not _is_dry(words)


@pytest.mark.parametrize("output", ["campaign.yaml", "campaign.yaml/below"])
def test_results_that_would_go_into_a_file_are_refused_by_the_check(tmp_path, monkeypatch, output):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "campaign.yaml"
    file.write_text(yaml.safe_dump({**yaml.safe_load(CONFIG.read_text()), "output": output}))
    with pytest.raises(CampaignError, match="a file stands where the results should go") as caught:
        describe(file)
    assert caught.value.details["key"] == "output" and "folder" in caught.value.details["expected"]


def test_the_drivers_lock_follows_no_link(tmp_path):
    (tmp_path / "precious").write_text("content")
    (tmp_path / "driver.lock").symlink_to(tmp_path / "precious")
    with pytest.raises(BunchtrainError):
        _locked(tmp_path / "driver.lock", "another campaign runs")
    assert (tmp_path / "precious").read_text() == "content"


@pytest.mark.parametrize("name", ["campaign.yaml", "a.root", "page", "report.zip"])
def test_nothing_of_another_kind_is_written_over(tmp_path, name):
    with pytest.raises(InputError, match="no name for such a file"):
        check_target(tmp_path / name, ".html")


def test_no_result_is_written_over(tmp_path):
    check_target(tmp_path / "status.html", ".html")
    record_path(tmp_path / "report.html").write_text("{}")
    with pytest.raises(InputError, match="would be overwritten"):
        check_target(tmp_path / "report.html", ".html")
