"""The scan: suggestions, journal, evaluations that fail, scans that are killed."""

import csv
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bunchtrain.config.scan import Scan
from bunchtrain.config.specs import ScanSpec, as_text
from bunchtrain.errors import InputError, TrainingError
from bunchtrain.files import read_json
from bunchtrain.scan import evaluation, machine, objective, process, run
from bunchtrain.scan.journal import Journal
from bunchtrain.scan.slots import Slot
from bunchtrain.scan.space import Space
from bunchtrain.scan.suggest import suggest
from toys import train_spec

SPACE = {
    "model.hidden": {"low": 4, "high": 12, "log": True},
    "train.learning_rate": {"low": 1e-3, "high": 1e-2, "log": True},
    "model.neighbours": {"choices": [2, 4]},
}


def scan_spec(**settings) -> ScanSpec:
    values = {"trials": 4, "parallel": 2, "epochs": 1, "max_jets": 200, "space": SPACE, **settings}
    return ScanSpec(version=1, settings=values, training=train_spec())


def short(toy) -> objective.Trainings:
    return objective.Trainings(scan_spec(), *toy)


def evaluated(what, values, folder):
    return evaluation.evaluate(what, evaluation.Asked(0, values, folder), Slot(0))


def known(count: int) -> list:
    settings = Scan(**scan_spec().settings.model_dump())
    of, found = Space(settings, objective.Trainings(scan_spec(), Path(), Path()).own()), []
    for number in range(count):
        values = suggest(of, number, found, 7, "unused")
        found.append((values, "F_nan" if number == 2 else -abs(values["model.hidden"] - 8)))
    return found


