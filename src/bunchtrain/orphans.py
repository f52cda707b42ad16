"""Jobs that a killed driver left behind in Slurm: found by their name, waited for or cancelled, never joined by others.

Snakemake's Slurm plugin gives all jobs of a run one name. Ours begins with a word that is kept in the folder, so the
next driver there knows them.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import time
import uuid
from pathlib import Path

from bunchtrain.errors import BunchtrainError
from bunchtrain.files import write_json

#: In Snakemake's folder: the word that jobs' names begin with, the folder it was made for, what was asked for.
RECORD = "slurm-jobs.json"

#: Snakemake's option, and seconds between questions to Slurm.
OPTION = "--slurm-jobname-prefix"
PAUSE = 5.0


def known(state: Path) -> dict[str, str]:
    """Return what is kept; nothing before the first run, and in a copy of the folder."""
    try:
        record = json.loads((state / RECORD).read_text())
        return dict(record) if record["folder"] == str(state.resolve()) else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def named(state: Path, asked: str) -> str:
    """Keep what is asked for; return the word that names of this folder's jobs begin with, a new one at first."""
    name = known(state).get("name") or f"bunchtrain-{uuid.uuid4().hex[:12]}"
    write_json(state / RECORD, {"name": name, "folder": str(state.resolve()), "asked": asked})
    return name


def started(state: Path) -> float:
    """Return when the last driver of this folder was started, as a time of files; infinity if that is not known."""
    return (state / RECORD).stat().st_mtime if known(state) else math.inf


def settle(state: Path, cancel: bool) -> None:
    """Return when no job of an earlier driver of this folder runs or waits any more.

    Parameters
    ----------
    state : path
        Snakemake's folder.
    cancel : bool
        Cancel them; else wait for their ends.

    Raises
    ------
    BunchtrainError
        If Slurm does not say whether there are any.
    """
    name = known(state).get("name")
    if name is None or shutil.which("squeue") is None:
        return
    told: list[str] = []
    while (jobs := _queued(state, name)) or _submitting(name):
        if jobs and jobs != told:
            act = "cancels them" if cancel else "waits for them (--orphans cancel would cancel them)"
            print(f"{len(jobs)} job(s) of a driver that was killed: {', '.join(jobs)}; {act}", flush=True)
            told = jobs
        if jobs and cancel:
            subprocess.run(["scancel", *(job.split()[0] for job in jobs)], check=False)
        time.sleep(PAUSE)
    if told:
        print("they have ended", flush=True)


def _queued(state: Path, name: str) -> list[str]:
    """Return number and state of the jobs whose name begins with `name`."""
    command = ["squeue", "--me", "--noheader", "--format=%i %T %j"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    except (subprocess.SubprocessError, OSError) as error:
        if not (state / "slurm_logs").exists():  # no job has ever been submitted from here
            return []
        raise BunchtrainError(
            "Slurm does not say whether jobs of a killed driver are still at work",
            file=state.resolve().parent,
            found=" ".join(str(getattr(error, "stderr", None) or error).split()),
            mend="run again when `squeue --me` answers: two drivers' jobs would write the same files; if that cluster "
            "is gone for good and its jobs with it, run again without squeue in PATH",
        ) from None
    rows = [line.split(" ", 2) for line in done.stdout.splitlines()]
    return [f"{number} {word.lower()}" for number, word, job in rows if job.startswith(f"{name}_")]


def _submitting(name: str) -> bool:
    """Whether a process of a killed driver still submits a job from this machine."""
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = place.read_bytes()
        except OSError:
            continue
        if b"sbatch" in words and f"{name}_".encode() in words and int(place.parent.name) != os.getpid():
            return True
    return False
