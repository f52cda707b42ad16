"""The loop of a search: what a kill costs, how busy slots are, what a suggestion costs.

kills: a repeatable search is killed (SIGKILL) at random times and taken up again, beside one that is left alone.
busy: short evaluations on four slots.  ask: CPU time of a suggestion at so many results.
Each part can be run alone: `bench_scan.py kills --kills 3 --trials 12`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bunchtrain.config.scan import Trials
from bunchtrain.scan import usage
from bunchtrain.scan.evaluation import Asked
from bunchtrain.scan.journal import History, Journal, read
from bunchtrain.scan.search import Search
from bunchtrain.scan.slots import Slot
from bunchtrain.scan.space import Space
from bunchtrain.scan.suggest import suggest
from marks import Mark, conclude, table

#: What an evaluation does: it says that it starts, works for a while, says that it ends.
WORK = """
import sys, time
with open(sys.argv[1], "a") as told:
    told.write(f"start {sys.argv[2]}\\n")
    told.flush()
    time.sleep(float(sys.argv[3]))
    told.write(f"end {sys.argv[2]}\\n")
"""

#: What the evaluations say of themselves, apart from the search.
SAID = "said.txt"

MIXED = {
    **{f"real{place}": {"low": 0.0, "high": 1.0} for place in range(3)},
    **{f"log{place}": {"low": 1e-5, "high": 1.0, "log": True} for place in range(2)},
    **{f"whole{place}": {"low": 1, "high": 64, "log": True} for place in range(3)},
    **{f"choice{place}": {"choices": ["a", "b", "c", "d"]} for place in range(2)},
}
OWN = {**dict.fromkeys(("real0", "real1", "real2"), 0.5), "log0": 1e-2, "log1": 1e-2}
OWN |= {"whole0": 8, "whole1": 8, "whole2": 8, "choice0": "a", "choice1": "a"}


def worth(values: Mapping[str, Any]) -> float:
    """Return a smooth function of the mixed space; larger is better."""
    away = sum((values[f"real{place}"] - 0.2 - 0.2 * place) ** 2 for place in range(3))
    away += sum((math.log10(values[f"log{place}"]) + 2 + place) ** 2 / 10 for place in range(2))
    away += sum((math.log2(values[f"whole{place}"]) - 3 - place) ** 2 / 10 for place in range(3))
    return -away - 0.3 * (values["choice0"] != "c") - 0.3 * (values["choice1"] != values["choice0"])


class Sleeping(NamedTuple):
    """Evaluations that take a time, whose result is known."""

    settings: Trials
    out: Path
    seconds: float
    uneven: bool = True
    seed: int = 3

    def own(self) -> dict[str, Any]:
        """Return the middle of the space."""
        return OWN

    def steps(self, asked: Asked, slot: Slot) -> list[list[str]]:
        """Return a process that sleeps."""
        asked.folder.mkdir(parents=True, exist_ok=True)
        (asked.folder / "values.json").write_text(json.dumps(asked.values))
        work = [sys.executable, "-S", "-E", "-c", WORK, str(self.out / SAID), str(asked.number)]
        # Some are twice as long as others: what ends first must not matter.
        longer = 1 + asked.number % 3 / 2 if self.uneven else 1.5
        return [slot.command([*work, str(self.seconds * longer)])]

    def result(self, folder: Path) -> tuple[float, dict[str, Any]]:
        """Return the function's value."""
        return worth(json.loads((folder / "values.json").read_text())), {}

    def told(self, facts: Mapping[str, Any]) -> str:
        """Return nothing."""
        return ""


def search(out: Path, trials: int, seconds: float, *, uneven: bool = True, **settings: Any) -> None:
    """Run a search in a folder, or go on with it."""
    of = Sleeping(
        Trials.model_validate({"trials": trials, "initial": 10, "space": MIXED, **settings}), out, seconds, uneven
    )
    Search(of, Journal(out / "journal.jsonl", "bench"), out, "bench").run()


def taken_up(out: Path, trials: int, seconds: float, after: float | None) -> float:
    """Take the search up in a process of its own; kill it after a while, or wait. Return how long it lived."""
    command = [sys.executable, __file__, "search", "--out", str(out), "--trials", str(trials)]
    process = subprocess.Popen([*command, "--seconds", str(seconds)], stdout=subprocess.DEVNULL)
    runs, journal = _runs(out / "journal.jsonl"), out / "journal.jsonl"
    while process.poll() is None and _runs(journal) == runs:  # the time counts from its first words
        time.sleep(0.01)
    begin = time.monotonic()
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    return time.monotonic() - begin


def _runs(journal: Path) -> int:
    return journal.read_text().count('"event": "run"') if journal.exists() else 0


