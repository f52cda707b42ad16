"""Stopping hopeless trainings early: the rule, the loop that follows it, and what a scan saves by it."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as some
from test_scan import scan_spec, table

from bunchtrain.config.scan import Scan
from bunchtrain.config.specs import TrainSpec, as_text, parse_spec
from bunchtrain.files import read_json
from bunchtrain.scan import evaluation, halving, objective, run
from bunchtrain.scan.evaluation import Asked
from bunchtrain.scan.journal import Trial
from bunchtrain.train import run as training
from bunchtrain.train.run import train
from toys import train_spec

LOSSES = some.floats(0, 10, allow_nan=False)
CURVES = some.lists(some.lists(LOSSES, min_size=1, max_size=6), max_size=12)
ETAS = some.floats(1.5, 6)


def scanned(**settings) -> Scan:
    space = {"train.learning_rate": {"low": 1e-3, "high": 1e-2, "log": True}}
    return Scan(**{"trials": 4, "space": space, **settings})


@pytest.mark.parametrize(
    ("epochs", "first", "eta", "rungs"),
    [(9, 1, 3, [1, 3]), (10, 1, 3, [1, 3, 9]), (8, 2, 2, [2, 4]), (3, 3, 3, []), (6, 1, 1.5, [1, 2, 3, 5])],
)
def test_rungs_lie_a_factor_apart_and_below_the_last_epoch(epochs, first, eta, rungs):
    assert scanned(epochs=epochs, first_epochs=first, halving=eta).rungs == rungs
    assert scanned(epochs=epochs).rungs == []


def test_the_best_third_of_all_at_a_rung_goes_on():
    curves = [[0.5, 0.4], [0.7, 0.9], [0.6], [0.9, 0.1, 0.1], [0.8]]
    # Five and one are six, of which two go on: fewer than two may be better than 0.6. At the second three: one of four.
    assert halving.stops(curves, [1, 2], 3) == [(1, 0.6), (2, 0.1)]
    assert halving.stops(curves, [1, 3], 3) == [(1, 0.6)]
    assert halving.stops(curves[:2], [1], 3) == halving.stops([], [1], 3) == []


@given(CURVES, some.lists(some.integers(1, 6), unique=True, max_size=4).map(sorted), ETAS)
def test_a_training_goes_on_if_it_is_among_the_best_of_those_that_came_there(curves, rungs, eta):
    found = dict(halving.stops(curves, rungs, eta))
    for rung in rungs:
        known = [min(curve[:rung]) for curve in curves if len(curve) >= rung]
        assert (rung in found) == (len(known) >= eta)
        if rung not in found:
            continue
        assert found[rung] in known
        most = max(1, math.floor((len(known) + 1) / eta))
        for own in (*known, found[rung], 0.0, 11.0):
            goes_on = own <= found[rung]
            assert goes_on == (sum(one < own for one in known) < most)


@given(CURVES, ETAS, some.randoms())
def test_the_order_of_the_known_does_not_count(curves, eta, random):
    shuffled = random.sample(curves, len(curves))
    assert halving.stops(curves, [1, 2, 4], eta) == halving.stops(shuffled, [1, 2, 4], eta)


@given(CURVES, ETAS)
def test_the_best_at_every_rung_is_never_stopped(curves, eta):
    best = [min((min(curve[:rung]) for curve in curves if len(curve) >= rung), default=0.0) for rung in range(1, 7)]
    assert all(loss >= best[rung - 1] for rung, loss in halving.stops(curves, range(1, 7), eta))


def test_failures_and_repetitions_have_no_say():
    trials = [
        Trial(0, {}, result=-0.5, facts={"curve": [0.6, 0.5]}),
        Trial(1, {}, result="F_nan"),
        Trial(2, {}, result="F_no_circuit", facts={"curve": [0.7]}),
        Trial(3, {}, result=-0.5, facts={"curve": [0.6, 0.5], "same_as": 0}),
        Trial(4, {}),
    ]
    assert halving.known_curves(trials) == [[0.6, 0.5], [0.7]]


def known(*losses):
    return [Trial(number, {}, result=-loss, facts={"curve": [loss]}) for number, loss in enumerate(losses)]


def test_limits_follow_from_what_the_evaluation_may_know():
    spec = scan_spec(epochs=4, halving=2, space=SPACE)
    asked = Asked(5, {}, "unused", known(0.5, 0.7, 0.6))
    assert objective.training_spec(spec, asked).stops == [(1, 0.6)]
    assert objective.training_spec(spec, asked._replace(known=known(0.5))).stops == []
    off = objective.training_spec(scan_spec(epochs=4, space=SPACE), asked)
    assert off.stops == [] and "stops" not in as_text(off)


SPACE = {"train.learning_rate": {"low": 1e-5, "high": 1e-2, "log": True}}


def test_limits_survive_the_command_line():
    spec = train_spec().model_copy(update={"stops": [(1, 0.1 + 0.2), (3, 1 / 3)]})
    again = parse_spec(TrainSpec, as_text(spec))
    assert again.stops == spec.stops and again == spec


@pytest.mark.parametrize(("stops", "epochs"), [([(1, 1e-6)], 1), ([(1, 9.0), (2, 1e-6)], 2), ([(2, 9.0)], 4)])
def test_a_training_ends_at_the_rung_that_it_does_not_reach(toy, tmp_path, stops, epochs):
    spec = train_spec(epochs=4).model_copy(update={"stops": stops})
    train(spec, *toy, tmp_path)
    history = read_json(tmp_path / "history.json")
    assert len(history["rows"]) == epochs and history["stopped_early"] == (epochs < 4)
    train(spec, *toy, tmp_path)  # it is finished, and stays so
    assert read_json(tmp_path / "history.json") == history


def test_a_training_that_is_killed_at_its_rung_ends_there_all_the_same(toy, tmp_path, monkeypatch):
    spec = train_spec(epochs=4).model_copy(update={"stops": [(2, 1e-6)]})
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(training, "_keep", interrupted)
        train(spec, *toy, tmp_path)
    assert not (tmp_path / "history.json").exists()
    train(spec, *toy, tmp_path)
    assert len(read_json(tmp_path / "history.json")["rows"]) == 2


def interrupted(*arguments):
    raise KeyboardInterrupt


def test_a_stopped_training_is_the_beginning_of_the_whole_one(toy, tmp_path):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    spec = train_spec(epochs=4)
    train(spec, *toy, whole)
    train(spec.model_copy(update={"stops": [(2, 1e-6)]}), *toy, stopped)
    curves = [[row["validation_loss"] for row in read_json(out / "history.json")["rows"]] for out in (whole, stopped)]
    assert curves[1] == curves[0][:2] and "stopped_early" not in read_json(whole / "history.json")


def toy_evaluation(curve_of):
    """Answer as a training would that minds its rungs, and whose validation losses a function of its values gives."""

    def evaluated(of, asked, slot):
        spec, curve = objective.training_spec(of.spec, asked), curve_of(asked.values)
        facts = {"seed": spec.seed}
        for epoch, limit in spec.stops:
            if min(curve[:epoch]) > limit:
                curve, facts = curve[:epoch], {**facts, "stopped_at": epoch}
                break
        facts |= {"curve": curve, "epochs": len(curve), "validation_loss": min(curve)}
        return -min(curve), facts

    return evaluated


@pytest.mark.parametrize("parallel", [1, 3])
def test_a_scan_spends_fewer_epochs_and_keeps_its_best(toy, tmp_path, monkeypatch, parallel):
    """Losses fall towards a floor that follows from the values, so that early epochs tell of late ones."""

    def curve(values):
        away = abs(math.log10(values["train.learning_rate"]) + 3)
        return [0.3 + 0.2 * away + 0.5 / epoch for epoch in range(1, 10)]

    monkeypatch.setattr(evaluation, "evaluate", toy_evaluation(curve))
    found = {}
    for name, eta in (("whole", None), ("halved", 3)):
        settings = {"trials": 16, "parallel": parallel, "epochs": 9, "initial": 16, "space": SPACE}
        run.scan(scan_spec(**settings, halving=eta), *toy, tmp_path / name)
        rows, best = table(tmp_path / name), read_json(tmp_path / name / "best.json")
        found[name] = sum(int(row["epochs"]) for row in rows), best["figures"]["validation_loss"]
        assert rows[best["trial"]]["status"] == "ok"
    assert found["halved"][0] < 0.7 * found["whole"][0] and found["halved"][1] == found["whole"][1]
    stopped = [row for row in table(tmp_path / "halved") if row["status"] == "stopped"]
    assert stopped and all(row["stopped_at"] == row["epochs"] in ("1", "3") for row in stopped)
    assert all(float(row["validation_loss"]) > found["halved"][1] for row in stopped)


def test_a_real_scan_stops_what_is_hopeless(toy, tmp_path):
    """The own values learn; of the points of the space most hardly do in three epochs."""
    space = {"train.learning_rate": {"low": 1e-7, "high": 1e-2, "log": True}}
    settings = {"trials": 5, "parallel": 1, "initial": 5, "epochs": 3, "halving": 2, "space": space}
    run.scan(scan_spec(**settings), *toy, tmp_path)
    rows = table(tmp_path)
    assert [row["status"] for row in rows[:2]] == ["ok", "ok"] and "stopped" in {row["status"] for row in rows}
    for row in rows:
        history = read_json(tmp_path / f"trials/{int(row['trial']):04d}/history.json")
        assert len(history["rows"]) == int(row["epochs"]) == (int(row["stopped_at"]) if row["stopped_at"] else 3)
        assert int(row["seed"]) == 1 + int(row["trial"])
