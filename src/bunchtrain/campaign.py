"""Running a campaign from this machine: one driver a folder, stale locks removed safely, Snakemake does the rest."""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bunchtrain import adopted, orphans, store, told
from bunchtrain.config.campaign import load_campaign
from bunchtrain.config.candidates import own_value
from bunchtrain.config.scanned import students
from bunchtrain.config.spaces import searched
from bunchtrain.config.specs import SynthesizeSpec, TrainSpec, of_student, parse_spec, with_best
from bunchtrain.course import events
from bunchtrain.dag import Plan
from bunchtrain.errors import BunchtrainError, CampaignError, InputError, SynthesisError
from bunchtrain.files import disk_errors, write_text
from bunchtrain.groups import check_place
from bunchtrain.provenance import now
from bunchtrain.scaling.request import Request
from bunchtrain.synth import asked

#: The workflow of the checkout that this package runs from.
SNAKEFILE = Path(__file__).parents[2] / "Snakefile"


def _plan(file: Path) -> Plan:
    plan = Plan(load_campaign(file).model_dump(mode="json", exclude_none=True), file)
    output = Path(plan.output)
    for place in (output, *output.parents):
        if place.exists() and not place.is_dir():
            expected, problem = "a folder, or a name that is free", "a file stands where the results should go"
            raise CampaignError(problem, file=file, key="output", found=str(place), expected=expected)
    return plan


def describe(file: Path) -> None:
    """Check a campaign file and print what it asks for.

    Raises
    ------
    CampaignError
        If it cannot be done.
    """
    plan = _plan(file)
    campaign, warnings = plan.campaign, _checked_core(plan, file)
    table = Table("sample", "class", "source", "files", "jobs", title=f"{campaign.name}: results in {campaign.output}")
    for place, source in plan.sources.items():
        files = sum(len(plan.files(place, group)) for group in plan.groups(place))
        origin = source.origin
        about = f"generated: {origin.generate.process}" if origin.generate else ", ".join(origin.files)
        table.add_row(place, ", ".join(source.classes) or "none", about, str(files), str(len(plan.groups(place))))
    Console().print(table)
    if varied := plan.varied():
        print(f"{len(varied)} systematic variations of {len(campaign.systematics)} sources")
    for warning in warnings:
        print(f"warning: {warning}")


def _checked_core(plan: Plan, file: Path) -> list[str]:
    """Refuse a campaign whose student cannot become a core; return warnings."""
    if not plan.core:
        return []
    core = parse_spec(SynthesizeSpec, plan.spec("synthesize"))
    others = {name: parse_spec(SynthesizeSpec, plan.spec("candidate", candidate=name)) for name in plan.candidates}
    for name, student in searched(plan.campaign, file):
        others[f"search.{name}-{own_value(student, name)}"] = of_student(core, student, file)
    for name, value, student in students(plan.campaign, file):
        others[f"scan.{name}-{value}"] = of_student(core, student, file)
    try:
        return asked.check(core, others, len(plan.campaign.classes))
    except SynthesisError as error:
        error.details = {"file": str(file), **error.details}
        raise


def results(file: Path) -> Path:
    """Return the folder of a campaign's results."""
    return Path(load_campaign(file).output)


def made_anew(file: Path, stage: str, where: Sequence[str]) -> list[str]:
    """Return the files that are made anew when jobs of a stage run again; see `course.again.outputs`."""
    from bunchtrain.course.again import outputs

    plan = _plan(file)
    return outputs(Path(plan.output), file, stage, where, lambda job: plan.has(job.wildcards))


def outlook(file: Path, like: Path | None, cores: int, at_once: int | None, as_json: bool) -> None:
    """Print what a campaign has still to do and what that will take, by what earlier jobs took.

    Parameters
    ----------
    file : path
        Campaign file.
    like : path or None
        Results of another campaign, to learn from where the campaign's own say nothing.
    cores, at_once : int
        That jobs share; or how many run at the same time, where that is given.
    as_json : bool
        In place of a table.

    Raises
    ------
    InputError
        If `like` holds no times of jobs.
    """
    from bunchtrain.course import forecast, planned
    from bunchtrain.course import outlook as of_course

    plan = _plan(file)
    output = Path(plan.output)
    if like is not None and not any((like / forecast.BENCHMARKS).rglob("*.tsv")):
        expected = f"a campaign's output, with {forecast.BENCHMARKS}/ of jobs that have run"
        raise InputError("nothing is known from this folder", key="--like", found=str(like), expected=expected)

    def size(job: planned.Planned) -> float | None:
        """Return the bytes that a conversion reads."""
        return plan.size(job.wildcards["sample"], job.wildcards["group"]) or None

    jobs = planned.planned(_snakemake(file))
    folders = [output] if like is None else [output, like]
    of_course.show(of_course.outlook(jobs, output, folders, size, cores=cores, at_once=at_once), as_json)


