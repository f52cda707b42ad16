"""One finished campaign, shared: tests work on copies of its folder."""

import shutil

import pytest

from minicampaign import ROOT as ROOT
from minicampaign import SAMPLES as SAMPLES
from minicampaign import Campaign, lay_out, simulated


@pytest.fixture(scope="session")
def samples(tmp_path_factory):
    """Files as a user would bring them, and one more to replace one of them with."""
    folder = tmp_path_factory.mktemp("samples")
    return [simulated(folder / f"{seed}.root", seed) for seed in range(4)]


@pytest.fixture(scope="session")
def finished(tmp_path_factory, samples):
    """The miniature campaign, run to its end. Not to be changed: see `copy`."""
    campaign = lay_out(tmp_path_factory.mktemp("finished"), samples)
    done = campaign.drive()
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-6000:]
    return campaign


@pytest.fixture
def copy(finished, tmp_path):
    """A copy of the finished campaign, to be changed at will."""
    shutil.copytree(finished.folder, tmp_path / "copy", symlinks=True)
    return Campaign(tmp_path / "copy")


@pytest.fixture
def fresh(tmp_path, samples):
    """The miniature campaign, not yet run."""
    (tmp_path / "fresh").mkdir()
    return lay_out(tmp_path / "fresh", samples)
