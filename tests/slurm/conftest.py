"""The project's own test cluster, booted once, and a campaign to disturb on it."""

import base64
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import yaml

from minicampaign import ROOT, Campaign, lay_out, simulated

TESTCLUSTER = ROOT / "slurm/testcluster"
TRAINED = "results/train/seed0/model.safetensors"
OUTPUTS = ("train/seed0/model.safetensors", "train/seed0/model.json")


class Cluster:
    """The test cluster in a folder."""

    def __init__(self, box):
        self.box = box

    def __call__(self, *words):
        done = subprocess.run([TESTCLUSTER, *words, "--box", self.box], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def environment(self):
        lines = (shlex.split(line)[1].partition("=") for line in self("env").splitlines())
        return {name: os.path.expandvars(value) for name, _, value in lines}

    @staticmethod
    def jobs(name=""):
        """Number, state and comment of the jobs that wait or run."""
        done = subprocess.run(["squeue", "-h", "-o", "%i %T %k"], capture_output=True, text=True, check=True)
        return [line.split() for line in done.stdout.splitlines() if name in line]


@pytest.fixture(scope="session")
def cluster():
    """Boot a cluster of four nodes, and put its clients first on the path."""
    missing = [name for name in ("slurmctld", "slurmd", "slurmdbd", "srun", "mariadbd", "munged") if not found(name)]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}; make slurm installs them")
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    cluster, before = Cluster(folder), dict(os.environ)
    cluster("up", "--nodes", "4", "--cores", "4")
    os.environ.update(cluster.environment())
    yield cluster
    os.environ.clear()
    os.environ.update(before)
    cluster("down")
    shutil.rmtree(folder)


def found(program):
    return shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """The miniature campaign on this machine up to its training, with nothing in its way. Not to be changed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    samples = [simulated(folder / f"{seed}.root", seed) for seed in range(3)]
    (folder / "campaign").mkdir()
    campaign = lay_out(folder / "campaign", samples)
    campaign.write({**campaign.values, "train": {**campaign.values["train"], "epochs": 12, "patience": 12}})
    campaign.environment["PYTHONPATH"] = str(ROOT / "src")
    done = campaign.run("--", TRAINED)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-6000:]
    return campaign


#: It stands before bunchtrain on the path of the jobs: notes each start, and whether another of the same verb is at
#: work (the kernel holds the lock as long as one lives), and lets the first start of a verb meet a fault.
GUARD = """#!{python}
import fcntl, os, sys, time
from pathlib import Path
folder, verb = Path({folder!r}), sys.argv[1]
lock = os.open(folder / f"lock-{{verb}}", os.O_RDWR | os.O_CREAT)
try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    (folder / "overlaps").open("a").write(verb + chr(10))
os.set_inheritable(lock, True)
first = not (folder / f"started-{{verb}}").exists()
(folder / f"started-{{verb}}").open("a").write(os.environ["SLURM_JOB_ID"] + chr(10))
if verb == "train" and first:
    {fault}
os.execv({python!r}, [{python!r}, "-m", "bunchtrain", *sys.argv[1:]])
"""


class Disturbed(Campaign):
    """A campaign whose training is to be made on the cluster."""

    def guard(self, fault="pass"):
        """Put the guard before bunchtrain on the path."""
        tools = self.folder.parent / "tools"
        tools.mkdir()
        (tools / "bunchtrain").write_text(GUARD.format(python=sys.executable, folder=str(tools), fault=fault))
        (tools / "bunchtrain").chmod(0o755)
        self.environment["PATH"] = f"{tools}:{self.environment['PATH']}"

    def profile(self, **train):
        """Write the test cluster's profile with other resources of the training."""
        values = yaml.safe_load((ROOT / "slurm/test/config.yaml").read_text())
        values["set-resources"]["train"] |= train
        place = self.folder.parent / "profile"
        place.mkdir()
        (place / "config.yaml").write_text(yaml.safe_dump(values))
        return place

    def drive(self, *arguments, profile=ROOT / "slurm/test", target=TRAINED):
        """Start a driver; what it says goes to a file."""
        command = [sys.executable, "-m", "bunchtrain", "campaign", "run", "campaign.yaml", "--profile", str(profile)]
        with (self.folder.parent / "output").open("a") as stream:
            return subprocess.Popen(
                [*command, *arguments, "--", target],
                cwd=self.folder,
                env=self.environment,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def said(self):
        return (self.folder.parent / "output").read_text()

    def log(self):
        return (self.folder / "results/logs/train/seed0.log").read_text()

    def until(self, words, log="results/logs/train/seed0.log", seconds=300):
        """Wait until a log has some words."""
        path, end = self.folder / log, time.monotonic() + seconds
        while not (path.exists() and re.search(words, path.read_text())):
            assert time.monotonic() < end, self.said()
            time.sleep(0.1)

    def starts(self, verb="train"):
        """Numbers of the Slurm jobs in which a verb was started."""
        return (self.folder.parent / f"tools/started-{verb}").read_text().split()

    def unharmed(self, undisturbed):
        """Hold that the results are the undisturbed run's, and that nothing ran beside itself."""
        for name in OUTPUTS:
            assert self.read(name) == undisturbed.read(name), name
        assert not (self.folder.parent / "tools/overlaps").exists()
        return True


@pytest.fixture
def disturbed(cluster, trained, tmp_path):
    """A copy of that campaign without its training."""
    shutil.copytree(trained.folder, tmp_path / "copy", symlinks=True)
    shutil.rmtree(tmp_path / "copy/results/train")
    shutil.rmtree(tmp_path / "copy/results/logs/train")
    for name in ("model.safetensors", "model.json", "history.json"):  # what Snakemake remembers of them, too
        remembered = base64.urlsafe_b64encode(f"results/train/seed0/{name}".encode()).decode()
        (tmp_path / "copy/.snakemake/metadata" / remembered).unlink()
    campaign = Disturbed(tmp_path / "copy")
    campaign.environment["PYTHONPATH"] = str(ROOT / "src")
    yield campaign
    subprocess.run(["scancel", "-u", str(os.getuid())], check=False)