def test_suggestions_follow_from_seed_number_and_results(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert known(7) == known(7)
    for values, _ in known(7):
        assert 4 <= values["model.hidden"] <= 12 and isinstance(values["model.hidden"], int)
        assert 1e-3 <= values["train.learning_rate"] <= 1e-2 and values["model.neighbours"] in (2, 4)


def test_suggestions_survive_when_every_result_is_a_failure(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    of = Space(scan_spec().settings, known(1)[0][0])
    failures = [(values, "F_crash") for values, _ in known(3)]
    assert suggest(of, 3, failures, 7, "unused").keys() == SPACE.keys()


def test_the_model_beats_random_on_a_known_function(tmp_path, monkeypatch):
    """Twenty suggestions reach closer to the maximum than twenty random points do, in the median over ten seeds."""
    monkeypatch.chdir(tmp_path)
    settings = Scan(
        trials=20,
        initial=8,
        space={
            "train.learning_rate": {"low": 1e-4, "high": 1e-1, "log": True},
            "model.hidden": {"low": 4, "high": 128},
        },
    )
    own = {"train.learning_rate": 1e-3, "model.hidden": 32}

    def value(values):
        import math

        return -((math.log10(values["train.learning_rate"]) + 2.3) ** 2) - ((values["model.hidden"] - 90) / 60) ** 2

    def best(seed, method):
        found, of = [], Space(settings.model_copy(update={"method": method}), own)
        for number in range(20):
            values = suggest(of, number, found, 1000 * seed, "unused")
            found.append((values, value(values)))
        return max(result for _, result in found)

    model, random = (statistics.median(best(seed, way) for seed in range(10)) for way in ("bayesian", "random"))
    assert model > random


def test_the_journal_survives_a_torn_line(tmp_path):
    journal = Journal(tmp_path / "j.jsonl", "f")
    journal.ask(0, {"x": 1})
    journal.start(0, 3)
    journal.end(0, -0.5, 1.0, {"curve": [1.0]})
    journal.ask(1, {"x": 2})
    journal.start(1, 2)
    with (tmp_path / "j.jsonl").open("a") as stream:
        stream.write('{"event": "end", "tri')
    again = Journal(tmp_path / "j.jsonl", "f")
    assert again.trials[0].result == -0.5 and again.trials[0].facts == {"curve": [1.0]}
    assert not again.trials[1].done
    again.end(1, "F_oom", 2.0, {})
    assert Journal(tmp_path / "j.jsonl", "f").trials[1].failed


def test_a_journal_of_another_scan_is_kept_aside(tmp_path):
    Journal(tmp_path / "j.jsonl", "f").ask(0, {"x": 1})
    assert Journal(tmp_path / "j.jsonl", "g").trials == {}
    assert len(list(tmp_path.iterdir())) == 2


def test_a_damaged_journal_is_an_error(tmp_path):
    Journal(tmp_path / "j.jsonl", "f").ask(0, {"x": 1})
    with (tmp_path / "j.jsonl").open("a") as stream:
        stream.write("garbage\n")
    with pytest.raises(InputError, match="damaged"):
        Journal(tmp_path / "j.jsonl", "f")


def table(folder):
    with (folder / "results.csv").open() as stream:
        return list(csv.DictReader(stream))


def test_a_scan_evaluates_every_trial_and_keeps_the_best(toy, tmp_path):
    run.scan(scan_spec(), *toy, tmp_path)
    rows, best = table(tmp_path), read_json(tmp_path / "best.json")
    assert [row["status"] for row in rows] == ["ok"] * 4
    # The first evaluation is the campaign's own point.
    assert int(rows[0]["model.hidden"]) == 8 and float(rows[0]["train.learning_rate"]) == 3e-3
    assert best["objective"] == max(float(row["objective"]) for row in rows)
    assert best["values"].keys() == SPACE.keys()


def test_a_killed_scan_goes_on_without_repeating(toy, tmp_path):
    spec = scan_spec(trials=5)
    run.scan(spec, *toy, tmp_path / "whole")
    command = [sys.executable, "-m", "bunchtrain", "scan", "--spec", as_text(spec), "--dataset", str(toy[0])]
    command += ["--scaler", str(toy[1]), "--out", str(tmp_path / "killed")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    journal = tmp_path / "killed" / "journal.jsonl"
    while not (journal.exists() and '"end"' in journal.read_text()):
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.communicate()
    done = [json.loads(line)["trial"] for line in journal.read_text().splitlines() if '"end"' in line]
    run.scan(spec, *toy, tmp_path / "killed")
    ends = [json.loads(line)["trial"] for line in journal.read_text().splitlines() if '"event": "end"' in line]
    assert sorted(ends) == list(range(5)) and ends[: len(done)] == done
    assert read_json(tmp_path / "killed" / "best.json") == read_json(tmp_path / "whole" / "best.json")


def test_more_trials_continue_a_finished_scan(toy, tmp_path):
    run.scan(scan_spec(trials=1), *toy, tmp_path)
    first = table(tmp_path)
    run.scan(scan_spec(trials=2), *toy, tmp_path)
    assert table(tmp_path)[:1] == first and len(table(tmp_path)) == 2


def test_no_trials_keep_the_campaigns_values(toy, tmp_path):
    run.scan(scan_spec(trials=0), *toy, tmp_path)
    assert read_json(tmp_path / "best.json")["values"] == {} and table(tmp_path) == []


def test_failures_are_results(toy, tmp_path):
    outcomes = iter([(-0.5, {"validation_loss": 0.5}), ("F_nan", {}), ("F_timeout", {})])
    spec = scan_spec(trials=3, parallel=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "evaluate", lambda *arguments: next(outcomes))
        run.scan(spec, *toy, tmp_path)
    assert [row["status"] for row in table(tmp_path)] == ["ok", "F_nan", "F_timeout"]
    assert read_json(tmp_path / "best.json")["trial"] == 0


def test_a_scan_without_a_good_trial_is_an_error(toy, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "evaluate", lambda *arguments: ("F_crash", {}))
        with pytest.raises(TrainingError) as caught:
            run.scan(scan_spec(trials=2), *toy, tmp_path)
    assert "F_crash" in str(caught.value) and not (tmp_path / "best.json").exists()


def test_a_training_over_its_time_is_ended_with_all_it_started(toy, tmp_path):
    spec = scan_spec(timeout=1, epochs=10000)
    assert evaluated(objective.Trainings(spec, *toy), {}, tmp_path)[0] == "F_timeout"
    listed = subprocess.run(["ps", "-ww", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert "ps -ww" in listed and str(tmp_path) not in listed


@pytest.mark.parametrize(
    ("status", "log", "reason"),
    [
        (86, "", "F_nan"),
        (-9, "", "F_oom"),
        (1, "torch: CUDA out of memory", "F_oom"),
        (1, "MemoryError", "F_oom"),
        (2, "error: x", "F_crash"),
    ],
)
def test_reasons_of_failure(tmp_path, status, log, reason):
    (tmp_path / "log").write_text(log)
    assert process.failure(status, tmp_path / "log") == reason


def test_a_training_that_diverges_is_F_nan(toy, tmp_path):
    assert evaluated(short(toy), {"train.learning_rate": 1e30}, tmp_path)[0] == "F_nan"


def test_the_training_ends_with_a_killed_scan(toy, tmp_path):
    process = start_scan(scan_spec(trials=1, epochs=10000), toy, tmp_path)
    wait_for_epoch(process, tmp_path)
    assert len(trainings(tmp_path)) == 1
    process.kill()
    process.communicate()
    for _ in range(100):
        if not trainings(tmp_path):
            break
        time.sleep(0.1)
    else:
        pytest.fail("the training outlived its scan")


def start_scan(spec, toy, out):
    command = [sys.executable, "-m", "bunchtrain", "scan", "--spec", as_text(spec), "--dataset", str(toy[0])]
    return subprocess.Popen(
        [*command, "--scaler", str(toy[1]), "--out", str(out)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # A test run that was started in the background of a shell ignores interrupts, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait_for_epoch(process, out):
    log = out / "trials" / "0000" / "train.log"
    while not (log.exists() and "epoch" in log.read_text()):
        assert process.poll() is None
        time.sleep(0.05)


def trainings(out):
    listed = subprocess.run(["ps", "-ww", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    return [int(line.split()[0]) for line in listed.splitlines() if f"{out}/trials" in line]


def test_an_interrupt_ends_scan_and_trainings_at_once(toy, tmp_path):
    process = start_scan(scan_spec(trials=1, epochs=10000), toy, tmp_path)
    wait_for_epoch(process, tmp_path)
    assert len(trainings(tmp_path)) == 1
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode != 0 and time.monotonic() - started < 30 and trainings(tmp_path) == []
    assert '"end"' not in (tmp_path / "journal.jsonl").read_text()


def test_a_training_that_is_asked_to_stop_is_no_failure(toy, tmp_path):
    process = start_scan(scan_spec(trials=1, epochs=10000), toy, tmp_path)
    wait_for_epoch(process, tmp_path)
    (pid,) = trainings(tmp_path)
    os.kill(pid, signal.SIGTERM)
    _, text = process.communicate(timeout=60)
    assert process.returncode == 85 and "asked to stop" in text
    assert '"end"' not in (tmp_path / "journal.jsonl").read_text()


def test_failures_that_may_not_come_again_are_tried_by_the_next_run(toy, tmp_path):
    first = iter([("F_crash", {}), ("F_timeout", {}), ("F_nan", {}), (-0.9, {"validation_loss": 0.9})])
    spec = scan_spec(trials=4, parallel=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "evaluate", lambda *arguments: next(first))
        run.scan(spec, *toy, tmp_path)
        second = iter([(-0.5, {"validation_loss": 0.5})])
        patch.setattr(evaluation, "evaluate", lambda *arguments: next(second))
        run.scan(spec, *toy, tmp_path)
        assert [row["status"] for row in table(tmp_path)] == ["ok", "F_timeout", "F_nan", "ok"]
        third = iter([(-0.4, {"validation_loss": 0.4})])
        patch.setattr(evaluation, "evaluate", lambda *arguments: next(third))
        run.scan(scan_spec(trials=4, parallel=1, timeout=5000), *toy, tmp_path)
    assert [row["status"] for row in table(tmp_path)] == ["ok", "ok", "F_nan", "ok"]
    assert read_json(tmp_path / "best.json")["trial"] == 1


def test_a_training_killed_once_is_tried_once_more(toy, tmp_path, monkeypatch):
    statuses = iter([-signal.SIGKILL, 0])
    monkeypatch.setattr(process, "_run", lambda *arguments: next(statuses))
    monkeypatch.setattr(objective.Trainings, "result", lambda *arguments: (-0.3, {}))
    assert evaluated(short(toy), {}, tmp_path) == (-0.3, {"slot": 0, "node": machine.name()})


def test_no_best_values_stand_when_none_keeps_to_new_limits(toy, tmp_path):
    """With tighter limits the same journal goes on, and the values that were best before are no longer."""
    asked = {"trials": 2, "method": "random", "objective": ["validation_auc"]}
    run.scan(scan_spec(**asked), *toy, tmp_path)
    assert (tmp_path / "best.json").exists()
    with pytest.raises(TrainingError, match="keeps to its limits"):
        run.scan(scan_spec(**asked, limits={"validation_auc": 0.999999}), *toy, tmp_path)
    assert not list(tmp_path.glob("best.json*")) and len(table(tmp_path)) == 2


def test_both_tries_share_one_time_limit(tmp_path):
    """The first try is killed after a second of three; the second would take longer than what is left."""
    once = f"test -e {tmp_path}/tried && sleep 60; touch {tmp_path}/tried; sleep 1; kill -9 $$"
    limits = []
    with pytest.MonkeyPatch.context() as patch:
        real = process._run
        patch.setattr(process, "_run", lambda *arguments: limits.append(arguments[2]) or real(*arguments))
        assert process.evaluate(["sh", "-c", once], tmp_path / "log", 3) == "F_timeout"
    assert limits[0] == pytest.approx(3, abs=0.1) and 0 < limits[1] <= 2


def test_a_scan_without_any_good_end_says_what_the_first_training_said(toy, tmp_path):
    settings = {"trials": 1, "initial": 1, "space": {"train.learning_rate": {"low": 1e-3, "high": 1e-2}}}
    spec = ScanSpec(version=1, settings=settings, training=train_spec({"kind": "edge_network"}))
    with pytest.raises(TrainingError, match="no evaluation ended well") as caught:
        run.scan(spec, *toy, tmp_path)
    told = caught.value.details["found"]
    assert told.startswith("F_crash: ") and "\n" not in told and len(told) > 20
    assert process.last_error(tmp_path / "missing.log") == ""
    (tmp_path / "two.log").write_text("error: first\nerror: second\n  found    this\n  mend     that\nElsewhere\n")
    assert process.last_error(tmp_path / "two.log") == "second; found this; mend that"
