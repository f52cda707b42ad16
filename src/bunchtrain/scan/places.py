"""Where the evaluations of a search run: on this machine, in a Slurm job, or on the ranks of an mpirun."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from bunchtrain.config.scan import Trials
from bunchtrain.errors import CampaignError
from bunchtrain.parallel import launched_ranks
from bunchtrain.scan import allocation, machine, process
from bunchtrain.scan.slots import Need, Slot, Slots

WORKERS = ("auto", "here", "mpi")


class Where(NamedTuple):
    """What may be used.

    Parameters
    ----------
    workers : str
        `here`: this machine; `mpi`: the ranks that a launcher started; `auto`: these if there are some, else all
        nodes of the Slurm job, else this machine.
    cores : int, optional
        Cores to take of this machine, else all that this process may use.
    """

    workers: str = "auto"
    cores: int | None = None


#: All that is there.
ALL = Where()


def where(workers: str, cores: int | None) -> Where:
    """Return what may be used, from words of the command line.

    Raises
    ------
    CampaignError
        If there is no such way.
    """
    if workers not in WORKERS:
        raise CampaignError("evaluations do not run there", key="--workers", found=workers, choices=WORKERS)
    return Where(workers, cores)


@contextmanager
def opened(name: str, settings: Trials, need: Need, asked: Where) -> Iterator[Slots | None]:
    """Give the slots of a search; None on a rank that evaluates for another, which has ended by then."""
    if asked.workers == "mpi" or (asked.workers == "auto" and launched_ranks() > 1):
        from bunchtrain.scan import workers  # which needs MPI

        with workers.opened(name, settings, need, asked.cores) as slots:
            yield slots
        return
    found = Slots(_found(settings, need, asked))
    told(name, settings, need, found.all)
    yield found


def _found(settings: Trials, need: Need, asked: Where) -> list[Slot]:
    number = allocation.job() if asked.workers == "auto" else None
    if number is None:
        devices = machine.gpus() if need.gpus else []
        return machine.slots(settings.parallel, need, machine.cpus(), devices, most=asked.cores)
    return in_job(number, allocation.asked(number), allocation.own_node(), settings, need, asked.cores)


def in_job(
    number: str, nodes: list[allocation.Node], own: str | None, settings: Trials, need: Need, cores: int | None = None
) -> list[Slot]:
    """Return the slots of a Slurm job: steps, but for the node whose share the step `own` holds; that is this one.

    Raises
    ------
    CampaignError
        If the job has not room for one evaluation.
    """
    seconds = settings.timeout + 3 * process.GRACE
    found, space = allocation.slots(number, nodes, settings.parallel, need, seconds)
    if not found:
        raise CampaignError(
            "the Slurm job has not room for one evaluation",
            key="scan.ranks",
            found=", ".join(f"{node.name}: {node.cores} core(s), {node.gpus} GPU(s)" for node in nodes),
            expected=f"{need.ranks} core(s) on one node",
            mend="ask Slurm for more cores a node, or set scan.ranks lower",
        )
    mine = sum(slot.node == own for slot in found)
    if mine:
        devices = machine.gpus() if need.gpus else []
        share = next(node.cores for node in nodes if node.name == own)
        local = machine.slots(mine, need, machine.cpus(), devices, most=min(share, cores or share), node=own)
        found = [*local, *(slot for slot in found if slot.node != own)]
        found = [slot._replace(number=place) for place, slot in enumerate(found)]
    if space > settings.parallel:
        print(f"[scan] the job has room for {space} evaluations at a time; scan.parallel asks for fewer", flush=True)
    return found


def told(name: str, settings: Trials, need: Need, slots: tuple[Slot, ...]) -> None:
    """Say where evaluations run, and what is less than it could be."""
    nodes = sorted({slot.node for slot in slots if slot.node})
    where = f"on {', '.join(nodes)}" if nodes else "on this machine"
    cores = sorted({slot.cores for slot in slots})
    share = str(cores[0]) if len(cores) == 1 else f"{cores[0]} to {cores[-1]}"
    gpus = f", {need.ranks} GPU(s)" if any(slot.gpus for slot in slots) else ""
    print(f"[{name}] {len(slots)} slot(s) {where}, {share} core(s){gpus} each", flush=True)
    if len(slots) < settings.parallel:
        print(f"[{name}] parallel asks for {settings.parallel}: there is room for {len(slots)}", flush=True)
    if cores[0] < need.ranks or _shared(slots):
        print(f"[{name}] there are fewer cores than ranks: they share them, and take longer", flush=True)


def _shared(slots: tuple[Slot, ...]) -> bool:
    """Return whether slots of this machine have more cores than there are."""
    here = [slot for slot in slots if not slot.step and slot.node is None]
    return sum(slot.cores for slot in here) > len(machine.cpus())
