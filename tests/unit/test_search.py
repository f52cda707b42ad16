"""The search for students: what may be asked for, what DeepHyper is told, what is synthesised in the end."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from test_config import changed, refused

from bunchtrain import pareto, provenance
from bunchtrain.config.scan import Trials
from bunchtrain.config.specs import SearchSpec, as_text
from bunchtrain.config.synthesize import Search
from bunchtrain.dag import Plan
from bunchtrain.errors import CampaignError, TrainingError
from bunchtrain.files import read_json, write_json
from bunchtrain.report import front as page
from bunchtrain.scan import evaluation, process, search, students
from bunchtrain.scan.journal import Journal, Trial
from bunchtrain.scan.slots import Slot
from bunchtrain.scan.space import Space
from bunchtrain.scan.suggest import suggest
from cores import spec

SPACE = {"weight_bits": {"low": 2, "high": 6}, "sparsity": {"low": 0.1, "high": 0.9}}


def search_spec(**settings) -> SearchSpec:
    values = {"trials": 3, "parallel": 2, "initial": 2, "finalists": 1, "space": SPACE, **settings}
    return SearchSpec(version=1, settings=values, core=spec())


def done(number, area, lut):
    return Trial(number, {}, result=[area, -np.log10(lut)], facts={"auc": area, "lut": lut})


def test_the_front_is_what_no_other_beats():
    trials = [done(0, 0.9, 1000), done(1, 0.95, 3000), done(2, 0.89, 1500), done(3, 0.9, 900), done(4, 0.95, 2900)]
    trials.append(Trial(5, {}, result="F_timeout"))
    assert [trial.number for trial in students.front(trials)] == [3, 4]
    assert students.front([]) == []


@given(some.lists(some.tuples(some.integers(0, 5), some.integers(0, 5)), max_size=12))
def test_a_front_is_all_that_is_not_beaten(points):
    def beaten(one):
        return any(a <= one[0] and b >= one[1] and (a, b) != one for a, b in points)

    found = [points[place] for place in pareto.front(points)]
    assert found == sorted({one for one in points if not beaten(one)})


@pytest.mark.parametrize(("most", "numbers"), [(1, [9]), (2, [0, 9]), (4, [0, 3, 6, 9]), (10, list(range(10)))])
def test_finalists_are_spread_from_the_cheapest_to_the_best(most, numbers):
    trials = [done(number, 0.5 + 0.01 * number, 100 * (number + 1)) for number in range(10)]
    assert [trial.number for trial in students.spread(students.front(trials), most)] == numbers


def test_deephyper_finds_a_front_of_two_objectives(tmp_path, monkeypatch):
    """On a known pair of objectives the suggestions lie nearer to the front than random points do, in the mean."""
    monkeypatch.chdir(tmp_path)
    settings = Trials(trials=24, initial=8, space={name: {"low": 0.0, "high": 1.0} for name in "abcd"})
    own = dict.fromkeys("abcd", 0.5)

    def results(values):
        away = sum((values[name] - 0.3) ** 2 for name in "bcd")
        return [values["a"] - away, -values["a"] - away]

    def distance(seed, method):
        found, of = [], Space(settings.model_copy(update={"method": method}), own)
        for number in range(24):
            values = suggest(of, number, found, 1000 * seed, "unused")
            found.append((values, "F_nan" if number == 3 else results(values)))
        return np.mean([-sum(result) for _, result in found[12:] if not isinstance(result, str)])

    informed, random = (np.mean([distance(seed, way) for seed in range(4)]) for way in ("bayesian", "random"))
    assert informed < 0.8 * random


def test_the_campaigns_own_student_comes_first():
    own = students.Students(search_spec(), "", "").own()
    assert own == {"weight_bits": 6, "sparsity": 0.3}
    kinds = {"compression.beta": {"low": 1e-6, "high": 1e-3}, "network.hidden": {"choices": [1, 2]}}
    settings = Search(trials=1, space=kinds)
    core = spec(student={"compression": {"kind": "hgq2"}})
    found = students.Students(SearchSpec(version=1, settings=settings, core=core), "", "").own()
    assert found == {"compression.beta": 1e-5, "network.hidden": [24, 16]}


@pytest.mark.parametrize(
    ("search", "at", "words"),
    [
        ({"space": {}}, "search", "space"),
        ({"space": {"weight_bit": {"low": 2, "high": 8}}}, "search.space.weight_bit", "weight_bits"),
        ({"space": {"weight_bits": {"low": 1, "high": 8}}}, "search.space.weight_bits", "2"),
        ({"space": {"weight_bits": {"low": 7, "high": 8}}}, "student.weight_bits", "from 7 to 8"),
        ({"space": {"weight_bits": {"low": 8, "high": 8}}}, "search.space.weight_bits", "empty"),
        (
            {"space": {"compression.beta": {"low": 1e-6, "high": 1.0}}},
            "search.space.compression.beta",
            "beta",
        ),
        (
            {"space": {"constituents": {"low": 4, "high": 32}}},
            "search.space.constituents.constituents",
            "at most",
        ),
        ({"space": {"constituents": {"choices": [8, 32, 4]}}}, "search.space.constituents.constituents", "at most"),
        ({"space": SPACE, "trials": 0}, "search.trials", "0"),
        ({"space": {"weight_bits": {"low": 3.0, "high": 7.0}}}, "search.space.weight_bits", "integer"),
        ({"space": {"weight_bits": {"choices": ["6", "4"]}}}, "search.space.weight_bits", "whole numbers"),
        ({"space": {"weight_bits": {"choices": [6]}}}, "search.space.weight_bits", "two or more"),
        ({"space": {"weight_bits": {"choices": [6, "4"]}}}, "search.space.weight_bits.choices", "all numbers"),
        ({"space": {"network.hidden": {"choices": [[8], [4]]}}}, "search.space.network.hidden", "list of numbers"),
        ({"space": {"sparsity": {"low": 0.1}}}, "search.space.sparsity", "`low` and `high`"),
        ({"space": {"sparsity": {"low": 0.1, "hihg": 0.9}}}, "search.space.sparsity", "hihg"),
        ({"space": {"learning_rate": {"low": 1e-3, "high": float("inf")}}}, "search.space.learning_rate", "finite"),
        ({"space": {"compression.beta": {"choices": [1e-5, 1e-4]}}}, "search.space.compression.beta", "beta"),
    ],
)
def test_a_search_that_cannot_be_is_refused_before_anything_runs(search, at, words):
    error = refused(changed(prepare__constituents=16, synthesize__search=search))
    assert error.details["key"] == f"synthesize.{at}" and words in str(error)


def test_a_power_of_ten_without_a_point_is_a_number_too():
    search = Plan(changed(synthesize__search={"space": {"learning_rate": {"low": "1e-3", "high": "1e-1"}}}), "my.yaml")
    assert search.campaign.synthesize.search.space["learning_rate"].low == 1e-3


def test_dimensions_that_do_not_go_together_are_refused_before_anything_runs():
    ways, prunings = {"choices": ["straight_through", "hgq2"]}, {"choices": ["weights", "inputs"]}
    error = refused(changed(synthesize__search={"space": {"compression.kind": ways, "pruning": prunings}}))
    assert error.details["key"] == "synthesize.search.space.pruning" and "straight_through" in str(error)
    assert Plan(changed(synthesize__search={"space": {"compression.kind": ways}}), "my.yaml").searched


def test_the_same_values_are_not_trained_again(sample, tmp_path, monkeypatch):
    started = []

    def answered(evaluation, asked, slot):
        started.append(asked.values["weight_bits"])
        return [0.5 + 0.01 * asked.values["weight_bits"], -float(asked.values["weight_bits"])], {"auc": 0.6, "lut": 9}

    monkeypatch.setattr(evaluation, "evaluate", answered)
    few = search_spec(trials=9, parallel=1, space={"weight_bits": {"low": 5, "high": 6}})
    journal = Journal(tmp_path / "journal.jsonl", "one")
    search.Search(students.Students(few, *sample), journal, tmp_path, "search").run()
    assert len(journal.trials) == 9 and sorted(started) == [5, 6]
    assert {trial.facts.get("same_as") for trial in journal.trials.values()} > {None}


def test_values_that_do_not_fit_are_a_result_not_an_end(tmp_path):
    wrong = students.Students(search_spec(), tmp_path / "x", tmp_path / "y")
    result, facts = evaluation.evaluate(wrong, evaluation.Asked(0, {"weight_bits": 99}, tmp_path / "trial"), Slot(0))
    assert result == "F_invalid" and facts["error"] and not (tmp_path / "trial").exists()


@pytest.mark.parametrize("damage", ["", "{}", "[]", "{"])
def test_figures_with_a_damaged_record_are_made_again(sample, tmp_path, damage):
    task, trial = students.Students(search_spec(), *sample), Trial(0, {"weight_bits": 4})
    figures = tmp_path / "figures.json"
    write_json(figures, {})
    record(figures, task, trial)
    assert students._is_there(figures, task, trial)
    assert not students._is_there(figures, task, Trial(0, {"weight_bits": 5}))
    other = tmp_path / "other"
    shutil.copytree(sample[1], other)
    (other / "model.json").write_text((other / "model.json").read_text() + "\n")
    assert not students._is_there(figures, task._replace(model=other), trial)
    provenance.record_path(figures).write_text(damage)
    assert not students._is_there(figures, task, trial)


def record(figures, task, trial):
    spec = task.core(trial.values).model_dump(mode="json")
    provenance.record([figures], stage="candidate", spec=spec, inputs=task.sources)


def test_a_search_whose_finalists_all_fail_has_no_result(sample, tmp_path, monkeypatch):
    def evaluate(command, log, timeout):
        if "--estimate" not in command:
            return "F_crash"
        folder = Path(command[command.index("--out") + 1])
        write_json(
            folder / "figures.json", {"status": "done", "auc": {"quantised_student": 0.9}, "estimate": {"lut": 5}}
        )
        return None

    monkeypatch.setattr(process, "evaluate", evaluate)
    with pytest.raises(TrainingError, match="no student of the front could be synthesised"):
        students.propose(search_spec(trials=2), *sample, tmp_path / "search")
    assert not (tmp_path / "search/front.json").exists()


def test_a_search_leaves_the_core_and_the_candidates_as_they_are():
    asked = Plan(changed(synthesize__search={"space": SPACE}), "my.yaml")
    none = Plan(changed(), "my.yaml")
    assert asked.searched and not none.searched and asked.spec("synthesize") == none.spec("synthesize")
    with pytest.raises(CampaignError, match="no search"):
        none.spec("search")


@pytest.mark.fpga
def test_students_are_proposed_and_the_best_synthesised_and_a_killed_search_goes_on(sample, tmp_path):
    out, task = tmp_path / "search", search_spec(trials=3, parallel=1)
    command = [sys.executable, "-m", "bunchtrain", "search", "--spec", as_text(task)]
    command += ["--dataset", str(sample[0]), "--model", str(sample[1]), "--out", str(out)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as killed:
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            time.sleep(0.2)
            if out.joinpath("journal.jsonl").exists() and '"end"' in out.joinpath("journal.jsonl").read_text():
                break
        os.kill(killed.pid, signal.SIGKILL)
    first = out.joinpath("journal.jsonl").read_text()
    assert '"end"' in first
    students.propose(task, *sample, out)
    entries = [json.loads(line) for line in out.joinpath("journal.jsonl").read_text().splitlines()]
    assert out.joinpath("journal.jsonl").read_text().startswith(first.rpartition("\n")[0])
    assert sorted(entry["trial"] for entry in entries if entry["event"] == "end") == [0, 1, 2]
    kept = {path: path.stat().st_mtime_ns for path in out.glob("finalists/*/figures.json")}
    students.propose(task, *sample, out)
    assert kept and kept == {path: path.stat().st_mtime_ns for path in out.glob("finalists/*/figures.json")}
    found = read_json(out / "front.json")
    assert found["trials"] == 3 and found["finalists"] == 1 and len(found["estimated"]) + found["failed"] == 3
    for one in found["students"]:
        assert one["status"] == "done" and one["resources"]["lut"] > 0 and one["candidate"].startswith("search-")
    with (out / "results.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert rows[0]["weight_bits"] == "6" and len({row["weight_bits"] for row in rows}) > 1
    assert all(0.5 < float(row["auc"]) <= 1 and float(row["lut"]) > 0 for row in rows if row["status"] == "ok")
    assert provenance.altered(out / "front.json") == []


def test_a_search_in_which_all_fails_says_why(sample, tmp_path, monkeypatch):
    monkeypatch.setattr(process, "evaluate", lambda *arguments: "F_timeout")
    with pytest.raises(TrainingError, match="no evaluation ended well"):
        students.propose(search_spec(trials=2), *sample, tmp_path / "search")
    assert not (tmp_path / "search/front.json").exists()


def test_the_page_says_what_was_looked_for():
    one = {
        "candidate": "search-0003",
        "status": "done",
        "auc": {"quantised_student": 0.96},
        "resources": {"lut": 900, "ff": 400, "tool": "Yosys"},
        "estimate": {"lut": 910, "ff": 402, "seconds": 0.2},
    }
    searched = {"trials": 40, "failed": 1, "front": 9, "finalists": 1, "estimated": [[900, 0.95], [2000, 0.97]]}
    text = page.text([one], searched)
    assert "DeepHyper proposed 40 students, of which 9 are beaten by no other" in text and "1 of 1" in text
    core = {"resources": {"lut": 4000}, "auc": {"quantised_student": 0.97}}
    assert "proposed: validation jets, cost estimated" in page.drawn([one], core, searched)
    assert "proposed" not in page.drawn([one], core)
