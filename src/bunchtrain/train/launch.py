"""Start the ranks of a training, and start them again when one of them is lost.

The launcher (mpirun, srun) ends all ranks when one dies; they go on from their last checkpoint.
See docs/decisions/0008.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from bunchtrain.config.train import Train
from bunchtrain.errors import BunchtrainError, MissingDependency, NonFiniteLoss, Requeue, TrainingError
from bunchtrain.train import folders

#: Launchers that hand SIGUSR1 on to their ranks and wait for them; others hand on SIGTERM.
_HANDS_ON = {"mpirun", "mpiexec", "srun"}

#: Launchers that end with 1 whatever their ranks ended with.
_SILENT = {"horovodrun", "torchrun"}

#: Ends that a new start does not mend: done, a user's error, a stop that was asked for, a loss that is not finite.
_FINAL = {0, BunchtrainError.exit_code, Requeue.exit_code, NonFiniteLoss.exit_code}


def supervise(launcher: str, ranks: int, command: Sequence[str], out: Path, restarts: int) -> int:
    """Run `command` on `ranks` ranks until it ends for good; return its exit status.

    Parameters
    ----------
    launcher : str
        Program and options, e.g. `mpirun --bind-to none`; no shell reads it.
    ranks : int
        Processes to start.
    command : sequence of str
        What each rank runs.
    out : path
        Folder of the training, whose checkpoints show whether it comes on.
    restarts : int
        Starts after a loss without a new checkpoint between.

    Raises
    ------
    MissingDependency
        If the launcher is not installed.
    TrainingError
        If ranks are lost again and again, or the launcher's words cannot be read, or it hides how its ranks ended.
    """
    words = _words(launcher)
    left, seen = restarts, _saved(out)
    while True:
        status, told = _run([*words, "-n", str(ranks), *command], words[0])
        if status in _FINAL:
            return status
        if told:  # the ranks were ended before they could save: what they saved before stands
            return Requeue.exit_code
        saved = _saved(out)
        left, seen = (restarts, saved) if saved - seen else (left, seen)
        if left == 0:
            raise TrainingError(
                "ranks of the training were lost again and again",
                key="train.restarts",
                found=f"exit status {status} after {restarts} new start(s) without a new checkpoint",
                mend="look at the log above; run again to go on from the last checkpoint"
                if saved
                else "look at the log above: could the launcher start its ranks, and so many?",
            )
        left -= 1
        print(f"[train] ranks were lost (exit status {status}); starts them again", flush=True)


def check_ranks(settings: Train, ranks: int) -> None:
    """Refuse more ranks than a step has pieces.

    Raises
    ------
    TrainingError
        Naming both numbers.
    """
    if ranks > settings.pieces:
        raise TrainingError(
            "more ranks than pieces of a step: some would have nothing to do",
            key="train.ranks",
            found=f"{ranks} processes",
            expected=f"at most train.ranks x train.accumulation = {settings.pieces}",
            mend="raise train.ranks, or start fewer processes",
        )


def _words(launcher: str) -> list[str]:
    try:
        words = shlex.split(launcher)
    except ValueError as error:
        raise TrainingError("the launcher cannot be read", key="--launcher", found=f"{launcher} ({error})") from None
    if not words or shutil.which(words[0]) is None:
        raise MissingDependency(
            words[0] if words else "a launcher", needed_by="--launcher", mend="run make env, or name another launcher"
        )
    if Path(words[0]).name in _SILENT:
        raise TrainingError(
            "this launcher does not tell how its ranks ended, so they cannot be started again",
            key="--launcher",
            found=words[0],
            expected="mpirun or srun",
            mend=f"start `bunchtrain train` under {words[0]}, without --launcher",
        )
    return words


def _saved(out: Path) -> set[tuple[str, int]]:
    """Return the checkpoints of all trainings here, and when each was written."""
    found = [path for folder in folders.folders(out) for path in folders.files(folder)]
    return {(str(path), path.stat().st_mtime_ns) for path in found}


def _run(command: Sequence[str], launcher: str) -> tuple[int, bool]:
    """Run a launcher; return its exit status, and whether this process was asked to stop meanwhile."""
    # The ranks end with this process, whatever ends it: no orphans write beside their successors.
    process = subprocess.Popen(
        ["setpriv", "--pdeathsig", "TERM", "--", *command],
        stdin=subprocess.DEVNULL,  # a rank must not read this terminal
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    with _handing_on(process, Path(launcher).name) as told:
        status = process.wait()
    return (status if status >= 0 else 128 - status), bool(told)


@contextmanager
def _handing_on(process: subprocess.Popen[bytes], launcher: str) -> Iterator[list[int]]:
    """Hand signals that ask for a stop on to the ranks; yield the list of those that came."""
    told: list[int] = []
    gentle = signal.SIGUSR1 if launcher in _HANDS_ON else signal.SIGTERM

    def hear(number: int, frame: FrameType | None) -> None:
        told.append(number)
        process.send_signal(gentle)

    before = {number: signal.signal(number, hear) for number in (signal.SIGTERM, signal.SIGUSR1)}
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
