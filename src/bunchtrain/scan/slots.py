"""The places where evaluations run: each is leased to one evaluation at a time."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, NamedTuple, Protocol

from bunchtrain.parallel import LAUNCHER
from bunchtrain.scan import process


class Need(NamedTuple):
    """What one evaluation takes: a core a rank, and a GPU a rank where there are GPUs and it can use them."""

    ranks: int = 1
    gpus: bool = False


class Slot(NamedTuple):
    """A place for one evaluation.

    Parameters
    ----------
    number : int
        Which one it is.
    node : str, optional
        Name of its machine; None: the one that asks.
    cores : int
        How many it has.
    cpus : tuple of int
        Which they are, if it is to keep to them.
    gpus : tuple of str
        GPUs that no other slot has; none: what is visible stays so.
    step : tuple of str
        `srun` and the options of a step there; none: on the machine that runs the command.
    """

    number: int
    node: str | None = None
    cores: int = 1
    cpus: tuple[int, ...] = ()
    gpus: tuple[str, ...] = ()
    step: tuple[str, ...] = ()

    def threads(self, ranks: int = 1) -> int:
        """Return the threads of each of so many processes."""
        return max(1, self.cores // ranks)

    def command(self, words: Sequence[str], ranks: int = 1) -> list[str]:
        """Return what runs a program here.

        With more than one rank the program is taken for one that starts them itself, by `launcher`.
        """
        threads = self.threads(ranks)
        found = ["env", f"OMP_NUM_THREADS={threads}"]
        if self.gpus:
            found.append(f"CUDA_VISIBLE_DEVICES={','.join(self.gpus)}")
        if self.cpus:
            found += ["taskset", "-c", ",".join(map(str, self.cpus))]
        if self.step and ranks == 1:
            found += [*self.step, "-c", str(threads), "-n", "1", "--mpi=none"]
        return [*found, *words]

    def launcher(self, ranks: int) -> str:
        """Return what starts so many ranks here, but for their number: a launcher as `bunchtrain train` takes it."""
        if self.step:
            return shlex.join([*self.step, "-c", str(self.threads(ranks)), "--mpi=pmix"])
        return LAUNCHER


class Pool(Protocol):
    """What runs evaluations: an executor of the standard library, as far as a search needs one."""

    def submit(self, call: Callable[..., Any], /, *arguments: Any) -> Future[Any]:
        """Run a call in the slot that is its last argument."""
        ...

    def __enter__(self) -> Any:
        """Start."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Any:
        """Wait for what runs."""
        ...


class Slots:
    """Slots that wait for an evaluation; of the free ones the first is leased."""

    def __init__(self, slots: Sequence[Slot]) -> None:
        self.all = tuple(slots)
        self._free = list(self.all)

    def __len__(self) -> int:
        return len(self.all)

    @property
    def free(self) -> int:
        """How many wait."""
        return len(self._free)

    def lease(self) -> Slot:
        """Return a slot that is free; there must be one."""
        slot = min(self._free)
        self._free.remove(slot)
        return slot

    def give_back(self, slot: Slot) -> None:
        """Take a slot back."""
        self._free.append(slot)

    def pool(self) -> Pool:
        """Return what runs evaluations in these slots: a thread each, which waits for its process."""
        return ThreadPoolExecutor(len(self))

    def end_all(self) -> None:
        """End what runs in these slots, at once."""
        process.end_all()


def here(count: int) -> Slots:
    """Return so many plain slots on this machine."""
    return Slots([Slot(number) for number in range(count)])
