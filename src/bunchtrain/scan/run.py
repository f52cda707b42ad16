"""The scan: DeepHyper suggests, real trainings answer, a journal survives; a table and the best values come out."""

from __future__ import annotations

import csv
import io
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from bunchtrain import provenance
from bunchtrain.config.specs import ScanSpec
from bunchtrain.errors import TrainingError
from bunchtrain.files import exclusive, fingerprint, sha256, write_json, write_text
from bunchtrain.scan import objective
from bunchtrain.scan.journal import Journal, Trial
from bunchtrain.scan.space import Values, defaults, problem, suggest

Result = tuple[float | str, dict[str, Any]]


def scan(spec: ScanSpec, dataset: Path, scaler: Path, out: Path) -> None:
    """Write `results.csv` and `best.json` into `out`; `journal.jsonl` there lets a killed scan go on.

    Raises
    ------
    TrainingError
        If no evaluation has ended well.
    """
    with exclusive(out / ".lock"):
        journal = Journal(out / "journal.jsonl", _fingerprint(spec, dataset, scaler))
        if spec.settings.trials:
            _Search(spec, journal, dataset, scaler, out).run()
        _write(spec, journal, out, [dataset, scaler])


def _fingerprint(spec: ScanSpec, dataset: Path, scaler: Path) -> str:
    """Return what a journal must share with a scan to be continued by it: all but how many and how many at once."""
    free = {"trials", "parallel", "timeout"}
    values = spec.model_dump(mode="json")
    values["settings"] = {key: value for key, value in values["settings"].items() if key not in free}
    return fingerprint([values, sha256(dataset), sha256(scaler)])


class _Search:
    """Keeps `parallel` evaluations going, in an order that does not depend on which of them is faster.

    Evaluation n is suggested from the results of 0 ... n - parallel, so the scan's outcome follows from the seed alone.
    """

    def __init__(self, spec: ScanSpec, journal: Journal, dataset: Path, scaler: Path, out: Path) -> None:
        self._spec, self._journal, self._data, self._out = spec, journal, (dataset, scaler), out
        self._space = problem(spec.settings)
        self._running: dict[Future[Result], tuple[int, float]] = {}

    def run(self) -> None:
        """Run until every evaluation has a result."""
        settings, trials = self._spec.settings, self._journal.trials
        done = sum(trial.done for trial in trials.values())
        if done:
            print(f"[scan] goes on: {done} of {settings.trials} evaluations are done", flush=True)
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
                objective.end_all()  # the pool would wait for them
                raise

    def _worth_another_try(self, trial: Trial) -> bool:
        """Return whether an earlier run's failure may not come again; values that diverge always do."""
        longer = self._spec.settings.timeout > trial.facts.get("timeout", 0)
        return trial.result in ("F_crash", "F_oom") or (trial.result == "F_timeout" and longer)

    def _may_start(self, number: int) -> bool:
        """Return whether a slot is free and what the suggestion rests on is known."""
        settings = self._spec.settings
        known = all(
            i in self._journal.trials and self._journal.trials[i].done for i in range(number - settings.parallel + 1)
        )
        return known and len(self._running) < settings.parallel

    def _start(self, pool: ThreadPoolExecutor, number: int) -> None:
        trials = self._journal.trials
        values = trials[number].values if number in trials else self._suggest(number)
        self._journal.start(number, values)
        print(f"[scan] evaluation {number + 1}/{self._spec.settings.trials}: {_readable(values)}", flush=True)
        folder = self._out / "trials" / f"{number:04d}"
        future = pool.submit(objective.evaluate, self._spec, values, *self._data, folder)
        self._running[future] = (number, time.monotonic())

    def _suggest(self, number: int) -> Values:
        settings = self._spec.settings
        if number == 0:
            sections = {"model": self._spec.training.model, "train": self._spec.training.settings.model_dump()}
            return defaults(settings, sections)
        trials = [self._journal.trials[i] for i in range(max(0, number - settings.parallel + 1))]
        known = [(trial.values, trial.result) for trial in trials if trial.result is not None]
        return suggest(settings, self._space, number, known, self._spec.training.seed, str(self._out / "deephyper"))

    def _collect(self) -> None:
        finished, _ = wait(self._running, return_when=FIRST_COMPLETED)
        for future in finished:
            number, started = self._running.pop(future)
            found, facts = future.result()
            facts = {**facts, "timeout": self._spec.settings.timeout} if isinstance(found, str) else facts
            self._journal.end(number, found, time.monotonic() - started, facts)
            shown = found if isinstance(found, str) else f"{self._spec.settings.objective} {abs(found):.4f}"
            print(f"[scan] evaluation {number + 1}/{self._spec.settings.trials}: {shown}", flush=True)


def _readable(values: Values) -> str:
    return ", ".join(
        f"{name} = {value:.3g}" if isinstance(value, float) else f"{name} = {value}" for name, value in values.items()
    )


def _write(spec: ScanSpec, journal: Journal, out: Path, inputs: list[Path]) -> None:
    trials = [
        trial for _, trial in sorted(journal.trials.items()) if trial.done and trial.number < spec.settings.trials
    ]
    good = [trial for trial in trials if not trial.failed]
    if trials and not good:
        reasons = ", ".join(sorted({str(trial.result) for trial in trials}))
        log = out / "trials" / "0000" / "train.log"
        raise TrainingError(
            "no evaluation of the scan ended well",
            file=log,
            found=f"{reasons}: {told}" if (told := objective.last_error(log)) else reasons,
            mend="mend what the log says of the first one; the next run tries again",
        )
    best = max(good, key=lambda trial: float(trial.result or 0), default=None)
    values = best.values if best else {}
    facts = {
        "trial": best.number if best else None,
        "objective": best.result if best else None,
        "name": spec.settings.objective,
    }
    write_text(out / "results.csv", _table(spec, trials))
    write_json(out / "best.json", {"values": values, **facts})
    provenance.record(
        [out / "results.csv", out / "best.json"],
        stage="scan",
        spec=spec.model_dump(mode="json"),
        inputs=inputs,
        facts=facts,
    )


def _table(spec: ScanSpec, trials: list[Trial]) -> str:
    names = list(spec.settings.space)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["trial", "status", "objective", "validation_loss", "validation_auc", "started", "seconds", *names])
    for trial in trials:
        status, number = (trial.result, "") if trial.failed else ("ok", trial.result)
        facts = [trial.facts.get(name, "") for name in ("validation_loss", "validation_auc")]
        times = [f"{trial.started:.3f}", f"{trial.seconds:.3f}"]
        writer.writerow([trial.number, status, number, *facts, *times, *(trial.values[name] for name in names)])
    return stream.getvalue()