def scaling(file: Path, out: Path | None, request: Request) -> None:
    """Probe the scaling of a campaign's training, print it, and keep it as `scaling.json` and `scaling.svg`.

    Parameters
    ----------
    file : path
        Campaign file; its stage prepare has run.
    out : path or None
        Folder; None for `scaling` among the campaign's results.
    request : Request
        What is asked for; without batch sizes, the campaign's own, half and twice as many.

    Raises
    ------
    InputError
        If the stage prepare has not run.
    """
    from bunchtrain.report.scaling import figure
    from bunchtrain.scaling import run
    from bunchtrain.scaling.show import show

    plan = _plan(file)
    made = Path(plan.output)
    dataset, scaler, best = (made / name for name in ("prepare/dataset.h5", "prepare/scaler.json", "scan/best.json"))
    for path in (dataset, scaler):
        if not path.exists():
            mend = events.again(made, file, "--until", "prepare")
            raise InputError("the campaign's dataset is missing", file=path, mend=mend)
    spec = with_best(parse_spec(TrainSpec, plan.spec("train", number="0")), best if best.exists() else None)
    batch = spec.settings.batch_size
    batches = request.batches or [max(1, batch // 2), batch, 2 * batch]
    folder = out or made / "scaling"
    result = run.scaling(spec, dataset, scaler, folder, replace(request, batches=batches))
    write_text(folder / "scaling.svg", figure(result))
    show(result, Console())
    print(f"[scaling] {folder / run.RESULT}, {folder / 'scaling.svg'}")


def drive(file: Path, arguments: list[str], cancel: bool = False, again: Sequence[str] = ()) -> None:
    """Run the campaign `file` through Snakemake in this folder and exit with its status.

    The driver holds locks of the kernel, which end with it: of this folder, and of the campaign's output, which a
    driver in another folder may have too. When they are free, no driver lives, so the lock that Snakemake keeps on disk
    is a leftover of a killed one and is removed, once that one's jobs in Slurm have ended.

    Parameters
    ----------
    file : path
        Campaign file.
    arguments : list of str
        Options and targets for Snakemake.
    cancel : bool
        Cancel what a killed driver's jobs still do in Slurm; else wait for them.
    again : sequence of str
        Files, or rules, that are made anew though nothing has changed.

    Raises
    ------
    BunchtrainError
        If another driver runs here, or writes to the same output.
    CampaignError
        If the campaign cannot be done.
    """
    plan = _plan(file)
    for warning in _checked_core(plan, file):
        print(f"warning: {warning}", flush=True)
    check_place(file)
    store.root()  # jobs ask for it
    state, output = Path(".snakemake"), Path(plan.output)
    locks = [_locked(state / "driver.lock", "another campaign runs in this folder")]
    command = _snakemake(file)
    if not _is_dry(arguments):
        locks.append(_locked(output / events.LOCK, "another campaign writes to this output"))
        command += _alone(command, state, plan, cancel)
    os.environ["BUNCHTRAIN_ROOT"] = str(SNAKEFILE.parent)  # for envs/post-deploy.sh
    for handle in locks:
        os.set_inheritable(handle, True)  # Snakemake takes this process's place and keeps the locks
    forced = ["--forcerun", *again] if again else []  # it takes all words up to the next option
    if again:
        os.environ.pop(store.VARIABLE, None)  # anew: not taken from what was made before
    os.execv(command[0], [*command, *forced, *_noting(output, arguments), *arguments])


def _noting(output: Path, arguments: Sequence[str]) -> list[str]:
    """Return the options by which a run writes its events down, with what was asked of it."""
    noted = {"file": str(output / events.FILE), "arguments": json.dumps(arguments)}
    return ["--logger", "bunchtrain", *(f"--logger-bunchtrain-{name}={value}" for name, value in noted.items())]


def _is_dry(arguments: Sequence[str]) -> bool:
    """Return whether options for Snakemake ask for a dry run, also as `-np`, `-pn` or `--dry`."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    short = any(re.fullmatch(r"-[npkfFtrq]+", one) and "n" in one for one in options)
    return short or any((len(one) > 3 and "--dry-run".startswith(one)) or one == "--dryrun" for one in options)


def _snakemake(file: Path) -> list[str]:
    """Return Snakemake with the workflow and a campaign."""
    named = f"./{file}" if str(file).startswith("-") else str(file)  # no option
    return [sys.executable, "-m", "snakemake", "--snakefile", str(SNAKEFILE), "--configfile", named]


def _locked(file: Path, problem: str) -> int:
    """Take the lock of an only driver; return the handle that keeps it."""
    with disk_errors(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(handle, 1000, 0).decode(errors="replace").strip() or None
            mend = "wait for it; or run this one in another folder, with another `output`"
            raise BunchtrainError(problem, file=file.parent.absolute(), found=holder, mend=mend) from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}, since {now()}\n".encode(), 0)
    return handle


def _alone(command: list[str], state: Path, plan: Plan, cancel: bool) -> list[str]:
    """Settle what a killed driver left; return the options by which the next one will know this one's jobs."""
    asked = adopted.asked(plan)
    orphans.settle(state, cancel)
    if any((state / "locks").glob("*.lock")):
        same = orphans.known(state).get("asked") == asked
        adopted.adopt(command, state, orphans.started(state), same, lambda name: told.of_file(plan, Path(name)))
        print("removing the lock of a run that was killed", flush=True)
        subprocess.run([*command, "--unlock"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
        return []
    if shutil.which("sacct"):
        os.environ["PATH"] = f"{SNAKEFILE.parent / 'slurm/tools'}{os.pathsep}{os.environ['PATH']}"
    # Else sbatch gets the command inside double quotes, and `$(...)` in a file's name would run.
    return [orphans.OPTION, orphans.named(state, asked), "--slurm-pass-command-as-script"]
