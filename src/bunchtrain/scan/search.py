"""The loop of a search: DeepHyper suggests, processes answer, a journal survives."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import Any

from bunchtrain.config.specs import ScanSpec, SearchSpec
from bunchtrain.files import fingerprint, sha256
from bunchtrain.scan import asker, evaluation, slots
from bunchtrain.scan.evaluation import Asked, Evaluation, Result
from bunchtrain.scan.journal import Journal, Trial
from bunchtrain.scan.slots import Pool, Slot
from bunchtrain.scan.space import Space, Values
from bunchtrain.scan.suggest import Known, suggest

#: Settings that may differ when a journal is continued.
_FREE = {"trials", "parallel", "ahead", "asynchronous", "timeout", "limits", "finalists", "nodes"}


def mark(spec: ScanSpec | SearchSpec, inputs: Sequence[Path]) -> str:
    """Return what a journal must share with a search to be continued by it: all but how many and how many at once."""
    values = spec.model_dump(mode="json")
    values["settings"] = {key: value for key, value in values["settings"].items() if key not in _FREE}
    return fingerprint([values, *(sha256(path) for path in inputs)])


class Search:
    """Keeps every slot busy and every result.

    A repeatable search rests suggestion n on the results of 0 ... n - lag, whatever else has ended: its outcome
    follows from the seed alone. An asynchronous one rests it on all results there are, so that no slot waits.

    Parameters
    ----------
    of : Evaluation
        What is evaluated.
    journal : Journal
        What happened, and happens.
    out : path
        Folder of the search.
    name : str
        How it calls itself in what it prints.
    earlier : sequence of (values, result)
        Evaluations of earlier scans.
    places : Slots, optional
        Where evaluations run, else plain slots of this machine.
    """

    def __init__(
        self,
        of: Evaluation,
        journal: Journal,
        out: Path,
        name: str,
        earlier: Known = (),
        places: slots.Slots | None = None,
    ) -> None:
        self._of, self._journal, self._out, self._name, self._earlier = of, journal, out, name, earlier
        self._space = Space(of.settings, of.own())
        self._slots = places or slots.here(of.settings.parallel)
        self._queue: list[int] = []  # asked for, not running
        self._running: dict[Future[tuple[Result, dict[str, Any]]], tuple[int, float, Slot]] = {}
        self._asking: dict[Future[Values], tuple[int, int | None]] = {}

    def run(self) -> None:
        """Run until every evaluation has a result."""
        settings, journal = self._of.settings, self._journal
        done = sum(trial.done for trial in journal.trials.values())
        if done:
            print(f"[{self._name}] goes on: {done} of {settings.trials} evaluations are done", flush=True)
        journal.run(trials=settings.trials, slots=len(self._slots), name=self._name)
        self._queue = sorted(number for number, trial in journal.trials.items() if self._is_due(trial))
        if settings.method == "bayesian":
            asker.preload("deephyper.hpo")
        with self._slots.pool() as pool:
            try:
                while self._queue or self._running or self._asking or len(journal.trials) < settings.trials:
                    self._start_what_waits(pool)
                    self._ask_ahead()
                    self._collect()
            except BaseException:
                self._slots.end_all()  # the pool would wait for them
                raise

    def _is_due(self, trial: Trial) -> bool:
        """Return whether an evaluation has no result, or an earlier run's failure that may not come again."""
        if trial.number >= self._of.settings.trials:
            return False
        longer = self._of.settings.timeout > trial.facts.get("timeout", 0)
        again = trial.result in ("F_crash", "F_oom") or (trial.result == "F_timeout" and longer)
        return again or not trial.done

    def _start_what_waits(self, pool: Pool) -> None:
        while self._queue and self._slots.free:
            self._start(pool, self._queue.pop(0))

    def _start(self, pool: Pool, number: int) -> None:
        journal, trial = self._journal, self._journal.trials[number]
        said = f"[{self._name}] evaluation {number + 1}/{self._of.settings.trials}: {readable(trial.values)}"
        print(said, flush=True)
        if (twin := self._twin(trial)) is not None and twin.result is not None:
            journal.start(number, None)
            journal.end(number, twin.result, 0.0, {**_elsewhere(twin.facts), "same_as": twin.number})
            print(f"[{self._name}] the same values as in evaluation {twin.number + 1}", flush=True)
            return
        slot, folder = self._slots.lease(), self._out / "trials" / f"{number:04d}"
        journal.start(number, slot.number)
        known = [journal.trials[one] for one in sorted(self._known(number, trial.knew))]
        future = pool.submit(evaluation.evaluate, self._of, Asked(number, trial.values, folder, known), slot)
        self._running[future] = (number, time.monotonic(), slot)

    def _twin(self, trial: Trial) -> Trial | None:
        """Return an evaluation with the same values that had a result, of those on which this one rests.

        Whether others have ended yet depends on the machine, and must not matter.
        """
        known = self._known(trial.number, trial.knew)
        trials = [self._journal.trials[number] for number in sorted(known) if number in self._journal.trials]
        return next((one for one in trials if one.done and not one.failed and one.values == trial.values), None)

    def _known(self, number: int, knew: int | None) -> set[int]:
        """Return the evaluations on whose results one rests."""
        return set(range(number - self._of.settings.lag + 1)) if knew is None else set(self._journal.ends[:knew])

    def _ask_ahead(self) -> None:
        """Ask for the next suggestion, if a slot waits for it or it is to be kept ready, and it may be made."""
        settings, journal = self._of.settings, self._journal
        number = len(journal.trials)
        wanted = settings.ahead + bool(self._slots.free)
        if self._asking or number >= settings.trials or len(self._queue) >= wanted:
            return
        knew = len(journal.ends) if settings.asynchronous else None
        known = [journal.trials[one] for one in sorted(self._known(number, knew)) if one in journal.trials]
        pending = {one for one, _, _ in self._running.values()} | set(self._queue)
        if knew is None and (len(known) <= number - settings.lag or pending & {trial.number for trial in known}):
            return
        told = [(trial.values, trial.result) for trial in known if trial.result is not None]
        folder = str(self._out.absolute() / "deephyper")
        future = asker.ask(suggest, self._space, number, told, self._of.seed, folder, self._earlier)
        self._asking[future] = (number, knew)

    def _collect(self) -> None:
        """Wait for a suggestion or a result, and note it."""
        if not (self._running or self._asking):
            return
        waited: list[Future[Any]] = [*self._running, *self._asking]
        wait(waited, return_when=FIRST_COMPLETED)
        for ended in [one for one in self._running if one.done()]:
            self._note(*self._running.pop(ended), *ended.result())
        for made in [one for one in self._asking if one.done()]:
            number, knew = self._asking.pop(made)
            self._journal.ask(number, asker.answer(made), knew)
            self._queue.append(number)

    def _note(self, number: int, started: float, slot: Slot, found: Result, facts: dict[str, Any]) -> None:
        self._slots.give_back(slot)
        facts = {**facts, "timeout": self._of.settings.timeout} if isinstance(found, str) else facts
        self._journal.end(number, found, time.monotonic() - started, facts)
        shown = found if isinstance(found, str) else self._of.told(facts)
        print(f"[{self._name}] evaluation {number + 1}/{self._of.settings.trials}: {shown}", flush=True)


def readable(values: Values) -> str:
    """Return values on one line."""
    return ", ".join(
        f"{name} = {value:.3g}" if isinstance(value, float) else f"{name} = {value}" for name, value in values.items()
    )


def _elsewhere(facts: dict[str, Any]) -> dict[str, Any]:
    """Return facts without those of the place."""
    return {key: value for key, value in facts.items() if key not in ("slot", "node")}
