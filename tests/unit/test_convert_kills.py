"""A job of conversion that is killed: no half file, and the same bytes from the next run."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from test_convert import columns, spec, write

from bunchtrain.config.specs import as_text
from bunchtrain.provenance import RECORD

OUTPUTS = ("a.h5", "a.json")

#: Imports once, then runs the command of each line in a process of its own: its number is told, and, when a second line
#: asks for it, how it ended.
NURSERY = """
import json, os, sys, traceback
import bunchtrain.cli, bunchtrain.convert.run, bunchtrain.provenance, bunchtrain.convert.formats.ntuple, uproot
bunchtrain.provenance.commit(), bunchtrain.provenance.tool_versions()
for line in sys.stdin:
    child = os.fork()
    if not child:
        sys.argv = ["bunchtrain", *json.loads(line)]
        sys.stdout = sys.stderr
        try:
            bunchtrain.cli.main()
        except SystemExit as end:
            os._exit(end.code or 0)
        except BaseException:
            traceback.print_exc()
        os._exit(1)
    print(child, flush=True)
    sys.stdin.readline()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Nursery:
    """Where jobs start fast, and can be killed."""

    def __init__(self, said):
        command, pipe = [sys.executable, "-c", NURSERY], subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=said, text=True)

    def start(self, arguments):
        """Start a command; return the number of its process."""
        return self._asked(json.dumps([str(one) for one in arguments]))

    def status(self):
        """Wait for the process that was started last; return its exit status."""
        return self._asked("")

    def _asked(self, line):
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self):
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


@pytest.fixture
def nursery(tmp_path):
    with (tmp_path / "said").open("w") as said:
        one = Nursery(said)
        yield one
        one.close()


@pytest.fixture
def inputs(tmp_path):
    """Files that keep a job busy for a moment each."""
    counts = np.random.default_rng(1).integers(0, 60, 4000)
    return [write(tmp_path / f"{seed}.root", columns(counts, seed)) for seed in range(2)]


def job(inputs, out):
    options = ["--spec", as_text(spec(step_size="1 MB")), "--out", out / "a.h5", "--manifest", out / "a.json"]
    return ["convert", *options, *inputs]


def content(out):
    return {name: (out / name).read_bytes() for name in OUTPUTS if (out / name).exists()}


def test_a_job_killed_at_any_moment_leaves_no_half_file_and_runs_again_to_the_same_bytes(nursery, inputs, tmp_path):
    whole, out = tmp_path / "whole", tmp_path / "out"
    out.mkdir()
    began = time.monotonic()
    nursery.start(job(inputs, whole))
    assert nursery.status() == 0, (tmp_path / "said").read_text()
    duration, expected = time.monotonic() - began, content(whole)
    assert list(expected) == list(OUTPUTS)
    killed, half_written, share = 0, 0, random.Random(2)
    for attempt in range(40):
        if killed >= 4 and half_written:
            break
        number, end = nursery.start(job(inputs, out)), time.monotonic() + share.uniform(0, duration)
        while time.monotonic() < end and not (attempt % 2 and any(out.glob(".a.h5.*.tmp"))):
            time.sleep(0.0001)
        os.kill(number, signal.SIGKILL)  # it is no one else's number before its status is asked for
        killed += nursery.status() == -signal.SIGKILL
        half_written += any(out.glob(".a.h5.*.tmp"))
        for name, found in content(out).items():
            assert found == expected[name], f"half of {name}"
            (out / name).unlink()
        for path in out.glob("*.prov.json"):
            assert json.loads(path.read_text())["record"] == RECORD
    assert killed >= 4 and half_written
    nursery.start(job(inputs, out))
    assert nursery.status() == 0, (tmp_path / "said").read_text()
    assert content(out) == expected
    assert sorted(path.name for path in out.iterdir()) == sorted([*OUTPUTS, *(f"{name}.prov.json" for name in OUTPUTS)])
