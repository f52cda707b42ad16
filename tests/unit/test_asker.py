"""The process for suggestions: its answers, its errors, its end."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bunchtrain.errors import TrainingError
from bunchtrain.scan import asker


def refused() -> None:
    raise TrainingError("no point is left", key="forbid", mend="allow one")


def test_calls_are_made_in_one_other_process():
    first, second = (asker.answer(asker.ask(os.getpid)) for _ in range(2))
    assert first == second != os.getpid()


def test_its_errors_are_those_of_the_call():
    with pytest.raises(TrainingError, match="no point is left") as caught:
        asker.answer(asker.ask(refused))
    assert caught.value.details == {"key": "forbid", "mend": "allow one"}


def test_a_process_that_was_ended_is_an_error_and_the_next_call_starts_another():
    pid = asker.answer(asker.ask(os.getpid))
    for number in (signal.SIGINT, signal.SIGTERM):  # these reach a whole group; the search decides
        os.kill(pid, number)
    assert asker.answer(asker.ask(os.getpid)) == pid
    asked = asker.ask(time.sleep, 30)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(TrainingError, match="run the scan again"):
        asker.answer(asked)
    assert asker.answer(asker.ask(os.getpid)) != pid


def test_a_process_that_was_ended_while_idle_is_started_again():
    pid = asker.answer(asker.ask(os.getpid))
    os.kill(pid, signal.SIGKILL)
    end = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists() and time.monotonic() < end:
        time.sleep(0.05)
    time.sleep(0.5)  # the pool notices by itself
    assert asker.answer(asker.ask(os.getpid)) != pid


def test_it_ends_with_a_parent_that_is_killed():
    script = "import os, time; from bunchtrain.scan import asker; print(asker.answer(asker.ask(os.getpid)), flush=True)"
    code = f"{script}\nasker.ask(time.sleep, 60)\ntime.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        parent.kill()
    end = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < end, "it outlived its parent"
        time.sleep(0.05)
