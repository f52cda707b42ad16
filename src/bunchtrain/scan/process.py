"""One evaluation is one process, with its own folder, log, time limit and a clean end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from bunchtrain.errors import NonFiniteLoss, Requeue, last_told
from bunchtrain.scan import surroundings

#: Seconds between the polite and the hard end of a training.
GRACE = 10

#: Exit statuses of a process that was killed, seen from here and through a shell.
KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)

#: Exit statuses of a training that was asked to stop: with its state saved, or before it could listen.
STOPPED = (Requeue.exit_code, -signal.SIGTERM, 128 + signal.SIGTERM)

_running: set[subprocess.Popen[bytes]] = set()


def evaluate(command: Sequence[str], log: Path, timeout: float) -> str | None:
    """Run an evaluation to its end; return why it failed, `F_...`, or None.

    Raises
    ------
    Requeue
        If it was asked to stop.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    limit = time.monotonic() + timeout
    status = _run(command, log, timeout)
    if status in STOPPED:
        raise Requeue("an evaluation was asked to stop", file=log, mend="run the scan again to go on")
    if status in KILLED:  # no verdict on these values: once more, from the checkpoint; out of memory comes again
        status = _run(command, log, limit - time.monotonic())
    if status is None:
        return "F_timeout"
    return failure(status, log) if status else None


def _run(command: Sequence[str], log: Path, timeout: float) -> int | None:
    """Run a process to its end and return its exit status, or None when it had to be ended for its time."""
    with log.open("ab") as stream:
        # The training ends with this process, whatever ends it: no orphan writes beside its successor.
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", "--", *command],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
            env=surroundings.bare(),
        )
        _running.add(process)
        try:
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            end(process)
            return None
        except BaseException:
            end(process)
            raise
        finally:
            _running.discard(process)
            _sweep(process.pid)


def end_all() -> None:
    """End every training that this process runs."""
    for process in list(_running):
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a training and all it started: politely, then hard."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(GRACE)
        except ProcessLookupError:
            break
        except subprocess.TimeoutExpired:
            continue
    _sweep(process.pid)


def _sweep(session: int) -> None:
    """End what an evaluation has left behind: mpirun gives each rank a process group of its own, but not a session."""
    end = time.monotonic() + GRACE
    while left := _members(session):
        for one in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)
        if time.monotonic() > end:
            return
        time.sleep(0.01)


def _members(session: int) -> list[int]:
    """Return the processes of a session that still run; Linux alone tells them, by /proc."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, _, leader = status.read_text(errors="replace").rpartition(")")[2].split()[:4]
            if int(leader) == session and state != "Z":
                found.append(int(status.parent.name))
    return found


def failure(status: int, log: Path) -> str:
    """Return the reason of a failed training from its exit status and log."""
    if status == NonFiniteLoss.exit_code:
        return "F_nan"
    tail = log.read_text(errors="replace")[-4000:].lower()
    lost = f"exit status {128 + signal.SIGKILL}"  # of a rank, as what starts them again says
    if status in KILLED or any(words in tail for words in ("memoryerror", "out of memory", "oom_kill", lost)):
        return "F_oom"
    return "F_crash"


def last_error(log: Path) -> str:
    """Return what a training's log says of its end, on one line: its last error with its details; empty without."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return "; ".join(" ".join(line.removeprefix("error: ").split()) for line in last_told(lines))
