"""What reruns in a campaign of a thousand jobs of conversion, a file each: asserted lists of jobs.

The files are real; the outputs are empty and were made known to Snakemake as if their jobs had run.
"""

import os
import re
import time

import pytest
import yaml

from conftest import ROOT, Campaign
from manyfiles import many_files

FILES = 500

#: Jobs as their messages name them.
PREPARE, SCAN = "prepare splits, scaler and index", "scan hyperparameters"
TRAIN = "train the best configuration, seed 0, on 2 ranks"
EVALUATE, REPORT = "evaluate accuracy and uncertainty", "report"
SYNTHESIZE = "synthesize a compact student into an IP core"
BELOW_TRAIN = [EVALUATE, REPORT, SYNTHESIZE]
BELOW_PREPARE = [SCAN, TRAIN, *BELOW_TRAIN]
CONVERSIONS = [f"convert {sample} {number:04d}" for sample in ("qcd", "top") for number in range(FILES)]

#: Snakemake waits between the files that it touches, so that their times tell them apart; here content does.
AT_ONCE = "import snakemake.executors.touch as touch\ntouch.Executor.SLEEPING_TIME = 0\n"


def said_by(campaign, *arguments):
    done = campaign.run(*arguments)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


class Thousand(Campaign):
    """A campaign of a thousand files, with a word to Python at its start."""

    def at_start(self, code):
        """Let every process of the campaign run some code first."""
        (self.folder / "site").mkdir(exist_ok=True)
        (self.folder / "site/sitecustomize.py").write_text(code)
        self.environment["PYTHONPATH"] = f"{self.folder / 'site'}:{ROOT / 'src'}"

    def job_list(self):
        """Return the jobs that would run, by their messages."""
        said = said_by(self, "--dry-run")
        found = set(re.findall(r"^Job \d+: (?!done)(.*)$", said, re.M))
        assert bool(found) != ("Nothing to be done" in said)
        return sorted(found)


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """The campaign, come to its end."""
    folder = tmp_path_factory.mktemp("thousand")
    values = yaml.safe_load((ROOT / "tests/workflow/mini.yaml").read_text())
    for label, name in enumerate(("qcd", "top")):
        many_files(folder / "data" / name, label, FILES, jets=3)
        values["samples"][name] = {"label": name, "files": [f"data/{name}"]}
    campaign = Thousand(folder)
    campaign.write({**values, "convert": {"files_per_job": 1}})
    campaign.at_start(AT_ONCE)
    outputs = re.findall(r"^(results/\S+)\t", said_by(campaign, "--summary"), re.M)
    assert len(outputs) > 2 * len(CONVERSIONS)
    for name in outputs:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    said_by(campaign, "--touch", "--forceall", "--quiet")
    return campaign


@pytest.fixture
def thousand(ended):
    """The same; a test may change the campaign's file, and what runs first."""
    ended.at_start("")
    values = ended.values
    yield ended
    ended.write(values)


def test_a_thousand_touched_files_rerun_nothing(thousand):
    later = time.time() + 60
    files = sorted(thousand.folder.glob("data/*/*.root"))
    assert len(files) == len(CONVERSIONS)
    for path in files:
        os.utime(path, (later, later))
    assert thousand.job_list() == []


def test_changed_content_of_one_file_reruns_its_conversion_and_what_depends_on_it(thousand):
    path = thousand.folder / "data/top/00417.root"
    before, times = path.read_bytes(), path.stat()
    path.write_bytes(before + b" ")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # as a copy with an older time does
    assert thousand.job_list() == sorted(["convert top 0417", PREPARE, *BELOW_PREPARE])
    path.write_bytes(before)
    assert thousand.job_list() == []


@pytest.mark.parametrize(
    ("section", "key", "value", "jobs"),
    [
        ("convert", "step_size", "4 MB", [*CONVERSIONS, PREPARE, *BELOW_PREPARE]),
        ("train", "epochs", 5, [TRAIN, *BELOW_TRAIN]),
    ],
)
def test_a_changed_parameter_reruns_its_stage_and_all_below(thousand, section, key, value, jobs):
    values = thousand.values
    values[section][key] = value
    thousand.write(values)
    assert thousand.job_list() == sorted(jobs)


@pytest.mark.parametrize(
    ("stage", "jobs"),
    [("convert", [*CONVERSIONS, PREPARE, *BELOW_PREPARE]), ("evaluate", [EVALUATE, REPORT])],
)
def test_a_raised_version_reruns_its_stage_and_all_below(thousand, stage, jobs):
    thousand.at_start(f"import bunchtrain.{stage} as stage\nstage.VERSION += 1\n")
    assert thousand.job_list() == sorted(jobs)
