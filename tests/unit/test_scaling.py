"""The model of a training's steps, the advice that follows from it, and real probes."""

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bunchtrain.errors import CampaignError, TrainingError
from bunchtrain.parallel import LAUNCHER
from bunchtrain.report.scaling import figure
from bunchtrain.scaling import run
from bunchtrain.scaling.advice import Prediction, Training, predict, recommend
from bunchtrain.scaling.fit import Interval, PartModel, Point, StepModel
from bunchtrain.scaling.probe import PARTS, Runner, Setting, settings_of
from bunchtrain.scaling.request import Request, numbers
from bunchtrain.scaling.show import notes
from toys import train_spec

#: Seconds of a made-up machine: compute, input and communication.
TRUTH = {
    "compute": lambda p: 2e-3 + 5e-5 * p.jets * (1 + 0.3 * (1 - 1 / p.on_node)),
    "input": lambda p: 1e-4 + 1e-6 * p.jets,
    "communication": lambda p: 3e-4 * math.log2(p.ranks) + 2e-3 * (p.ranks - 1) / p.ranks if p.ranks > 1 else 0.0,
}


def points(ranks=(1, 2, 4, 8), batches=(128, 256, 512), on_node=4):
    return [Point(n, min(n, on_node), batch / n) for n in ranks for batch in batches]


def model(places, truth=TRUTH, error=0.005):
    parts = {part: [truth[part](place) for place in places] for part in PARTS}
    return StepModel(places, {part: (values, [error * v for v in values]) for part, values in parts.items()})


def seconds(place, truth=TRUTH):
    return sum(truth[part](place) for part in PARTS)


@pytest.mark.parametrize("ranks", [1, 3, 8, 16, 64, 256])
def test_a_step_far_from_the_probes_is_predicted_where_the_probes_tell_the_terms_apart(ranks):
    fitted = model(points())
    place = Point(ranks, min(ranks, 4), 256 / ranks)
    found = fitted(place)
    assert found.value == pytest.approx(seconds(place), rel=0.12)
    assert found.low <= seconds(place) <= found.high


def test_what_two_ranks_leave_open_widens_the_band_with_the_ranks():
    fitted = model(points(ranks=(1, 2)))
    assert fitted.parts["communication"].undetermined()
    widths = []
    for ranks in (2, 8, 64):
        place = Point(ranks, min(ranks, 4), 256 / ranks)
        found = fitted(place)
        assert found.low <= seconds(place) <= found.high
        widths.append((found.high - found.low) / found.value)
    assert widths[0] < 0.2 and widths == sorted(widths)


@pytest.mark.parametrize("claimed", [0.02, 0.2])
def test_bands_hold_the_truth_in_most_cases_also_where_errors_are_too_small(claimed):
    places, where = points(ranks=(1,), batches=(64, 128, 256, 512, 768)) * 2, Point(1, 1, 384.0)
    held = 0
    for seed in range(100):
        random = np.random.default_rng(seed)
        values = [TRUTH["compute"](place) * random.normal(1, 0.1) for place in places]
        found = PartModel("compute", places, values, [claimed * value for value in values])(where)
        held += found.low <= TRUTH["compute"](where) <= found.high
    assert held >= 50


def test_one_rank_says_nothing_of_communication():
    fitted = model(points(ranks=(1,)))
    assert fitted(Point(1, 1, 64.0)).value == pytest.approx(seconds(Point(1, 1, 64.0)), rel=0.02)
    with pytest.raises(ValueError, match="communication was not measured"):
        fitted(Point(2, 2, 64.0))
    with pytest.raises(ValueError, match="no probe"):
        PartModel("input", [], [], [])


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(*[st.floats(0, 1e-2)] * 3),
    st.floats(0, 1e-4),
    st.lists(st.tuples(st.sampled_from([1, 2, 4, 8]), st.integers(8, 1024)), min_size=1, max_size=8, unique=True),
)
def test_no_prediction_is_negative_or_outside_its_band(constants, slope, where):
    places = [Point(n, min(n, 4), batch / n) for n, batch in where]
    values = [constants[0] + slope * place.jets + constants[1] * math.log2(place.ranks) for place in places]
    fitted = PartModel("compute", places, values, [0.01 * value for value in values])
    for ranks in (1, 2, 32, 1024):
        found = fitted(Point(ranks, min(ranks, 4), 4096 / ranks))
        assert 0 <= found.low <= found.value <= found.high < math.inf


