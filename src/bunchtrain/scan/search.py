"""The loop of a search: DeepHyper suggests, processes answer, a journal survives."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from bunchtrain.config.scan import Trials
from bunchtrain.config.specs import ScanSpec, SearchSpec
from bunchtrain.errors import TrainingError
from bunchtrain.files import fingerprint, sha256
from bunchtrain.scan import evaluation, process, slots
from bunchtrain.scan.evaluation import Asked, Evaluation, Result
from bunchtrain.scan.journal import Journal, Trial
from bunchtrain.scan.slots import Slot
from bunchtrain.scan.space import Values, problem, suggest

#: Settings that may differ when a journal is continued.
_FREE = {"trials", "parallel", "timeout", "finalists"}


def mark(spec: ScanSpec | SearchSpec, inputs: Sequence[Path]) -> str:
    """Return what a journal must share with a search to be continued by it: all but how many and how many at once."""
    values = spec.model_dump(mode="json")
    values["settings"] = {key: value for key, value in values["settings"].items() if key not in _FREE}
    return fingerprint([values, *(sha256(path) for path in inputs)])


class Search:
    """Keeps `parallel` evaluations going, in an order that does not depend on which of them is faster.

    Evaluation n is suggested from the results of 0 ... n - parallel, so the scan's outcome follows from the seed alone.
    """

    def __init__(self, of: Evaluation, journal: Journal, out: Path, name: str) -> None:
        self._of, self._journal, self._out, self._name = of, journal, out, name
        self._space = problem(of.settings)
        self._slots = slots.here(of.settings.parallel)
        self._running: dict[Future[tuple[Result, dict[str, Any]]], tuple[int, float, Slot]] = {}

    def run(self) -> None:
        """Run until every evaluation has a result."""
        settings, trials = self._of.settings, self._journal.trials
        done = sum(trial.done for trial in trials.values())
        if done:
            print(f"[{self._name}] goes on: {done} of {settings.trials} evaluations are done", flush=True)
        again = {number for number, trial in trials.items() if self._worth_another_try(trial)}
        with ThreadPoolExecutor(settings.parallel) as pool:
            try:
                number = 0
                while number < settings.trials or self._running:
                    if number < settings.trials and self._may_start(number):
                        if number in again or not (number in trials and trials[number].done):
                            self._start(pool, number)
                        number += 1
                    else:
                        self._collect()
            except BaseException:
                process.end_all()  # the pool would wait for them
                raise

    def _worth_another_try(self, trial: Trial) -> bool:
        """Return whether an earlier run's failure may not come again; values that diverge always do."""
        longer = self._of.settings.timeout > trial.facts.get("timeout", 0)
        return trial.result in ("F_crash", "F_oom") or (trial.result == "F_timeout" and longer)

    def _may_start(self, number: int) -> bool:
        """Return whether a slot is free and what the suggestion rests on is known."""
        settings = self._of.settings
        known = all(
            i in self._journal.trials and self._journal.trials[i].done for i in range(number - settings.parallel + 1)
        )
        return known and bool(self._slots.free)

    def _start(self, pool: ThreadPoolExecutor, number: int) -> None:
        trials = self._journal.trials
        values = trials[number].values if number in trials else self._suggest(number)
        self._journal.start(number, values)
        print(f"[{self._name}] evaluation {number + 1}/{self._of.settings.trials}: {_readable(values)}", flush=True)
        twin = next((one for one in trials.values() if one.done and not one.failed and one.values == values), None)
        if twin is not None and twin.result is not None:  # a training repeats itself to the bit
            self._journal.end(number, twin.result, 0.0, {**twin.facts, "same_as": twin.number})
            print(f"[{self._name}] the same values as in evaluation {twin.number + 1}", flush=True)
            return
        slot, folder = self._slots.lease(), self._out / "trials" / f"{number:04d}"
        future = pool.submit(evaluation.evaluate, self._of, Asked(number, values, folder), slot)
        self._running[future] = (number, time.monotonic(), slot)

    def _suggest(self, number: int) -> Values:
        settings = self._of.settings
        if number == 0:
            return self._of.own()
        trials = [self._journal.trials[i] for i in range(max(0, number - settings.parallel + 1))]
        known = [(trial.values, trial.result) for trial in trials if trial.result is not None]
        return suggest(settings, self._space, number, known, self._of.seed, str(self._out / "deephyper"))

    def _collect(self) -> None:
        finished, _ = wait(self._running, return_when=FIRST_COMPLETED)
        for future in finished:
            number, started, slot = self._running.pop(future)
            self._slots.give_back(slot)
            found, facts = future.result()
            facts = {**facts, "timeout": self._of.settings.timeout} if isinstance(found, str) else facts
            self._journal.end(number, found, time.monotonic() - started, facts)
            shown = found if isinstance(found, str) else self._of.told(facts)
            print(f"[{self._name}] evaluation {number + 1}/{self._of.settings.trials}: {shown}", flush=True)


def _readable(values: Values) -> str:
    return ", ".join(
        f"{name} = {value:.3g}" if isinstance(value, float) else f"{name} = {value}" for name, value in values.items()
    )


def ended(settings: Trials, journal: Journal, out: Path) -> list[Trial]:
    """Return the evaluations with a result, in their order.

    Raises
    ------
    TrainingError
        If there are some, and all failed.
    """
    trials = [trial for _, trial in sorted(journal.trials.items()) if trial.done and trial.number < settings.trials]
    if trials and all(trial.failed for trial in trials):
        reasons = ", ".join(sorted({str(trial.result) for trial in trials}))
        log = out / "trials" / "0000" / evaluation.LOG
        told = process.last_error(log) or trials[0].facts.get("error")
        raise TrainingError(
            "no evaluation ended well",
            file=log,
            found=f"{reasons}: {told}" if told else reasons,
            mend="mend what the log says of the first one, and run it again",
        )
    return trials


def table(settings: Trials, trials: Sequence[Trial], facts: Sequence[str]) -> str:
    """Return the evaluations as CSV: number, status, some of the facts, times, and the values."""
    names = list(settings.space)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["trial", "status", *facts, "started", "seconds", *names])
    for trial in trials:
        status, times = trial.result if trial.failed else "ok", [f"{trial.started:.3f}", f"{trial.seconds:.3f}"]
        known = {"objective": "" if trial.failed else trial.result, **trial.facts}
        values = [known.get(name, "") for name in facts]
        writer.writerow([trial.number, status, *values, *times, *(trial.values[name] for name in names)])
    return stream.getvalue()
