"""Evaluations on the ranks of an mpirun: rank 0 searches, each other rank is a slot.

Ranks wait without spinning: they share the cores with what they evaluate.
"""

from __future__ import annotations

import pickle
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from bunchtrain.config.scan import Trials
from bunchtrain.errors import CampaignError, MissingDependency, TrainingError
from bunchtrain.scan import machine, places, process
from bunchtrain.scan.slots import Need, Slot, Slots

#: Seconds between two looks for a message.
LOOK = 0.01

_STOP = "stop"  # what runs
_LEAVE = "leave"


class Ranks:
    """An executor over the ranks of a communicator; slot n is rank n + 1.

    One thread sends and receives; the process may do other things meanwhile, but no MPI.
    """

    def __init__(self, comm: Any) -> None:
        self._comm, self._asked = comm, queue.SimpleQueue[tuple[int, Any]]()
        self._waited: dict[int, Future[Any]] = {}
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def submit(self, call: Callable[..., Any], /, *arguments: Any) -> Future[Any]:
        """Run a call on the rank of the slot that is its last argument."""
        rank, future = arguments[-1].number + 1, Future[Any]()
        future.set_running_or_notify_cancel()
        self._waited[rank] = future
        self._asked.put((rank, (call, arguments)))
        return future

    def stop(self) -> None:
        """End what runs on all ranks."""
        for rank in range(1, self._comm.Get_size()):
            self._asked.put((rank, _STOP))

    def __enter__(self) -> Ranks:
        """Start to send and receive."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for what runs, if all is well."""
        while error is None and self._waited:
            time.sleep(LOOK)
        self._closing.set()
        self._thread.join()

    def _serve(self) -> None:
        from mpi4py import MPI

        while not (self._closing.is_set() and self._asked.empty()):
            while not self._asked.empty():
                rank, message = self._asked.get()
                self._comm.send(message, dest=rank)
            status = MPI.Status()
            if self._comm.iprobe(status=status):
                rank = status.Get_source()
                value, error = self._comm.recv(source=rank)
                future = self._waited.pop(rank)
                future.set_exception(error) if error is not None else future.set_result(value)
            else:
                time.sleep(LOOK)


class OnRanks(Slots):
    """The slots of the other ranks."""

    def __init__(self, comm: Any, slots: list[Slot]) -> None:
        super().__init__(slots)
        self._ranks = Ranks(comm)

    def pool(self) -> Ranks:
        """Return what runs evaluations on these ranks."""
        return self._ranks

    def end_all(self) -> None:
        """End what runs on these ranks, at once."""
        self._ranks.stop()


@contextmanager
def opened(name: str, settings: Trials, need: Need, cores: int | None) -> Iterator[Slots | None]:
    """Give the slots on rank 0; evaluate on the others, and give None at the end.

    Raises
    ------
    CampaignError
        If there is no other rank.
    """
    MPI = _started()
    comm = MPI.COMM_WORLD
    if comm.Get_size() < 2:
        found = "1 rank"
        mend = "mpirun -n 5 bunchtrain scan ..., for 4 evaluations at a time; or --workers here"
        raise CampaignError("no rank is left to evaluate", key="--workers mpi", found=found, mend=mend)
    devices = machine.gpus() if need.gpus else []
    there = comm.gather((machine.name(), machine.cpus(), devices))
    if there is None:
        serve(comm)
        yield None
    else:
        try:
            slots = shared(there, need, cores)
            places.told(name, settings, need, tuple(slots))
            yield OnRanks(comm, slots)
        finally:
            for rank in range(1, comm.Get_size()):
                comm.send(_LEAVE, dest=rank)
    MPI.Finalize()


def shared(there: list[tuple[str, list[int], list[str]]], need: Need, cores: int | None = None) -> list[Slot]:
    """Return the slots of ranks 1, 2, ..., from the machine, the cores and the GPUs that each rank sees.

    Ranks of one machine share out what they see there together.

    Raises
    ------
    CampaignError
        If a machine has more of the ranks than GPUs for them.
    """
    found: dict[int, Slot] = {}
    for node in dict.fromkeys(name for name, _, _ in there[1:]):
        ranks = [rank for rank, (name, _, _) in enumerate(there) if rank and name == node]
        cpus = sorted({cpu for rank in ranks for cpu in there[rank][1]})
        devices = list(dict.fromkeys(device for rank in ranks for device in there[rank][2]))
        mine = machine.slots(len(ranks), need, cpus, devices, most=cores, node=node)
        if len(mine) < len(ranks):
            raise CampaignError(
                "there are fewer GPUs than evaluations at a time",
                key="--workers mpi",
                found=f"{len(ranks)} ranks to evaluate and {len(devices)} GPU(s) on {node}",
                expected=f"{need.ranks} GPU(s) an evaluation",
                mend="start fewer ranks, or set train.device to cpu",
            )
        found |= {rank: slot._replace(number=rank - 1) for rank, slot in zip(ranks, mine, strict=True)}
    return [found[rank] for rank in sorted(found)]


def serve(comm: Any) -> None:
    """Evaluate what rank 0 asks for, until it lets this rank go."""
    running: Future[Any] | None = None
    with ThreadPoolExecutor(1) as pool:
        while True:
            if comm.iprobe(source=0):
                message = comm.recv(source=0)
                if message == _LEAVE:
                    while running is not None and not running.done():
                        process.end_all()
                        time.sleep(LOOK)
                    return
                if message == _STOP:
                    process.end_all()
                else:
                    call, arguments = message
                    running = pool.submit(call, *arguments)
            elif running is not None and running.done():
                comm.send(_answer(running), dest=0)
                running = None
            else:
                time.sleep(LOOK)


def _answer(ended: Future[Any]) -> tuple[Any, BaseException | None]:
    """Return value and error of a call, in a form that can travel."""
    error = ended.exception()
    if error is None:
        return ended.result(), None
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # whatever an error's class makes of it
        error = TrainingError("an evaluation could not be run", found=repr(error))
    return None, error


def _started() -> Any:
    try:
        import mpi4py
    except ImportError as error:
        raise MissingDependency("mpi4py", needed_by="--workers mpi", mend="run make env") from error
    mpi4py.rc.initialize = mpi4py.rc.finalize = False  # DeepHyper says so too, when it is imported
    from mpi4py import MPI

    if not MPI.Is_initialized():
        MPI.Init_thread(MPI.THREAD_SERIALIZED)
    return MPI
