"""The test cluster's command line explains itself; the driver's sacct tells a preempted job that is over."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SLURM = Path(__file__).parents[2] / "slurm"
sys.path.append(str(SLURM))


def testcluster(*words):
    return subprocess.run(
        [sys.executable, SLURM / "testcluster", *words], capture_output=True, text=True, timeout=30, check=False
    )


testcluster.__test__ = False


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["status", "--box", "none"], ["there is no cluster in", "testcluster up --box"]),
        (["up", "--box", "a" * 90], ["too long for sockets", "at most 80", "--box"]),
        (["start"], ["invalid choice: 'start'", "start-node"]),
    ],
)
def test_a_wrong_word_is_explained(words, told):
    done = testcluster(*words)
    assert done.returncode == 2 and all(word in done.stderr for word in told), done.stderr
    assert "Traceback" not in done.stderr


#: What says which folder may be a cluster's; it is asked alone, so that nothing is ever written.
box = importlib.import_module("testcluster_box")


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """A folder in which there are some that may be a cluster's, and some that may not."""
    monkeypatch.chdir(tmp_path)
    for name in ("empty", "full", "cluster", "other", "with blank"):
        Path(name).mkdir()
    Path("full/file").touch()
    Path("file").touch()
    Path("root").symlink_to("/")
    Path("cluster/cluster.json").write_text(json.dumps(dict.fromkeys(box.KEYS)))
    Path("other/cluster.json").write_text('{"nodes": 3}')
    return tmp_path


@pytest.mark.parametrize("name", ["empty", "cluster", "new", "new/below", "empty/../cluster", "./empty/"])
def test_a_folder_that_may_be_a_clusters(folders, name):
    before = sorted(folders.rglob("*"))
    assert box.checked(name).resolve() == (folders / name).resolve()
    assert sorted(folders.rglob("*")) == before


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("/", "whole machine"),
        ("//", "whole machine"),
        ("root", "whole machine"),
        ("/usr/..", "whole machine"),
        ("", "no name"),
        (".", "something else"),
        ("full", "something else"),
        ("other", "something else"),
        ("/usr", "something else"),
        ("file", "a file is in the way"),
        ("file/below", "cannot be looked at|a file is in the way"),
        ("new" * 40, "too long"),
        *((f"new{one}", "characters") for one in " \t\n'\"$`\\;&|#%*(\0"),
        ("with blank", "characters"),
    ],
)
def test_a_folder_of_anything_else_is_refused_at_once(folders, name, told):
    before = sorted(folders.rglob("*"))
    with pytest.raises(box.Problem, match=told) as caught:
        box.checked(name)
    assert box.ALLOWED in str(caught.value) and "--box" in str(caught.value)
    assert sorted(folders.rglob("*")) == before


def test_the_command_asks_what_is_allowed_before_anything(folders):
    done = testcluster("up", "--box", str(folders / "full"))
    assert done.returncode == 2 and "something else than a cluster" in done.stderr
    assert [path.name for path in Path("full").iterdir()] == ["file"]


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
