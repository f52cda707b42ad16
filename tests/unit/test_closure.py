"""Tag and probe on pairs of jets whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from bunchtrain import dropout
from bunchtrain.errors import CampaignError
from bunchtrain.evaluate.closure import Counts, measured, otherwise, panel, probes, scale_factors
from bunchtrain.events.splits import mix

CUTS = (1.0, 0.3)


def pairs(seed: int, events: int = 20_000, loss: float = 0.0, share: float = 0.3):
    """Scores of two jets an event: signal higher by 1.5; in events that stand for data `loss` of it is not found."""
    random = np.random.default_rng(seed)
    number = np.repeat(np.arange(events), 2)
    keys = mix(mix(number.astype(np.uint64) + np.uint64(seed * events)))
    signal = np.repeat(random.uniform(size=events) < share, 2)
    score = random.normal(signal * 1.5, 1)
    data = (mix(keys) >> np.uint64(17)) % np.uint64(2) == 1
    score[data & signal & (random.uniform(size=2 * events) < loss)] = -5
    return probes(keys, score, signal, np.ones(2 * events), CUTS, tag=1.0)


@pytest.mark.parametrize("loss", [0.0, 0.2])
def test_the_scale_factor_is_the_true_one_within_its_errors(loss):
    found = [measured(pairs(seed, loss=loss), seed=1) for seed in range(30)]
    factors, truths, errors = (np.array([one[key] for one in found]) for key in ("scale_factor", "true", "statistical"))
    assert truths.mean(0) == pytest.approx(1 - loss, abs=0.01)
    assert factors.mean(0) == pytest.approx(truths.mean(0), abs=0.01)
    assert errors.mean(0) == pytest.approx(factors.std(0, ddof=1), rel=0.4)
    pulls = (factors - truths) / np.array([one["difference"] for one in found])
    assert 0.6 < pulls.std() < 1.4 and abs(pulls.mean()) < 0.5


def test_background_that_is_not_known_is_an_error():
    data = Counts(100.0, np.array([50.0]), 40.0, np.array([10.0]))
    assert scale_factors(data, data)[0] == pytest.approx(1)
    assert scale_factors(data, data, mistag=1.2)[0] == pytest.approx((60 - 12) / 100 / 0.5)
    assert scale_factors(data, data, background=1.2)[0] == pytest.approx((60 - 12) / (140 - 48) / 0.5)


def test_pairs_are_events_with_two_jets_of_which_one_is_tagged():
    keys = np.array([7, 7, 8, 9, 9, 9, 5, 5], np.uint64)
    score = np.array([2.0, 0.0, 3.0, 3.0, 3.0, 3.0, 2.0, 2.5])
    found = probes(keys, score, np.ones(8, bool), np.arange(8.0), CUTS, tag=1.0)
    # The event 7 has one probe, its untagged jet; the event 5 has two; 8 and 9 have not two jets.
    assert sorted(found.weights_K) == [1.0, 6.0, 7.0]
    assert found.passing_KP[found.weights_K == 1.0].sum() == 0


def test_the_panel_tells_factor_truth_and_pull():
    points = [{"efficiency": 0.5}, {"efficiency": 0.7}]
    told = panel(pairs(3), points, 0.5, np.random.default_rng(0).uniform(0.4, 0.6, (20, 2)), seed=1)
    assert [row[0] for row in told.rows] == ["50 %", "70 %"] and len(told.rows[0]) == len(told.columns)
    assert abs(told.figures["pull at 50 %"]) < 5 and 0.05 < told.figures["dropout at 50 %"] < 0.2


def columns(seed: int, moved: float, events: int = 20_000) -> dict[str, np.ndarray]:
    """Predictions for two jets an event; `moved`: by how much the scores of signal are off."""
    random = np.random.default_rng(seed)
    signal = np.repeat(random.uniform(size=events) < 0.4, 2)
    keys = mix(np.repeat(np.arange(events, dtype=np.uint64), 2) + np.uint64(seed))
    score = random.normal(signal * 1.5, 1) + moved * signal
    return {"event": keys, "label": signal.astype("i8"), "weight": np.ones(2 * events, "f4"), "score": score}


def test_data_that_are_otherwise_give_another_scale_factor():
    varied = {("scale", "down"): columns(1, -0.3), ("scale", "same"): columns(1, 0.0)}
    told = otherwise(columns(1, 0.0), varied, signal=1, cut=1.0, seed=1)
    assert [row[:2] for row in told.rows] == [["scale", "down"], ["scale", "same"]]
    down, same = (told.figures[f"scale {name}: scale_factor"] for name in ("down", "same"))
    assert down / same == pytest.approx(0.84, abs=0.03)  # from 69 % above the cut to 58 %
    assert all(abs(float(row[-1])) < 4 for row in told.rows)
    assert otherwise(columns(1, 0.0), {}, signal=1, cut=1.0, seed=1) is None


def test_one_network_has_the_same_masks_for_all_rows():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 2)).eval()
    rows = torch.ones(5, 4)
    with torch.no_grad():
        seen = []
        for number in (0, 1, 0):
            with dropout.one_network(model, number, seed=1):
                seen.append(torch.cat([model(rows[:2]), model(rows[2:])]))
        plain = model(rows)
        many = torch.stack([_answer(model, number, rows) for number in range(3000)])
    assert all(torch.equal(one, one[:1].expand_as(one)) for one in seen)
    assert torch.equal(seen[0], seen[2]) and not torch.equal(seen[0], seen[1])
    assert torch.equal(model(rows), plain)  # afterwards it is as it was
    torch.testing.assert_close(many.mean(0), plain, atol=5 * many.std(0).max().item() / 3000**0.5, rtol=0)


def _answer(model: nn.Module, number: int, rows: torch.Tensor) -> torch.Tensor:
    with dropout.one_network(model, number, seed=2):
        return model(rows)


def test_one_network_needs_dropout():
    with pytest.raises(CampaignError, match="dropout"), dropout.one_network(nn.Linear(2, 2), 0, 1):
        pass


def test_few_probes_leave_dashes():
    """Where next to nothing passes there is neither a factor nor an error of it, and nothing that JSON cannot hold."""
    few = pairs(3, events=400)
    points = [{"efficiency": 0.5}, {"efficiency": 0.502}]
    none = replace(few, passing_KP=np.zeros_like(few.passing_KP))
    told = panel(none, points, 0.5, np.zeros((5, 2)), seed=1)
    assert [row[0] for row in told.rows] == ["50 %", "50.2 %"] and told.rows[0][2] == "-" == told.rows[0][-1]
    assert all(np.isfinite(value) for value in told.figures.values())
