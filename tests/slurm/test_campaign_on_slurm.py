"""A whole campaign goes through Slurm, and gives what it gives on one machine."""

import re
import subprocess

import pytest

from minicampaign import ROOT, lay_out

pytestmark = [pytest.mark.slurm, pytest.mark.mpi]


def test_a_campaign_gives_on_the_cluster_what_it_gives_on_one_machine(cluster, trained, tmp_path):
    campaign = lay_out(tmp_path, sorted(trained.folder.glob("data/top/*.root")))
    (tmp_path / "campaign.yaml").write_text((trained.folder / "campaign.yaml").read_text())
    campaign.environment["PYTHONPATH"] = str(ROOT / "src")
    done = campaign.drive("--profile", str(ROOT / "slurm/test"), "--", "results/evaluate/metrics.json")
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-6000:]
    names = ["convert/qcd/0000.h5", "prepare/dataset.h5", "scan/best.json", "train/seed0/model.safetensors"]
    assert [name for name in names if campaign.read(name) != trained.read(name)] == []
    said = done.stdout + done.stderr
    numbers = re.findall(r"submitted with SLURM jobid (\d+)", said)
    listed = ["sacct", "-n", "-P", "-j", ",".join(numbers), "-o", "jobid,state"]
    rows = [line.split("|") for line in subprocess.check_output(listed, text=True).splitlines()]
    jobs = {number: state for number, state in rows if number in numbers}
    assert set(jobs.values()) == {"COMPLETED"} and len(jobs) == len(numbers) == 9
    (training,) = re.findall(r"Job \d+: train the best.*\n(?:.*\n)*?Job \d+ has been .* jobid (\d+)", said)
    steps = {number: state for number, state in rows if number.startswith(f"{training}.") and number[-1].isdigit()}
    assert steps == {f"{training}.0": "COMPLETED"}  # srun started the ranks
    assert "2 rank(s) of horovod" in (tmp_path / "results/logs/train/seed0.log").read_text()
    assert campaign.jobs("--", "results/evaluate/metrics.json") == {}