def kills(folder: Path, count: int, trials: int) -> list[Mark]:
    """Kill a search at random times; count what was lost and what was done twice."""
    # So long that most kills find evaluations at work, and not the imports of the search.
    seconds, source = 1.0, random.Random(1)
    alone, out = folder / "alone", folder / "killed"
    whole_time = taken_up(alone, trials, seconds, None)
    start_up = whole_time - _length(read(alone / "journal.jsonl")[0])
    running = happened = 0
    checks: list[tuple[set[int], dict[int, Any], int]] = []
    while happened < count:
        taken_up(out, trials, seconds, source.uniform(0, start_up + whole_time / (count + 1)))
        before, said = read(out / "journal.jsonl")[0], _said(out)
        if len(before.ends) >= trials:
            break
        happened += 1
        done = {number for number, trial in before.trials.items() if trial.done}
        running += sum(trial.started > 0 and not trial.done for trial in before.trials.values())
        checks.append((done, {number: before.trials[number].result for number in done}, len(said)))
    search(out, trials, seconds, parallel=2)
    whole, again = read(alone / "journal.jsonl")[0], read(out / "journal.jsonl")[0]
    lost = sum(not again.trials[number].done for number in range(trials))
    lost += sum(again.trials[n].result != result for _, results, _ in checks for n, result in results.items())
    told = _said(out)
    repeated = sum(line in {f"start {n}" for n in done} for done, _, place in checks for line in told[place:])
    ends = [again.ends.count(number) for number in range(trials)]
    starts = sum(line.startswith("start") for line in _said(out))
    other = sum(whole.trials[n].values != again.trials[n].values for n in range(trials))
    header = ["kills", "evaluations", "started", "running at a kill", "ended twice", "other values than alone"]
    table(header, [[happened, trials, starts, running, sum(count > 1 for count in ends), other]])
    return [
        Mark("kills", happened, count),
        Mark("evaluations_at_work_when_killed", running, count // 2),
        Mark("evaluations_lost", lost, 0, at_least=False),
        Mark("finished_ones_repeated", repeated + sum(count - 1 for count in ends), 0, at_least=False),
        Mark("suggestions_changed_by_kills", other, 0, at_least=False),
    ]


def _said(out: Path) -> list[str]:
    path = out / SAID
    return path.read_text().splitlines() if path.exists() else []


def _length(history: History) -> float:
    begins = [trial.started for trial in history.trials.values()]
    return max(trial.started + trial.seconds for trial in history.trials.values()) - min(begins)


def busy(folder: Path, trials: int) -> list[Mark]:
    """Keep four slots busy with evaluations of a second."""
    rows, marks = [], []
    orders: dict[str, dict[str, Any]] = {"repeatable": {"ahead": 4}, "asynchronous": {"ahead": 1, "asynchronous": True}}
    for (order, settings), uneven in itertools.product(orders.items(), (False, True)):
        name = f"{order}{'_uneven' if uneven else ''}"
        out = folder / name
        search(out, trials, 2 / 3, uneven=uneven, parallel=4, **settings)  # all 1 s, or 2/3, 1 and 4/3 s
        history = read(out / "journal.jsonl")[0]
        share = usage.utilisation(history, 0.0) or 0.0
        rows.append([name, trials, f"{_length(history):.0f} s", f"{share:.3f}"])
        marks.append(Mark(f"slots_busy_{name}", share, 0.95))
    table(["search", "evaluations of 1 s", "time", "busy share of 4 slots"], rows)
    return marks


def ask(folder: Path) -> list[Mark]:
    """Measure the CPU time of a suggestion."""
    settings = Trials.model_validate({"trials": 3000, "initial": 10, "space": MIXED})
    space = Space(settings, OWN)
    points = space.drawn(np.random.default_rng(2), 2000)
    known = [(point, worth(point)) for point in points]
    suggest(space, 20, known[:20], 1, str(folder))  # imports
    costs = {}
    for count in (100, 500, 1000, 2000):
        begin = time.process_time()
        for number in range(count, count + 5):
            suggest(space, number, known[:count], 1, str(folder))
        costs[count] = (time.process_time() - begin) / 5
    table(["results known", "CPU s per suggestion"], [[count, f"{cost:.3f}"] for count, cost in costs.items()])
    print(f"from 1000 to 2000 results a suggestion takes {costs[2000] / costs[1000]:.2f} times as long\n")
    return [Mark("cpu_s_per_suggestion_at_1000", costs[1000], 0.2, at_least=False)]


def main() -> None:
    """Run one part, or all."""
    parser = argparse.ArgumentParser()
    parser.add_argument("part", nargs="?", default="all", choices=["all", "kills", "busy", "ask", "search"])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--trials", type=int)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seconds", type=float)
    given = parser.parse_args()
    if given.part == "search":  # what `kills` kills
        search(given.out, given.trials, given.seconds, parallel=2)
        return
    with tempfile.TemporaryDirectory() as name:
        folder, marks = Path(name), []
        if given.part in ("all", "ask"):
            marks += ask(folder)
        if given.part in ("all", "kills"):
            marks += kills(folder, given.kills, given.trials or 60)
        if given.part in ("all", "busy"):
            marks += busy(folder, given.trials or 200)
    conclude(marks)


if __name__ == "__main__":
    main()
