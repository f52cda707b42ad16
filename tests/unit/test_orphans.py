"""Jobs of a killed driver: found by name among others', waited for, cancelled, and never guessed about."""

import json
import math
import os

import pytest

from bunchtrain import orphans
from bunchtrain.errors import BunchtrainError

SQUEUE = """#!/bin/sh
[ -e {folder}/down ] && {{ echo 'squeue: error: no contact' >&2; exit 1; }}
cat {folder}/queue
sed -i 1d {folder}/queue
"""


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A squeue that shows a list of jobs, one fewer each time, and a scancel that empties it."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "queue").write_text("")
    for name, text in {
        "squeue": SQUEUE.format(folder=tools),
        "scancel": f'#!/bin/sh\necho "$@" >> {tools}/cancelled\n: > {tools}/queue\n',
    }.items():
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setattr(orphans, "PAUSE", 0.01)
    (tmp_path / "state").mkdir()
    return tools


@pytest.fixture
def state(slurm):
    return slurm.parent / "state"


def queue(slurm, state):
    name = orphans.named(state, "this")
    rows = ["1 RUNNING someone else's", f"2 RUNNING {name}_a", f"3 PENDING {name}_a", f"4 RUNNING {name}0_a"]
    (slurm / "queue").write_text("\n".join(rows) + "\n")


def test_a_folder_keeps_its_name_and_a_copy_gets_another(state, tmp_path):
    name = orphans.named(state, "this")
    assert orphans.named(state, "that") == name and orphans.known(state)["asked"] == "that"
    state.rename(tmp_path / "moved")
    assert orphans.known(tmp_path / "moved") == {}
    assert orphans.named(tmp_path / "moved", "this") != name


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", json.dumps({"folder": 3})])
def test_a_broken_record_is_none(state, text):
    (state / orphans.RECORD).write_text(text)
    assert orphans.known(state) == {} and orphans.started(state) == math.inf


def test_jobs_of_this_folder_are_waited_for(slurm, state, capsys):
    queue(slurm, state)
    orphans.settle(state, cancel=False)
    said = capsys.readouterr().out
    assert "2 job(s) of a driver that was killed: 2 running, 3 pending; waits for them" in said
    assert said.endswith("they have ended\n") and not (slurm / "cancelled").exists()


def test_jobs_of_this_folder_alone_are_cancelled(slurm, state, capsys):
    queue(slurm, state)
    orphans.settle(state, cancel=True)
    assert (slurm / "cancelled").read_text() == "2 3\n" and "cancels them" in capsys.readouterr().out


def test_nothing_is_said_where_there_are_none(slurm, state, capsys):
    orphans.settle(state, cancel=False)
    orphans.named(state, "this")
    orphans.settle(state, cancel=False)
    assert capsys.readouterr().out == ""


def test_a_slurm_that_does_not_answer_stops_a_driver_that_has_used_it(slurm, state):
    orphans.named(state, "this")
    (slurm / "down").touch()
    orphans.settle(state, cancel=False)
    (state / "slurm_logs").mkdir()
    with pytest.raises(BunchtrainError, match="does not say") as caught:
        orphans.settle(state, cancel=False)
    assert "no contact" in caught.value.details["found"]
    assert "squeue --me" in caught.value.details["mend"] and "without squeue in PATH" in caught.value.details["mend"]
