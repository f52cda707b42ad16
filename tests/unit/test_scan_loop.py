"""The loop of a search: order, slots, kills, and what is told of it while it runs."""

import itertools
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bunchtrain.cli import app
from bunchtrain.config.scan import Trials
from bunchtrain.errors import InputError
from bunchtrain.files import exclusive
from bunchtrain.scan import evaluation, usage
from bunchtrain.scan.journal import History, Journal, read
from bunchtrain.scan.search import Search
from bunchtrain.scan.status import told

ROOT = Path(__file__).parents[2]
SPACE = {"x": {"low": 0.0, "high": 1.0}, "n": {"low": 1, "high": 50}}


class Known:
    """Evaluations whose results are known, some slower than others."""

    seed = 4

    def __init__(self, **settings) -> None:
        self.settings = Trials.model_validate({"trials": 12, "initial": 3, "parallel": 3, "space": SPACE, **settings})
        self.known: dict[int, list[int]] = {}

    def own(self):
        return {"x": 0.5, "n": 7}

    def told(self, facts):
        return ""


def searched(out, monkeypatch, delays=lambda number: 0.0, **settings):
    of, lock = Known(**settings), threading.Lock()

    def answered(evaluation, asked, slot):
        time.sleep(delays(asked.number))
        with lock:
            of.known[asked.number] = [trial.number for trial in asked.known]
        return (-abs(asked.values["x"] - 0.3), {}) if asked.number != 1 else ("F_nan", {})

    monkeypatch.setattr(evaluation, "evaluate", answered)
    journal = Journal(out / "journal.jsonl", "known")
    Search(of, journal, out, "search").run()
    return of, journal


def values(journal):
    return [journal.trials[number].values for number in range(len(journal.trials))]


@pytest.mark.parametrize("ahead", [0, 3])
def test_a_repeatable_search_does_not_depend_on_which_evaluation_is_faster(tmp_path, monkeypatch, ahead):
    _, one = searched(tmp_path / "one", monkeypatch, ahead=ahead)
    slow = lambda number: 0.1 * (number % 3)  # noqa: E731
    of, other = searched(tmp_path / "other", monkeypatch, slow, ahead=ahead)
    assert values(one) == values(other) and len(values(one)) == 12
    assert all(of.known[number] == list(range(number - 3 - ahead + 1)) for number in range(12))


def test_from_which_evaluation_a_result_is_taken_does_not_depend_on_which_is_faster(tmp_path, monkeypatch):
    """In a space of four points nearly all come again; an evaluation takes a result only from those it rests on."""
    settings = {"space": {"x": {"choices": [0.25, 0.5]}, "n": {"choices": [7, 8]}}, "method": "random"}
    taken = []
    for name, slow in (("even", lambda number: 0.0), ("uneven", lambda number: 0.15 * (number % 3 == 0))):
        _, journal = searched(tmp_path / name, monkeypatch, slow, **settings)
        taken.append({number: trial.facts.get("same_as") for number, trial in journal.trials.items()})
    assert taken[0] == taken[1] and any(one is not None for one in taken[0].values())
    assert all(one is None or one <= number - 3 for number, one in taken[0].items())


