"""The test cluster's command line explains itself; the driver's sacct tells a preempted job that is over."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SLURM = Path(__file__).parents[2] / "slurm"


def testcluster(*words):
    return subprocess.run(
        [sys.executable, SLURM / "testcluster", *words], capture_output=True, text=True, timeout=30, check=False
    )


testcluster.__test__ = False


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["status", "--box", "none here"], ["there is no cluster in", "testcluster up --box"]),
        (["up", "--box", "a" * 90], ["too long for sockets", "at most 80"]),
        (["start"], ["invalid choice: 'start'", "start-node"]),
    ],
)
def test_a_wrong_word_is_explained(words, told):
    done = testcluster(*words)
    assert done.returncode == 2 and all(word in done.stderr for word in told), done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def sacct(tmp_path):
    """Give what asks the driver's sacct, which finds Slurm's behind it; the second job still waits."""
    text = {
        "sacct": 'echo "$@" > asked; '
        'printf "%s\\n" "1|COMPLETED" "2|PREEMPTED" "3|PREEMPTED" "4|RUNNING" "5|CANCELLED by 0"; exit ${STATUS:-0}',
        "squeue": '[ -z "$DOWN" ] && echo 2',
    }
    for name, script in text.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)

    def ask(**environment):
        path = os.pathsep.join([str(SLURM / "tools"), str(tmp_path), os.environ["PATH"]])
        return subprocess.run(
            ["sacct", "-X", "--name", "a b"],
            cwd=tmp_path,
            env={**os.environ, "PATH": path, **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    return ask


def test_a_job_that_was_cancelled_or_preempted_for_good_is_called_cancelled(sacct, tmp_path):
    assert sacct().stdout.splitlines() == ["1|COMPLETED", "2|PREEMPTED", "3|CANCELLED", "4|RUNNING", "5|CANCELLED"]
    assert (tmp_path / "asked").read_text() == "-X --name a b\n"


def test_no_job_is_given_up_while_slurm_does_not_answer(sacct):
    assert "3|PREEMPTED" in sacct(DOWN="yes").stdout


def test_its_status_is_handed_on(sacct):
    assert sacct(STATUS="3").returncode == 3
