"""One evaluation is one training process, with its own folder, log, time limit and a clean end."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from bunchtrain.config.campaign import parse_section
from bunchtrain.config.scan import Scan
from bunchtrain.config.specs import ScanSpec, TrainSpec, as_text
from bunchtrain.config.train import Train
from bunchtrain.errors import Requeue
from bunchtrain.files import read_json

#: Seconds between the polite and the hard end of a training.
GRACE = 10

#: Exit statuses of a process that was killed, seen from here and through a shell.
KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)

#: Exit statuses of a training that was asked to stop: with its state saved, or before it could listen.
STOPPED = (Requeue.exit_code, -signal.SIGTERM, 128 + signal.SIGTERM)

_running: set[subprocess.Popen[bytes]] = set()

#: What the training's exit status 86 means; see `errors` and `train.loop`.
NON_FINITE = 86


def training_spec(spec: ScanSpec, values: dict[str, Any]) -> TrainSpec:
    """Return the short training that evaluates `values`."""
    model = dict(spec.training.model)
    settings = spec.training.settings.model_dump()
    for name, value in values.items():
        section, _, key = name.partition(".")
        (model if section == "model" else settings)[key] = value
    short = {"epochs": spec.settings.epochs, "patience": spec.settings.epochs, "max_jets": spec.settings.max_jets}
    settings |= {**short, "ranks": 1, "backend": "serial", "tensorboard": False}
    return spec.training.model_copy(update={"model": model, "settings": parse_section(Train, settings, "scan.space")})


def evaluate(
    spec: ScanSpec, values: dict[str, Any], dataset: Path, scaler: Path, folder: Path
) -> tuple[float | str, dict[str, Any]]:
    """Train with `values`; return the objective (larger is better) or a reason `F_...`, and facts for the record."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "bunchtrain", "train", "--spec", as_text(training_spec(spec, values))]
    command += ["--dataset", str(dataset), "--scaler", str(scaler), "--out", str(folder)]
    log = folder / "train.log"
    status = _run(command, log, spec.settings.timeout)
    if status in STOPPED:
        raise Requeue("an evaluation was asked to stop", file=log, mend="run the scan again to go on")
    if status in KILLED:  # no verdict on these values: once more, from the checkpoint; out of memory comes again
        status = _run(command, log, spec.settings.timeout)
    if status is None:
        return "F_timeout", {}
    if status != 0:
        return failure(status, log), {}
    return result(folder, spec.settings)


def _run(command: list[str], log: Path, timeout: float) -> int | None:
    """Run a training to its end and return its exit status, or None when it had to be ended for its time."""
    with log.open("ab") as stream:
        # The training ends with this process, whatever ends it: no orphan writes beside its successor.
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", "--", *command], stdout=stream, stderr=stream, start_new_session=True
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
            return
        except subprocess.TimeoutExpired:
            continue


def failure(status: int, log: Path) -> str:
    """Return the reason of a failed training from its exit status and log."""
    if status == NON_FINITE:
        return "F_nan"
    tail = log.read_text(errors="replace")[-4000:].lower()
    if status in KILLED or "memoryerror" in tail or "out of memory" in tail:
        return "F_oom"
    return "F_crash"


def last_error(log: Path) -> str:
    """Return what a training's log says of its end, on one line: its last error with its details; empty without."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    begins = [number for number, line in enumerate(lines) if line.startswith("error: ")]
    if not begins:
        return ""
    head, *rest = lines[begins[-1] :]
    details = itertools.takewhile(lambda line: line.startswith("  "), rest)
    return "; ".join([head.removeprefix("error: "), *(" ".join(line.split()) for line in details)])


def result(folder: Path, settings: Scan) -> tuple[float, dict[str, Any]]:
    """Return the objective of a finished training and its validation curve."""
    rows = read_json(folder / "history.json")["rows"]
    best = min(rows, key=lambda row: row["validation_loss"])
    facts = {
        "validation_loss": best["validation_loss"],
        "validation_auc": best["validation_auc"],
        "curve": [row["validation_loss"] for row in rows],
    }
    objective = best["validation_auc"] if settings.objective == "validation_auc" else -best["validation_loss"]
    return objective, facts
