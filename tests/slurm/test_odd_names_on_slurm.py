"""What a batch script or a wrapped command could take for something else never runs on a node."""

import pytest

from bunchtrain.files import read_json
from minicampaign import ROOT, lay_out, simulated

pytestmark = pytest.mark.slurm


def test_odd_names_of_folder_campaign_and_files_are_safe_on_the_cluster(cluster, tmp_path):
    odd = 'a"b $(touch pwned)`touch pwned`;touch pwned|é日本 #SBATCH $HOME'
    folder = tmp_path / odd
    folder.mkdir()
    campaign = lay_out(folder, [])
    campaign.environment["PYTHONPATH"] = str(ROOT / "src")
    name = f"data/{odd}/{odd}.root"
    (folder / name).parent.mkdir(parents=True)
    simulated(folder / name, 1, jets=40)
    values = campaign.values
    values["samples"]["top"]["files"] = [name]
    campaign.write(values)
    (folder / "campaign.yaml").rename(folder / f"{odd}.yaml")
    profile = str(ROOT / "slurm/test")
    done = campaign.drive("--profile", profile, "--", "results/convert/top/0000.h5", file=f"{odd}.yaml")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "submitted with SLURM jobid" in done.stdout + done.stderr
    assert read_json(folder / "results/convert/top/0000.json")["inputs"][0]["path"] == name
    assert not list(tmp_path.rglob("pwned"))