TRAINING = Training(
    batch=256, jets=25600, validation=1024, epochs=10, steps=100, threads=2, per_node=4, start=5.0, validating=1e-5
)


def test_hours_and_core_hours_of_a_training():
    found = predict(model(points()), TRAINING, 4)
    step = found.step.value
    wall = 5 + 10 * (100 * step + 1024 * 1e-5 / 4)
    assert found.hours.value == pytest.approx(wall / 3600)
    assert found.core_hours == pytest.approx(4 * 2 * wall / 3600)
    assert found.jets_per_second.value == pytest.approx(256 / step)
    one = predict(model(points()), TRAINING, 1)
    assert one.efficiency == pytest.approx(1)
    assert found.efficiency == pytest.approx(one.step.value / 4 / step)
    assert found.jets_per_second.low <= found.jets_per_second.value <= found.jets_per_second.high


def choices():
    """Ranks, hours with the band's upper end, core hours, efficiency."""
    rows = [(1, 10.0, 10.0, 1.0), (2, 5.5, 11.0, 0.9), (4, 3.2, 12.8, 0.82), (8, 2.6, 20.8, 0.5), (16, 2.8, 44.8, 0.2)]
    for ranks, hours, core_hours, efficiency in rows:
        band = Interval(hours, 0.9 * hours, 1.1 * hours)
        yield Prediction(ranks, band, band, efficiency, band, core_hours)


@pytest.mark.parametrize(
    ("deadline", "budget", "ranks", "why"),
    [
        (None, None, 4, "efficiency of 0.8"),
        (6.1, None, 2, "within 6.1 h"),
        (5.6, None, 4, "within 5.6 h"),  # 2 ranks may take 6.05
        (2.0, None, None, "8 rank(s), takes 2.6 hours"),
        (None, 12.0, 2, "within 12 core h"),
        (None, 9.0, None, "the cheapest, 1 rank(s), takes 10 core hours"),
        (4.0, 13.0, 4, "within 4 h within 13 core h"),
        (4.0, 12.0, None, "within 12 core h, 2 rank(s)"),
    ],
)
def test_advice_keeps_deadline_and_budget(deadline, budget, ranks, why):
    advice = recommend(list(choices()), deadline, budget)
    assert advice.ranks == ranks and why in advice.why


def test_settings_and_lists():
    assert settings_of([2, 1, 2, 8], [4, 64]) == [
        Setting(1, 4),
        Setting(1, 64),
        Setting(2, 4),
        Setting(2, 64),
        Setting(8, 64),
    ]
    assert numbers("1, 2,4", "--ranks") == [1, 2, 4]
    for text in ("", "1,,2", "0", "-1", "two", "1.5"):
        with pytest.raises(CampaignError, match="cannot be read"):
            numbers(text, "--ranks")


def request(**changes):
    plain = Request(ranks=[1], batches=[32], launcher="mpirun", steps=6, repeats=1, cores=2, per_node=2)
    return replace(plain, **changes)


@pytest.mark.parametrize(
    ("changes", "key"),
    [({"batches": [100_000]}, "--batch-sizes"), ({"ranks": [4]}, "--ranks"), ({"threads": 3}, "--ranks")],
)
def test_what_cannot_be_probed_is_refused_before_anything_runs(toy, tmp_path, changes, key):
    with pytest.raises(CampaignError) as caught:
        run.scaling(train_spec(), *toy, tmp_path / "out", request(**changes))
    assert caught.value.details["key"] == key and not (tmp_path / "out").exists()


