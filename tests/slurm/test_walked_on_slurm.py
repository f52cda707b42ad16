"""The commands of the page for the way to one's own site, in their order, on the test cluster."""

import os
import shutil
import subprocess
import time

import pytest

from minicampaign import ROOT, lay_out, simulated
from walked import walk

pytestmark = [pytest.mark.slurm, pytest.mark.slow]


def test_move_to_your_site(cluster, tmp_path):
    """The cluster is the tests' own, already up; its profile stands for a site's, whose waits are long."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    campaign = lay_out(folder, [simulated(tmp_path / "a.root", 1)])
    (folder / "config").mkdir()
    (folder / "campaign.yaml").rename(folder / "config/config.yaml")
    shutil.copytree(ROOT / "slurm", folder / "slurm")
    shutil.copytree(ROOT / "envs", folder / "envs")
    box = f"--box {cluster.box}"
    instead = [
        ("make slurm", f"make -C {ROOT} slurm"),
        ("testcluster up --nodes 4 --cores 4 --memory 32000", f"testcluster up {box} --nodes 4 --cores 4"),
        ("testcluster env", f"testcluster env {box}"),
        ("slurm/testcluster down", "sinfo"),
        ("--profile slurm/test", "--profile slurm/test --until convert"),
        ("slurm/generic", "slurm/test"),
        ("export SBATCH_ACCOUNT=mine", "export SBATCH_ACCOUNT=root"),
        ("--profile slurm/mysite", "--profile slurm/mysite --until prepare"),
        ("--until prepare --until simulate", "--until simulate"),
    ]
    environment = {**campaign.environment, "PYTHONPATH": str(ROOT / "src")}
    said = walk("your-site.md", folder, environment, instead)
    number = said["slurm/submit.sh config/config.yaml --profile slurm/mysite"].split()[-1]
    log, end = folder / f".snakemake/log/driver-{number}.log", time.monotonic() + 300
    while not (log.exists() and "Complete log(s)" in log.read_text()):
        assert time.monotonic() < end, log.read_text() if log.exists() else "no driver"
        time.sleep(1)
    subprocess.run(["scancel", "-u", str(os.getuid())], check=False)
    assert (folder / "results/prepare/dataset.h5").exists() and (folder / "slurm/mysite/config.yaml").exists()
