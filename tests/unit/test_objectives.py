"""Objectives of a scan: what may be asked for, how trainings are judged, which is the best, the front, what matters."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from test_config import changed, refused
from test_scan import scan_spec, table

from bunchtrain import pareto, provenance
from bunchtrain.config.objectives import LARGER, NAMES
from bunchtrain.config.scan import Scan
from bunchtrain.config.specs import EvaluateSpec, ScanSpec, as_text, best_values, parse_spec, with_values
from bunchtrain.dag import Plan
from bunchtrain.errors import CampaignError, InputError, TrainingError
from bunchtrain.evaluate.assess import assess
from bunchtrain.files import read_json, write_json
from bunchtrain.scan import evaluation, objective, results, run
from bunchtrain.scan.evaluation import Asked
from bunchtrain.scan.front import front
from bunchtrain.scan.importance import importance
from bunchtrain.scan.journal import Trial
from bunchtrain.scan.slots import Slot
from bunchtrain.train.run import train, with_best
from cores import spec as core_spec
from toys import train_spec

RATE = {"train.learning_rate": {"low": 1e-3, "high": 1e-2, "log": True}}
BITS = {"student.weight_bits": {"low": 4, "high": 6}}


def scanned(**settings) -> Scan:
    return Scan(**{"trials": 4, "space": RATE, **settings})


def judged(points=(0.5,), bins=10) -> EvaluateSpec:
    task = train_spec().task
    return EvaluateSpec(version=1, seed=3, task=task, settings={"working_points": list(points), "bins": bins})


def done(number, facts, names=("validation_loss",), **more):
    return Trial(number, {"train.learning_rate": 0.002}, result=objective.result(names, facts), facts={**facts, **more})


# --- what may be asked for


@pytest.mark.parametrize(
    ("values", "key", "words"),
    [
        ({"objective": "validation_los"}, "scan.objective", "validation_loss"),
        ({"objective": ["validation_loss", "latencyy"]}, "scan.objective", "did you mean latency?"),
        ({"objective": []}, "scan.objective", "at least one"),
        ({"objective": ["lut", "lut"]}, "scan.objective", "lut is named twice"),
        ({"objective": 3}, "scan.objective", "validation_loss"),
        ({"objectives": "lut"}, "scan.objectives", "objective"),
        ({"limits": {"calibration_eror": 0.1}}, "scan.limits.calibration_eror", "calibration_error"),
        ({"limits": {"calibration_error": 0.1}}, "scan.limits.calibration_error", "add calibration_error"),
        ({"objective": "rejection", "limits": {"rejection": 0}}, "scan.limits.rejection", "greater than 0"),
        ({"objective": "rejection", "working_point": 1.5}, "scan.working_point", "less than 1"),
        ({"working_point": 0.5}, "scan.working_point", "add rejection"),
        ({"halving": 1}, "scan.halving", "1.5"),
        ({"halfing": 3}, "scan.halfing", "halving"),
        ({"halving": 3, "first_epochs": 3}, "scan.first_epochs", "less than scan.epochs, which is 3"),
        ({"halving": 3, "first_epochs": 0}, "scan.first_epochs", "greater than 0"),
        ({"first_epochs": 2}, "scan.first_epochs", "set scan.halving"),
        ({"space": BITS}, "scan.space.student.weight_bits", "student_auc in scan.objective"),
        (
            {"objective": "lut", "space": {"student.weight_bit": {"low": 4, "high": 6}}},
            "scan.space.student.weight_bit",
            "weight_bits",
        ),
        (
            {"objective": "lut", "space": {"student.weight_bits": {"low": 4, "high": 99}}},
            "scan.space.student.weight_bits",
            "16",
        ),
        (
            {"objective": "lut", "space": {"student.weight_bits": {"low": 4.0, "high": 6.0}}},
            "scan.space.student.weight_bits",
            "integer",
        ),
        (
            {"objective": "lut", "space": {"student.weight_bits": {"low": 7, "high": 8}}},
            "student.weight_bits",
            "from 7 to 8",
        ),
        (
            {"objective": "lut", "space": {"student.constituents": {"low": 4, "high": 32}}},
            "scan.space.student.constituents.constituents",
            "at most",
        ),
    ],
)
def test_what_cannot_be_looked_for_is_refused_with_its_key(values, key, words):
    error = refused(changed(prepare__constituents=16, scan={"trials": 2, "epochs": 3, "space": RATE, **values}))
    assert error.details["key"] == key and words in str(error)


@pytest.mark.parametrize("name", ["search", "candidates"])
def test_students_are_varied_in_one_place(name):
    varied = {"search": {"space": {"sparsity": {"low": 0.1, "high": 0.9}}}, "candidates": {"weight_bits": [4, 5]}}
    values = changed(scan={"trials": 2, "objective": "lut", "space": BITS})
    assert Plan(values, "my.yaml").scans_student
    values["synthesize"][name] = varied[name]
    error = refused(values)
    assert error.details["key"] == "scan.space.student.weight_bits" and f"synthesize.{name}" in str(error)


def test_keys_of_a_student_that_do_not_go_together_are_refused():
    ways, prunings = {"choices": ["straight_through", "hgq2"]}, {"choices": ["weights", "inputs"]}
    space = {"student.compression.kind": ways, "student.pruning": prunings}
    values = changed(scan={"trials": 2, "objective": "lut", "space": space})
    error = refused(values)
    assert error.details["key"] == "scan.space.student.pruning" and "hgq2 cannot prune inputs" in str(error)
    values["scan"]["forbid"] = [{"student.compression.kind": "hgq2", "student.pruning": "inputs"}]
    assert Plan(values, "my.yaml").scans_student


@pytest.mark.parametrize("name", ["lut", "latency", "student_auc"])
def test_a_task_without_a_core_has_no_student_to_judge(name):
    values = changed("pileup")
    values["scan"]["objective"] = ["validation_loss", name]
    error = refused(values)
    assert error.details["key"] == "scan.objective" and error.details["found"] == name and "whole jets" in str(error)


def test_only_what_is_asked_for_reruns_the_scan():
    def spec(objective, **more):
        values = changed(**more)
        values["scan"] |= {"objective": objective}
        return Plan(values, "my.yaml").spec("scan")

    plain = "validation_auc"
    assert spec(plain) == spec(plain, evaluate__bins=5) == spec(plain, synthesize__clock_ns=4.0)
    assert spec(["rejection"]) != spec(["rejection"], evaluate__bins=5)
    assert (
        spec(["rejection"]) == spec(["rejection"], synthesize__clock_ns=4.0) == spec(["rejection"], evaluate__passes=9)
    )
    assert spec(["lut"]) != spec(["lut"], synthesize__clock_ns=4.0)
    assert spec(["lut"]) == spec(["lut"], evaluate__bins=5) == spec(["lut"], synthesize__auc_loss=0.3)
    assert "core" not in json.loads(spec(plain)) and parse_spec(ScanSpec, spec(["lut"])).core is not None


def test_the_working_point_is_the_first_of_the_evaluation_or_the_scans_own():
    def points(**scan):
        values = changed(evaluate__working_points=[0.7, 0.3])
        values["scan"] |= {"objective": "rejection", **scan}
        return json.loads(Plan(values, "my.yaml").spec("scan"))["judged"]["settings"]["working_points"]

    assert points() == [0.7] and points(working_point=0.4) == [0.4]


# --- how trainings are judged


@pytest.fixture(scope="module")
def trained(toy, tmp_path_factory):
    """A short training."""
    folder = tmp_path_factory.mktemp("trained")
    train(train_spec(), *toy, folder)
    return folder


def test_a_training_is_assessed_on_the_validation_split(toy, trained, tmp_path):
    assess(judged(points=[0.5, 0.9]), toy[0], trained, tmp_path)
    figures, last = read_json(tmp_path / "figures.json"), read_json(trained / "history.json")
    best = min(last["rows"], key=lambda row: row["validation_loss"])
    assert figures["auc"] == pytest.approx(best["validation_auc"], abs=2e-3)  # there of a histogram
    assert [row["efficiency"] for row in figures["working_points"]] == [0.5, 0.9]
    assert figures["working_points"][0]["rejection"] >= figures["working_points"][1]["rejection"] >= 1
    assert 0 <= figures["calibration"]["rms_debiased"] < 1 and len(figures["calibration"]["bins"]) <= 10
    assert provenance.altered(tmp_path / "figures.json") == []


def test_an_evaluation_takes_the_steps_that_its_objectives_need(tmp_path):
    def verbs(*names):
        bits = "lut" in names
        settings = {"objective": list(names), "space": {**RATE, **(BITS if bits else {})}}
        spec = scan_spec(**settings).model_copy(update={"judged": judged(), "core": core_spec()})
        asked = Asked(3, {"train.learning_rate": 0.002, **({"student.weight_bits": 4} if bits else {})}, tmp_path)
        return {
            command[command.index("bunchtrain") + 1]: command
            for command in objective.Trainings(spec, "d", "s").steps(asked, Slot(0))
        }

    assert list(verbs("validation_loss", "rank_seconds")) == ["train"]
    assert list(verbs("rejection")) == ["train", "assess"]
    found = verbs("validation_auc", "calibration_error", "lut")
    assert list(found) == ["train", "assess", "candidate"] and "--estimate" in found["candidate"]
    training, core = (json.loads(found[verb][found[verb].index("--spec") + 1]) for verb in ("train", "candidate"))
    assert training["seed"] == 1 + 3 and training["settings"]["learning_rate"] == 0.002
    assert core["settings"]["student"]["weight_bits"] == 4 and core["seed"] == 5


def test_the_campaigns_own_training_keeps_its_seed(tmp_path):
    seeds = [objective.training_spec(scan_spec(), Asked(number, {}, tmp_path)).seed for number in range(3)]
    assert seeds == [1, 2, 3]


def test_values_of_a_student_that_do_not_go_together_are_a_result(tmp_path):
    settings = {"objective": "lut", "space": {"student.weight_bits": {"low": 4, "high": 6}}}
    spec = scan_spec(**settings).model_copy(update={"core": core_spec()})
    asked = Asked(0, {"student.weight_bits": 99}, tmp_path)
    found, facts = evaluation.evaluate(objective.Trainings(spec, "d", "s"), asked, Slot(0))
    assert found == "F_invalid" and facts["error"]


def written(trained, folder, student=None, **history):
    """A folder as the steps of an evaluation leave it."""
    whole = read_json(trained / "history.json")
    write_json(folder / "history.json", {**whole, **history})
    write_json(folder / "model.json", read_json(trained / "model.json"))
    point = {"rejection": 100.0, "error": 9.0}
    figures = {"working_points": [point], "calibration": {"rms_debiased": 0.02, "ece": 0.03}}
    write_json(folder / "assessed/figures.json", figures)
    done = {"status": "done", "auc": {"quantised_student": 0.9}, "estimate": {"lut": 1000, "cycles": 7}}
    write_json(folder / "student/figures.json", student or done)
    return folder


def all_objectives() -> objective.Trainings:
    spec = scan_spec(objective=list(NAMES), epochs=4).model_copy(update={"judged": judged(), "core": core_spec()})
    return objective.Trainings(spec, "d", "s")


def test_every_objective_is_told_on_its_scale_and_kept_as_it_is(trained, tmp_path):
    rows = [{"validation_loss": loss, "validation_auc": 0.9, "step_seconds": 2.0} for loss in (0.5, 0.3, 0.4, 0.6)]
    found, facts = all_objectives().result(written(trained, tmp_path, rows=rows, ranks=2))
    plain = {name: facts[name] for name in NAMES}
    assert plain == {
        "validation_loss": 0.3,
        "validation_auc": 0.9,
        "rejection": 100.0,
        "calibration_error": 0.02,
        "rank_seconds": 16.0,
        "lut": 1000,
        "latency": 35.0,
        "student_auc": 0.9,
    }
    assert found == pytest.approx([-0.3, 0.9, 2.0, -0.02, -math.log10(16), -3.0, -35.0, 0.9])
    assert facts["curve"] == [0.5, 0.3, 0.4, 0.6] and facts["seed"] == 1 and facts["epochs"] == 4
    assert "lut 1000" in all_objectives().told(facts) and "stopped" not in all_objectives().told(facts)


def test_a_stopped_training_is_judged_by_what_it_reached_at_the_cost_of_a_whole_one(trained, tmp_path):
    rows = [{"validation_loss": 0.5, "validation_auc": 0.9, "step_seconds": 2.0}]
    found, facts = all_objectives().result(written(trained, tmp_path, rows=rows, ranks=1, stopped_early=True))
    assert facts["stopped_at"] == facts["epochs"] == 1 and facts["rank_seconds"] == 8.0 and found[0] == -0.5
    assert "stopped after epoch 1" in all_objectives().told(facts)


def test_a_student_that_is_no_circuit_fails_with_the_curve_of_its_training(trained, tmp_path):
    failed = {"status": "failed", "error": "too wide"}
    found, facts = all_objectives().result(written(trained, tmp_path, failed))
    assert found == "F_no_circuit" and facts["error"] == "too wide" and facts["curve"]


def test_a_figure_that_the_jets_do_not_give_is_a_failure(trained, tmp_path):
    written(trained, tmp_path)
    point = {"rejection": None, "error": None}
    calibration = {"rms_debiased": 0.02, "ece": 0.03}
    write_json(tmp_path / "assessed/figures.json", {"working_points": [point], "calibration": calibration})
    found, facts = all_objectives().result(tmp_path)
    assert found == "F_no_figure" and "rejection" in facts["error"]


@given(some.sampled_from(NAMES), some.floats(1e-3, 1e6), some.floats(1e-3, 1e6))
def test_what_is_better_is_larger(name, one, other):
    better = one > other if name in LARGER else one < other
    first, second = (objective.larger_is_better(name, figure) for figure in (one, other))
    assert not (better and first < second) and math.isfinite(first)


# --- which is the best


def test_the_best_keeps_to_the_limits():
    names = ("validation_auc", "lut")
    figures = [(0.95, 9000), (0.93, 4000), (0.94, 5000), (0.94, 4500), (0.2, 10)]
    trials = [done(n, dict(zip(names, one, strict=True)), names) for n, one in enumerate(figures)]
    asked = {"objective": list(names)}
    assert results.best(scanned(**asked), trials).number == 0
    assert results.best(scanned(**asked, limits={"lut": 5000}), trials).number == 3  # of equal ones the smaller
    assert results.best(scanned(**asked, limits={"lut": 4000}), trials).number == 1
    assert results.best(scanned(**asked, limits={"lut": 4000, "validation_auc": 0.1}), trials).number == 1
    assert results.best(scanned(**asked), []) is None


def test_none_within_the_limits_says_which_comes_nearest():
    names = ("validation_auc", "lut")
    trials = [done(n, dict(zip(names, one, strict=True)), names) for n, one in enumerate([(0.95, 9000), (0.93, 4000)])]
    settings = scanned(objective=list(names), limits={"lut": 3000, "validation_auc": 0.9})
    with pytest.raises(TrainingError, match="no evaluation of the scan keeps to its limits") as caught:
        results.best(settings, trials)
    details = caught.value.details
    assert details["key"] == "scan.limits.lut" and "lut at most 3000" in details["expected"]
    assert "evaluation 2" in details["found"] and "lut 4000" in details["found"]
    assert "validation_auc at least" not in details["expected"]


def test_a_stopped_evaluation_is_never_the_best():
    trials = [done(0, {"validation_loss": 0.5}), done(1, {"validation_loss": 0.1}, stopped_at=1)]
    trials.append(Trial(2, {}, result="F_nan"))
    assert results.best(scanned(), trials).number == 0
    assert [results.status(trial) for trial in trials] == ["ok", "stopped", "F_nan"]
    with pytest.raises(TrainingError, match="no evaluation reached its last epoch"):
        results.best(scanned(), trials[1:])


# --- the front


def undominated(points):
    found = []
    for place in range(len(points)):
        found = pareto.joined(found, points, place)
    return found


POINTS = some.lists(some.tuples(*[some.integers(0, 4)] * 3), max_size=14)


@given(POINTS)
def test_a_front_of_any_number_of_objectives_is_all_that_is_not_beaten(points):
    def beaten(one):
        return any(all(a >= b for a, b in zip(other, one, strict=True)) and other != one for other in points)

    found = undominated(points)
    assert sorted({points[place] for place in found}) == sorted({one for one in points if not beaten(one)})
    assert len({points[place] for place in found}) == len(found)
    assert all(points.index(points[place]) == place for place in found)  # of equal ones the first


@given(some.lists(some.tuples(some.integers(0, 5), some.integers(0, 5)), max_size=12))
def test_both_fronts_agree_on_two_numbers(points):
    cost_and_worth = [(-a, b) for a, b in points]
    assert sorted(pareto.front(cost_and_worth)) == sorted(undominated(points))


def of_two(*figures, names=("validation_auc", "latency")):
    return [done(n, dict(zip(names, one, strict=True)), names) for n, one in enumerate(figures)]


def test_the_volume_grows_with_the_front_and_says_from_where():
    trials = of_two((0.5, 30), (0.7, 40), (0.8, 20), (0.6, 35), (0.9, 39), (0.9, 39), (0.95, 50))
    trials += [done(7, {"validation_auc": 0.99, "latency": 1}, ("validation_auc", "latency"), stopped_at=1)]
    trials.append(Trial(8, {}, result="F_oom"))
    found = front(scanned(objective=["validation_auc", "latency"], initial=2, limits={"latency": 45}), trials)
    assert found["reference"] == {"validation_auc": 0.5, "latency": 40}
    # Of the first two each lies on an edge of what they span; then 0.3 x 20, and 0.1 x 1 beside it; one is outside.
    volumes = [row["volume"] for row in found["hypervolume"]]
    assert volumes == pytest.approx([0, 0, 6, 6, 6.1, 6.1, 6.1])
    assert [one["trial"] for one in found["front"]] == [6, 4, 2]
    assert found["front"][2]["figures"] == {"validation_auc": 0.8, "latency": 20}
    assert found["objectives"][1] == {"name": "latency", "larger": False, "limit": 45}


@given(some.lists(some.tuples(some.floats(0, 1), some.integers(1, 50)), min_size=1, max_size=12), some.integers(1, 4))
def test_the_volume_never_shrinks_and_is_that_of_all_points(figures, initial):
    found = front(scanned(objective=["validation_auc", "latency"], initial=initial), of_two(*figures))
    volumes = [row["volume"] for row in found["hypervolume"]]
    assert len(volumes) == len(figures) and all(np.diff(volumes) >= -1e-9)
    low, high = min(auc for auc, _ in figures[:initial]), max(latency for _, latency in figures[:initial])
    steps, total = sorted((b, a) for a, b in figures if a > low and b < high), 0.0
    best = low
    for place, (cost, worth) in enumerate(steps):
        best = max(best, worth)
        following = steps[place + 1][0] if place + 1 < len(steps) else high
        total += (best - low) * (following - cost)
    assert volumes[-1] == pytest.approx(total, abs=1e-9)


def test_a_scan_without_evaluations_has_an_empty_front():
    found = front(scanned(), [])
    assert found["front"] == found["hypervolume"] == [] and found["reference"] == {}


# --- what matters

SPACE = {
    "train.learning_rate": {"low": 1e-4, "high": 1e-1, "log": True},
    "train.schedule": {"choices": ["cosine", "plateau", "constant"]},
    "train.weight_decay": {"low": 0.0, "high": 1.0},
    "model.layers": {"choices": [1, 2, 3]},
}
OWN = {"train.learning_rate": 1e-3, "train.schedule": "cosine", "train.weight_decay": 0.5, "model.layers": 2}


def looked_at(count, seed=0):
    """Evaluations whose loss follows from rate and schedule alone; a third leave the rate out, as one that is idle."""
    random = np.random.default_rng(seed)
    trials = []
    for number in range(count):
        values = {
            "train.learning_rate": float(10 ** random.uniform(-4, -1)),
            "train.schedule": str(random.choice(["cosine", "plateau", "constant"])),
            "train.weight_decay": float(random.uniform()),
            "model.layers": int(random.choice([1, 2, 3])),
        }
        if number % 3 == 2:
            del values["train.learning_rate"]
        rate = math.log10(values.get("train.learning_rate", 1e-3))
        loss = 1 + (rate + 3) ** 2 + (0.5 if values["train.schedule"] == "plateau" else 0.0)
        trials.append(Trial(number, values, result=-loss, facts={"validation_loss": loss, "validation_auc": 0.9}))
    return trials


def test_what_the_objective_follows_from_is_found_to_matter():
    settings = Scan(trials=60, space=SPACE, objective=["validation_loss", "validation_auc"])
    found = importance(settings, looked_at(60), OWN, 7)
    assert found == importance(settings, looked_at(60), OWN, 7) and found["validation_auc"] == {
        "absent": "all are equal"
    }
    told = found["validation_loss"]["hyperparameters"]
    assert list(told) == list(SPACE) and found["validation_loss"]["explained"] > 0.5
    order = sorted(told, key=lambda name: -told[name]["importance"])
    assert order[:2] == ["train.learning_rate", "train.schedule"]
    idle = [told[name] for name in ("train.weight_decay", "model.layers")]
    assert all(abs(one["importance"]) < 0.1 * told[order[0]]["importance"] and one["spread"] >= 0 for one in idle)


def test_too_few_evaluations_say_nothing_of_what_matters():
    settings = Scan(trials=60, space=SPACE)
    trials = looked_at(9)
    again = Trial(9, trials[0].values, result=trials[0].result, facts={**trials[0].facts, "same_as": 0})
    stopped = Trial(10, {}, result=-1.0, facts={"validation_loss": 1.0, "stopped_at": 1})
    assert "9 evaluations" in importance(settings, [*trials, again, stopped], OWN, 7)["absent"]
    assert "validation_loss" in importance(settings, looked_at(10), OWN, 7)


# --- the whole


def test_a_scan_of_several_objectives_leaves_table_best_and_front(toy, tmp_path):
    spec = scan_spec(
        objective=["rejection", "calibration_error", "rank_seconds"], trials=3, limits={"rank_seconds": 900}
    )
    run.scan(spec.model_copy(update={"judged": judged()}), *toy, tmp_path)
    rows, best, found = table(tmp_path), read_json(tmp_path / "best.json"), read_json(tmp_path / "front.json")
    assert [row["status"] for row in rows] == ["ok"] * 3 and [row["seed"] for row in rows] == ["1", "2", "3"]
    assert all(float(row["rejection"]) >= 1 and float(row["rank_seconds"]) > 0 and row["slot"] in "01" for row in rows)
    assert best["figures"]["rejection"] == max(float(row["rejection"]) for row in rows)
    assert len(best["objective"]) == 3 and best["name"] == spec.settings.objective
    assert {one["trial"] for one in found["front"]} <= {0, 1, 2} and len(found["hypervolume"]) == 3
    assert "3 evaluations" in found["importance"]["absent"]
    for name in ("results.csv", "best.json", "front.json"):
        assert provenance.altered(tmp_path / name) == []


def test_limits_that_none_keeps_to_leave_the_table(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluation, "evaluate", lambda *arguments: (-0.5, {"validation_loss": 0.5}))
    with pytest.raises(TrainingError, match="keeps to its limits"):
        run.scan(scan_spec(limits={"validation_loss": 0.1}), *toy, tmp_path)
    assert len(table(tmp_path)) == 4 and not (tmp_path / "best.json").exists()
    monkeypatch.delattr(evaluation, "evaluate")  # with looser limits nothing is evaluated again
    run.scan(scan_spec(limits={"validation_loss": 0.6}), *toy, tmp_path)
    assert read_json(tmp_path / "best.json")["trial"] == 0


def test_the_best_student_reaches_the_core_and_not_the_training(tmp_path):
    values = {"train.learning_rate": 0.002, "student.weight_bits": 3, "student.network.hidden": [4]}
    write_json(tmp_path / "best.json", {"values": values})
    found = with_values(core_spec(), best_values(tmp_path / "best.json"), tmp_path / "best.json")
    assert found.settings.student.weight_bits == 3 and found.network["hidden"] == [4]
    assert with_values(core_spec(), {"train.learning_rate": 1.0}, "best.json") == core_spec()
    training = with_best(train_spec(), tmp_path / "best.json")
    assert training.settings.learning_rate == 0.002 and training.model == train_spec().model
    with pytest.raises(CampaignError) as caught:
        with_values(core_spec(), {"student.weight_bit": 3}, "best.json")
    assert caught.value.details["nearest"] == "weight_bits"
    write_json(tmp_path / "none.json", [])
    with pytest.raises(InputError, match="no best values"):
        best_values(tmp_path / "none.json")


def test_the_campaigns_own_student_is_looked_at_first():
    space = {**RATE, **BITS, "student.network.hidden": {"choices": [1, 2]}}
    spec = scan_spec(objective="lut", space=space).model_copy(update={"core": core_spec()})
    own = objective.Trainings(spec, "d", "s").own()
    assert own == {"train.learning_rate": 3e-3, "student.weight_bits": 6, "student.network.hidden": [24, 16]}
    assert parse_spec(ScanSpec, as_text(spec)) == spec


@pytest.mark.fpga
def test_a_scan_weighs_the_students_that_trainings_teach(toy, tmp_path):
    settings = {"objective": ["student_auc", "lut", "latency"], "trials": 2, "parallel": 1, "space": {**RATE, **BITS}}
    spec = scan_spec(**settings).model_copy(update={"core": core_spec()})
    run.scan(spec, *toy, tmp_path)
    for row in table(tmp_path):
        figures = read_json(tmp_path / f"trials/{int(row['trial']):04d}/student/figures.json")
        assert figures["student"]["weight_bits"] == int(row["student.weight_bits"])
        assert figures["estimate"]["lut"] == int(row["lut"]) > 0 and float(row["latency"]) % 5 == 0
        assert 0.5 < float(row["student_auc"]) == figures["auc"]["quantised_student"] <= 1
