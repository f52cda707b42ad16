"""The Slurm profiles: understood by Snakemake, free of what its plugin gets wrong, and what they ask Slurm for."""

import functools
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROFILES = sorted(path.parent.name for path in ROOT.glob("slurm/*/config.yaml"))
BIN = Path(sys.executable).parent

#: A Slurm that takes every job and says at once that it has failed; it keeps what it was asked for.
SLURM = {
    "sbatch": 'printf "%s\\0" "$@" >> {folder}/asked; printf "\\n" >> {folder}/asked; wc -l < {folder}/asked',
    "sacct": 'case "$*" in *JobIdRaw*) for n in $(seq $(wc -l < {folder}/asked)); do echo "$n|FAILED"; done;; esac',
    "squeue": "exit 0",
    "sinfo": "echo 'main*'",
    "scontrol": "echo MinJobAge = 600; echo MaxArraySize = 1001",
}


def values(profile):
    return yaml.safe_load((ROOT / f"slurm/{profile}/config.yaml").read_text())


@functools.cache
def options():
    """All options of the installed Snakemake."""
    done = subprocess.run([sys.executable, "-m", "snakemake", "--help"], capture_output=True, text=True, check=True)
    return set(re.findall(r"--([a-z][a-z-]+)", done.stdout))


def run(folder, command, path="", **changes):
    """Lay out the demo's campaign with some changes, and run a command beside it; tools in `path` come first."""
    campaign = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    (folder / "campaign.yaml").write_text(yaml.safe_dump({**campaign, "output": "results", **changes}))
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env={**os.environ, "PATH": f"{path}:{BIN}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_there_are_profiles():
    assert set(PROFILES) >= {"generic", "gpu", "test"}


@pytest.mark.parametrize("profile", PROFILES)
def test_every_key_of_a_profile_is_an_option_of_snakemake(profile):
    keys = values(profile)
    assert keys["executor"] == "slurm" and set(keys) <= options()


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_is_understood(profile, tmp_path):
    command = ["snakemake", "--snakefile", str(ROOT / "Snakefile"), "--configfile", "campaign.yaml", "--profile"]
    done = run(tmp_path, [*command, str(ROOT / "slurm" / profile), "--dry-run", "--printshellcmds"])
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    assert "bunchtrain train --launcher 'srun --mpi=pmix' --ranks 2" in output


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_avoids_what_the_plugin_gets_wrong(profile):
    keys, text = values(profile), (ROOT / f"slurm/{profile}/config.yaml").read_text()
    assert keys["retries"] >= 1  # here, for in a rule they would count again inside each job
    # A job that Slurm starts again after its node failed would run beside Snakemake's new one.
    assert keys["slurm-no-requeue"] is True and "slurm-requeue" not in keys
    # Minutes without accounting: this many questions, so many seconds apart.
    assert keys["slurm-status-attempts"] / keys["max-status-checks-per-second"] >= 240
    # Arrays check the first task's files for all tasks; an account asks the accounting for every job.
    assert not {"slurm-array-jobs", "groups", "group-components"}.intersection(keys)
    assert "slurm_account" not in text and "requeue: true" not in text.replace("no-requeue: true", "")
    # The launcher of the rules does not find its nodes inside a job of the plugin.
    assert all(keys["set-resources"][rule]["mpi"] == "srun --mpi=pmix" for rule in ("train", "baseline"))
    assert {"mem_mb", "runtime"} <= set(keys["default-resources"])


def test_no_rule_tries_again_by_itself():
    rules = [path.read_text() for path in sorted((ROOT / "workflow/rules").glob("*.smk"))]
    assert len(rules) > 8 and not any(re.search(r"^\s+(retries|group):", text, re.M) for text in rules)


def test_every_rule_asks_for_more_with_every_attempt():
    text = "\n".join(path.read_text() for path in sorted((ROOT / "workflow/rules").glob("*.smk")))
    rules = len(re.findall(r"^rule \w+:", text, re.M))
    assert rules > 10
    assert len(re.findall(r"mem_mb=grow\(", text)) == len(re.findall(r"runtime=grow\(\d+\)", text)) == rules


@pytest.fixture
def asked(tmp_path):
    """Give what runs a campaign with a profile on that Slurm, up to its training, and returns what jobs ask for."""

    def asked_for(profile, *arguments, ranks):
        training = {**yaml.safe_load((ROOT / "config/config.yaml").read_text())["train"], "ranks": ranks}
        for name in ("prepare/dataset.h5", "prepare/scaler.json", "prepare/summary.json"):
            (tmp_path / "results" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "results" / name).touch()
        for name in ("results.csv", "best.json", "front.json"):
            (tmp_path / "results/scan").mkdir(exist_ok=True)
            (tmp_path / "results/scan" / name).touch()
        for name, text in SLURM.items():
            (tmp_path / "tools").mkdir(exist_ok=True)
            (tmp_path / "tools" / name).write_text(f"#!/bin/sh\n{text.format(folder=shlex.quote(str(tmp_path)))}\n")
            (tmp_path / "tools" / name).chmod(0o755)
        command = ["bunchtrain", "campaign", "run", "campaign.yaml", "--profile", str(ROOT / f"slurm/{profile}")]
        fast = ["--slurm-init-seconds-before-status-checks", "1", "--max-status-checks-per-second", "10"]
        target = ["--latency-wait", "1", *arguments, "--", "results/train/seed0/model.safetensors"]
        done = run(tmp_path, [*command, *fast, *target], path=tmp_path / "tools", train=training)
        assert done.returncode != 0 and (tmp_path / "asked").exists(), done.stdout + done.stderr
        return [" ".join(line.split("\0")) for line in (tmp_path / "asked").read_text().splitlines()]

    return asked_for


@pytest.mark.slow
def test_a_training_asks_for_its_ranks_and_for_more_with_every_attempt(asked):
    jobs = asked("generic", ranks=4)
    assert len(jobs) == 3
    assert [int(re.search(r"--mem (\d+)", job)[1]) for job in jobs] == [6000, 12000, 24000]
    assert [int(re.search(r" -t (\d+)", job)[1]) for job in jobs] == [240, 480, 960]
    assert all("--ntasks=4 --cpus-per-task=1" in job and "--no-requeue" in job for job in jobs)
    names = {re.search(r"--job-name (\S+)", job)[1] for job in jobs}
    assert len(names) == 1 and names.pop().startswith("bunchtrain-")


def test_a_training_asks_for_one_gpu_a_rank(asked):
    job = asked("gpu", "--retries", "0", ranks=4)[0]
    assert all(word in job for word in ("--gpus=4 ", "--ntasks-per-gpu=1 ", "--ntasks=4 ", "--cpus-per-task=4 "))
