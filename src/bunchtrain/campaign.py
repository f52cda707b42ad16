"""Running a campaign from this machine: one driver a folder, stale locks removed safely, Snakemake does the rest."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bunchtrain.config.campaign import load_campaign
from bunchtrain.dag import Plan
from bunchtrain.errors import BunchtrainError

#: The workflow of the checkout that this package runs from.
SNAKEFILE = Path(__file__).parents[2] / "Snakefile"


def describe(file: Path) -> None:
    """Check a campaign file and print what it asks for.

    Raises
    ------
    CampaignError
        If it cannot be done.
    """
    plan = Plan(load_campaign(file).model_dump(mode="json", exclude_none=True), file)
    campaign = plan.campaign
    table = Table("sample", "class", "source", "files", "jobs", title=f"{campaign.name}: results in {campaign.output}")
    for name, sample in campaign.samples.items():
        files = sum(len(plan.files(name, group)) for group in plan.groups(name))
        source = f"generated: {sample.generate.process}" if sample.generate else ", ".join(sample.files)
        table.add_row(name, ", ".join(sample.classes), source, str(files), str(len(plan.groups(name))))
    Console().print(table)


def drive(file: Path, arguments: list[str]) -> None:
    """Run the campaign `file` through Snakemake in this folder and exit with its status.

    The driver holds a lock of the kernel, which ends with it. When that lock is free, no driver lives, so the lock that
    Snakemake keeps on disk is a leftover of a killed one and is removed.

    Raises
    ------
    BunchtrainError
        If another driver runs here.
    CampaignError
        If the campaign cannot be done.
    """
    load_campaign(file)
    state = Path(".snakemake")
    state.mkdir(exist_ok=True)
    handle = os.open(state / "driver.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise BunchtrainError(
            "another campaign runs in this folder",
            file=Path.cwd(),
            mend="wait for it, or run this one in another folder",
        ) from None
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(SNAKEFILE), "--configfile", str(file)]
    if any((state / "locks").glob("*.lock")):
        print("removing the lock of a run that was killed", flush=True)
        subprocess.run([*command, "--unlock"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.environ["BUNCHTRAIN_ROOT"] = str(SNAKEFILE.parent)  # for envs/post-deploy.sh
    os.set_inheritable(handle, True)  # Snakemake takes this process's place and keeps the lock
    os.execv(command[0], [*command, *arguments])
