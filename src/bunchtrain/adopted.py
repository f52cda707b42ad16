"""Outputs that were finished after their driver had been killed: made known to Snakemake, or made again.

Snakemake notes what an output was made with when its driver sees the end of the job. A job that outlives its driver
leaves whole outputs without that note, and a later change of the campaign would not rerun it.
"""

from __future__ import annotations

import subprocess
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bunchtrain import convert, evaluate, hunt, prepare, report, scan, simulate, synth, train
from bunchtrain.dag import Plan
from bunchtrain.errors import InputError
from bunchtrain.files import fingerprint
from bunchtrain.provenance import altered, read, record_path
from bunchtrain.told import differences

#: What says which spec the record of an output has to hold.
Told = Callable[[str], Mapping[str, Any] | None]

_STAGES = (simulate, convert, prepare, scan, train, evaluate, hunt, synth, report)


def asked(plan: Plan) -> str:
    """Return a digest of all that outputs depend on beside their inputs: the campaign, and the stages' VERSIONs."""
    return fingerprint([plan.campaign.model_dump(mode="json"), [stage.VERSION for stage in _STAGES]])


def adopt(command: Sequence[str], state: Path, since: float, same: bool, told: Told) -> None:
    """Make outputs known that were finished while no driver lived.

    Parameters
    ----------
    command : sequence of str
        Snakemake with its workflow and campaign.
    state : path
        Snakemake's folder.
    since : float
        When that driver was started. What is older was made known by others, or left unknown on purpose.
    same : bool
        Whether the campaign is the one that they were made for. If not, or if their inputs have changed since, they
        are removed, so that they are made again.
    told : callable
        Returns the spec that the record of an output has to hold now; None where that is not known.
    """
    shown = subprocess.run([*command, "--summary"], capture_output=True, text=True, check=False).stdout
    names = [line.split("\t")[0] for line in shown.splitlines() if line.count("\t") == 5][1:]
    young = [name for name in names if Path(name).is_file() and Path(name).stat().st_mtime >= since]
    wrong = {name for name in young if _says_otherwise(name, told(name))}
    loose = [name for name in young if name in wrong or not _noted(state, name)]
    good = [name for name in loose if same and name not in wrong and record_path(name).exists() and not altered(name)]
    for name in loose:
        if name not in good:
            print(f"made again, as the campaign or an input has changed since: {name}", flush=True)
            Path(name).unlink()
    if good:
        print(f"{len(good)} output(s) were finished after their driver was killed: taken as they are", flush=True)
        # A trigger that never applies here, so that nothing but these is taken for done.
        touch = ["--touch", "--nolock", "--cores", "1", "--rerun-triggers", "software-env", "--force", "--", *good]
        subprocess.run([*command, *touch], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _says_otherwise(name: str, told: Mapping[str, Any] | None) -> bool:
    """Whether the record of an output holds another spec."""
    if told is None or not record_path(name).exists():
        return False
    try:
        return bool(differences(told, read(name)["spec"]))
    except InputError:  # a record that cannot be read vouches for nothing
        return True


def _noted(state: Path, name: str) -> bool:
    """Whether Snakemake knows how an output was made, or that it is not whole.

    A note that is older than the file speaks of another: of what an earlier run made, or of an attempt that failed.
    """
    text = urlsafe_b64encode(name.encode()).decode()
    parts = [text[start : start + 254] for start in range(0, len(text), 254)]
    place = Path(*(f"@{part}" for part in parts[:-1]), parts[-1])
    note = state / "metadata" / place
    known = note.exists() and note.stat().st_mtime_ns >= Path(name).stat().st_mtime_ns
    return known or (state / "incomplete" / place).exists()