def test_the_training_of_a_probe_is_the_campaigns_own_but_short(tmp_path):
    spec = train_spec(precision="bf16", accumulation=4, schedule="one_cycle", clip_norm=1.0)
    runner = Runner(spec, tmp_path, tmp_path, 1000, 500, "mpirun", 1, 40, "0")
    short = runner.training(Setting(2, 64)).settings
    assert (short.ranks, short.batch_size, short.accumulation, short.precision, short.clip_norm) == (
        2,
        64,
        4,
        "bf16",
        1,
    )
    assert (short.steps_per_epoch, short.epochs) == (15, 4)  # 1000 jets have 15 whole steps; 10 + 40 are wanted
    assert runner.training(Setting(2, 2)).settings.accumulation == 1


@pytest.mark.mpi
def test_real_probes_are_run_once_fitted_and_drawn(toy, tmp_path):
    asked = request(ranks=[1, 2], batches=[32, 64], launcher=LAUNCHER, most=8, cores=2)
    result = run.scaling(train_spec(), *toy, tmp_path, asked)
    kept = json.loads((tmp_path / "scaling.json").read_text())
    assert kept == json.loads(json.dumps(result)) and (tmp_path / "scaling.json.prov.json").exists()
    assert [(row["ranks"], row["batch"]) for row in kept["probes"]] == [(1, 32), (1, 64), (2, 32), (2, 64)]
    for row in kept["probes"]:
        assert row["jets_per_second"] == pytest.approx(row["batch"] / sum(row["seconds"].values()))
        assert row["seconds"]["compute"] > 0 and (row["seconds"]["communication"] > 0) == (row["ranks"] > 1)
    assert [row["ranks"] for row in kept["predictions"]] == sorted({1, 2, 4, 8, kept["advice"]["ranks"]})
    assert any("extrapolates" in line for line in notes(kept))
    assert figure(kept).startswith("<svg")

    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("probe.json")}
    assert len(before) == 4
    again = run.scaling(train_spec(), *toy, tmp_path, replace(asked, ranks=[1, 2], deadline=1000.0))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("probe.json")} == before
    assert again["probes"] == kept["probes"] and again["advice"]["ranks"] is not None


@pytest.mark.mpi
def test_a_probe_with_too_few_cores_is_shown_but_not_fitted(toy, tmp_path):
    result = run.scaling(train_spec(), *toy, tmp_path, request(ranks=[1, 2], launcher=LAUNCHER, cores=1, per_node=1))
    assert [row["used"] for row in result["probes"]] == [True, False]
    assert result["probes"][1]["predicted_step"] is None and [row["ranks"] for row in result["predictions"]] == [1]
    assert any("communication is not known" in line for line in notes(result))
    assert figure(result).startswith("<svg")


def test_a_failed_probe_says_where_to_look(toy, tmp_path):
    with pytest.raises(TrainingError) as caught:
        run.scaling(train_spec(), *toy, tmp_path, request(launcher="no-such-launcher"))
    assert "no-such-launcher" in str(caught.value) and Path(caught.value.details["file"]).exists()
    assert not list(tmp_path.rglob("probe.json"))


def test_a_campaign_without_its_dataset_is_told_what_to_run(tmp_path):
    values = yaml.safe_load((Path(__file__).parents[2] / "config/config.yaml").read_text())
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(values))
    command = [sys.executable, "-m", "bunchtrain", "scaling", "c.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and "bunchtrain campaign run c.yaml --cores 2 --until prepare" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["c.yaml"]


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
@pytest.mark.parametrize("key", ["deadline", "budget"])
def test_hours_without_end_are_refused_before_anything_is_probed(key, value):
    with pytest.raises(CampaignError, match="finite"):
        Request(ranks=[1], batches=[64], launcher="mpirun", **{key: value})


def test_numbers_of_thousands_of_digits_are_refused():
    with pytest.raises(CampaignError, match="cannot be read"):
        numbers("9" * 5000, "--ranks")