def test_a_journal_that_lacks_an_evaluation_is_damaged(tmp_path, monkeypatch):
    searched(tmp_path, monkeypatch)
    lines = (tmp_path / "journal.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "journal.jsonl").write_text("".join(line for line in lines if json.loads(line).get("trial") != 4))
    with pytest.raises(InputError, match="damaged"):
        read(tmp_path / "journal.jsonl")


def test_an_asynchronous_search_rests_on_all_that_ended(tmp_path, monkeypatch):
    """One slow evaluation holds up the others of a repeatable search, and none of an asynchronous one."""
    slow = lambda number: 0.8 if number == 0 else 0.01  # noqa: E731
    of, journal = searched(tmp_path, monkeypatch, slow, asynchronous=True)
    assert journal.ends[-1] == 0 or journal.ends.index(0) > 3
    assert 0 not in of.known[4] and len(of.known[4]) >= 1
    assert of.known[11] == sorted(journal.ends[: journal.trials[11].knew])


def test_suggestions_ahead_are_in_the_journal_and_are_taken_up(tmp_path, monkeypatch):
    _, whole = searched(tmp_path / "whole", monkeypatch, ahead=2)
    lines = (tmp_path / "whole/journal.jsonl").read_text().splitlines(keepends=True)
    for cut in (5, 9, 17, len(lines) - 3):
        out = tmp_path / f"cut{cut}"
        out.mkdir()
        (out / "journal.jsonl").write_text("".join(lines[:cut]) + '{"event": "sta')
        done = set(read(out / "journal.jsonl")[0].ends)
        again, journal = searched(out, monkeypatch, ahead=2)
        assert values(journal) == values(whole) and not done & set(again.known)
        assert sorted(journal.ends) == list(range(12))


def test_slots_do_one_thing_at_a_time(tmp_path, monkeypatch):
    _, journal = searched(tmp_path, monkeypatch, lambda number: 0.02, asynchronous=True)
    spans = usage.spans(journal, 0.0)
    assert {span.slot for span in spans} == {0, 1, 2} and len(spans) == 12
    for slot in range(3):
        mine = [span for span in spans if span.slot == slot]
        assert all(one.end <= after.begin + 0.02 for one, after in itertools.pairwise(mine))


def history(*lines) -> History:
    found = History()
    for line in lines:
        found.apply(line)
    return found


def test_utilisation_counts_the_time_of_every_run():
    ask = [{"event": "ask", "trial": n, "values": {}, "knew": None} for n in range(3)]
    run = {"event": "run", "slots": 2, "trials": 3}
    starts = [{"event": "start", "trial": n, "slot": n % 2, "time": (0.0, 0.0, 100.0)[n]} for n in range(3)]
    ends = [{"event": "end", "trial": n, "result": 1.0, "seconds": (10, 5, 5)[n], "facts": {}} for n in range(3)]
    found = history({**run, "time": 0.0}, *ask, *starts[:2], *ends[:2], {**run, "time": 100.0}, starts[2], ends[2])
    # 10 s and 5 s of 2 x 10 s, then, after the pause between two runs, 5 s of 2 x 5 s.
    assert usage.utilisation(found, 0.0) == pytest.approx(20 / 30)
    assert usage.utilisation(history(), 0.0) is None


def test_the_status_is_read_while_a_search_runs(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl", "f")
    journal.run(trials=5, slots=2, name="scan")
    for number, result in ((0, -0.7), (1, "F_oom"), (2, -0.4), (3, None)):
        journal.ask(number, {"model.hidden": number})
        journal.start(number, number % 2)
        if result is not None:
            journal.end(number, result, 10.0, {})
    before = (tmp_path / "journal.jsonl").read_bytes()
    with (tmp_path / "journal.jsonl").open("ab") as stream:
        stream.write(b'{"event": "sta')  # a line that is being written
    with exclusive(tmp_path / ".lock"):
        text = told(tmp_path)
    assert "running" in text and "3 of 5, of which failed: 1 F_oom" in text
    assert "evaluation 3, -0.4: model.hidden = 2" in text and "evaluation 4 for" in text and "to go" in text
    assert (tmp_path / "journal.jsonl").read_bytes().startswith(before + b"{")  # nothing is cut off
    result = CliRunner().invoke(app, ["scan", "--status", str(tmp_path)])
    assert result.exit_code == 0 and "not running" in result.output and "evaluation 4 for" not in result.output


def test_the_status_of_nothing_says_where_to_look(tmp_path):
    (tmp_path / "scan").mkdir()
    with pytest.raises(InputError, match="scan") as caught:
        told(tmp_path / "scam")
    assert str(tmp_path / "scan") in str(caught.value)


def test_kills_lose_nothing_and_repeat_nothing():
    """The measurement of the benchmark, in small: a real process, killed at random times."""
    command = [sys.executable, "benchmarks/bench_scan.py", "kills", "--kills", "1", "--trials", "4"]
    environment = {**os.environ, "PYTHONPATH": "tests"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0 and "PASS evaluations_lost=0" in done.stdout, done.stdout + done.stderr
