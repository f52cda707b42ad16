"""Splits, features and scaling."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bunchtrain.errors import InputError
from bunchtrain.events.features import GLOBALS, NODES, along_jet, compute, wrap
from bunchtrain.events.scaling import Moments, Scaler
from bunchtrain.events.splits import SPLITS, assign, event_hash
from bunchtrain.files import read_json, write_json

SHARES = (0.7, 0.15, 0.15)


def test_splits_have_their_shares():
    hashes = event_hash("top", np.full(200_000, 7), np.arange(200_000), seed=3)
    shares = np.bincount(assign(hashes, SHARES), minlength=3) / len(hashes)
    np.testing.assert_allclose(shares, SHARES, atol=0.005)
    assert len(np.unique(hashes)) == len(hashes)
    assert len(SPLITS) == len(SHARES)


@settings(deadline=None)
@given(run=st.integers(0, 2**64 - 1), event=st.integers(0, 2**64 - 1), seed=st.integers(0, 2**31))
def test_an_event_lands_where_it_lands_whatever_stands_beside_it(run, event, seed):
    alone = event_hash("a", np.array([run], "u8"), np.array([event], "u8"), seed)
    among = event_hash("a", np.array([1, run, run], "u8"), np.array([2, event, event], "u8"), seed)
    assert (among[1:] == alone).all()


def test_splits_depend_on_sample_run_and_seed():
    run, event = np.full(1000, 5), np.arange(1000)
    first = event_hash("a", run, event)
    for other in (event_hash("b", run, event), event_hash("a", run + 1, event), event_hash("a", run, event, seed=1)):
        assert not np.isin(first, other).any()
        same = assign(first, SHARES) == assign(other, SHARES)
        assert 0.4 < same.mean() < 0.7  # 0.535 by chance


def test_neighbouring_runs_and_events_do_not_follow_each_other():
    run, event = (grid.ravel() for grid in np.meshgrid(np.arange(300), np.arange(300)))
    uniform = event_hash("a", run, event) / 2.0**64
    assert len(np.unique(uniform)) == len(uniform)
    assert abs(np.corrcoef(uniform[:-1], uniform[1:])[0, 1]) < 0.02
    counts, _ = np.histogram(uniform, 64, (0, 1))
    assert ((counts - counts.mean()) ** 2 / counts.mean()).sum() < 64 + 5 * np.sqrt(2 * 64)


def jets(phi=0.0, flip=1.0):
    """Two jets: one of two constituents, one of a single one."""
    pt, eta, angle = (
        np.array([[60, 40], [30, 0]]),
        np.array([[0.5, 0.3], [-1, 0]]),
        np.array([[0.1, -0.2], [3, 0]]) + phi,
    )
    p4 = np.stack([pt * np.cos(angle), pt * np.sin(angle), flip * pt * np.sinh(eta), pt * np.cosh(eta)], -1)
    mask = np.array([[True, True], [True, False]])
    p4 = np.where(mask[..., None], p4, 0)
    total = p4.sum(1)
    jet_pt = np.hypot(*total[:, :2].T)
    mass = np.sqrt(np.maximum(total[:, 3] ** 2 - (total[:, :3] ** 2).sum(1), 0))
    kinematics = np.stack([jet_pt, np.arcsinh(total[:, 2] / jet_pt), np.arctan2(total[:, 1], total[:, 0]), mass], -1)
    return p4.astype("f4"), mask, kinematics.astype("f4")


def test_features_are_what_their_names_say():
    p4, mask, kinematics = jets()
    found = compute(p4, mask, kinematics)
    assert found.nodes_BPF.shape == (2, 2, len(NODES)) and found.globals_BG.shape == (2, len(GLOBALS))
    node = dict(zip(NODES, found.nodes_BPF[0, 0], strict=True))
    jet_pt, jet_eta, jet_phi, jet_mass = kinematics[0]
    assert node["log_pt"] == pytest.approx(np.log(60), rel=1e-5)
    assert node["log_pt_fraction"] == pytest.approx(np.log(60 / jet_pt), rel=1e-4)
    assert node["delta_eta"] == pytest.approx(0.5 - jet_eta, abs=1e-5)
    assert node["delta_phi"] == pytest.approx(0.1 - jet_phi, abs=1e-5)
    assert node["delta_r"] == pytest.approx(np.hypot(node["delta_eta"], node["delta_phi"]), rel=1e-5)
    jet = dict(zip(GLOBALS, found.globals_BG[0], strict=True))
    assert jet["log_mass"] == pytest.approx(np.log(jet_mass), rel=1e-5)
    assert jet["log_multiplicity"] == pytest.approx(np.log(2))
    fractions = np.exp(found.nodes_BPF[0, :, NODES.index("log_energy_fraction")])
    assert fractions.sum() == pytest.approx(1, rel=1e-4)


def test_padding_is_zero_and_a_single_massless_constituent_is_finite():
    found = compute(*jets())
    assert not found.nodes_BPF[1, 1].any() and not found.momenta_BP4[1, 1].any()
    assert all(np.isfinite(part).all() for part in found)
    nothing = compute(np.zeros((1, 2, 4), "f4"), np.zeros((1, 2), bool), np.zeros((1, 4), "f4"))
    assert all(np.isfinite(part).all() for part in nothing)


def test_the_momenta_have_the_angles_to_the_jet_and_the_same_products():
    p4, mask, kinematics = jets()
    found = compute(p4, mask, kinematics)
    px, py, pz, _ = np.moveaxis(found.momenta_BP4[mask].astype("f8"), -1, 0)
    eta, phi = np.arcsinh(pz / np.hypot(px, py)), np.arctan2(py, px)
    np.testing.assert_allclose(eta, found.nodes_BPF[mask][:, NODES.index("delta_eta")], atol=1e-5)
    np.testing.assert_allclose(phi, found.nodes_BPF[mask][:, NODES.index("delta_phi")], atol=1e-5)
    metric = np.diag([-1, -1, -1, 1])
    before, after = (np.einsum("bpi,ij,bqj->bpq", x.astype("f8"), metric, x.astype("f8")) for x in (p4, found[1]))
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-2)


@given(
    hnp.arrays(np.float32, (3, 4), elements=st.floats(-(2.0**100), 2.0**100, width=32)),
    hnp.arrays(np.float32, (1, 4), elements=st.floats(-(2.0**100), 2.0**100, width=32)),
)
def test_no_momentum_is_too_large_for_squares(p4, jet):
    found = along_jet(p4[None], jet[:, 1], jet[:, 2])
    assert np.isfinite(found.astype("f4") ** 2).all()


@pytest.mark.parametrize("turned", [{"phi": 2.9}, {"phi": -1.3}, {"flip": -1.0}])
def test_features_do_not_see_where_the_jet_is(turned):
    for here, there in zip(compute(*jets()), compute(*jets(**turned)), strict=True):
        np.testing.assert_allclose(here, there, atol=2e-4)


@given(st.floats(-50, 50))
def test_angles_are_folded(angle):
    folded = float(wrap(np.float32(angle)))
    assert -np.pi - 1e-5 <= folded <= np.pi + 1e-5
    assert np.cos(folded) == pytest.approx(np.cos(angle), abs=1e-4)
    assert np.sin(folded) == pytest.approx(np.sin(angle), abs=1e-4)


@settings(deadline=None)
@given(
    rows=hnp.arrays(np.float64, st.tuples(st.integers(1, 40), st.just(3)), elements=st.floats(-1e3, 1e3)),
    cuts=st.lists(st.integers(0, 40), max_size=4),
)
def test_moments_do_not_depend_on_how_the_rows_come(rows, cuts):
    moments = Moments(3)
    for part in np.split(rows, sorted(min(cut, len(rows)) for cut in cuts)):
        moments.add(part)
    assert moments.count == len(rows)
    np.testing.assert_allclose(moments.mean, rows.mean(0), atol=1e-9)
    std = rows.std(0)
    np.testing.assert_allclose(moments.spread(), np.where(std > 1e-9, std, 1), atol=1e-6)


def scaler(features):
    nodes, globals_ = Moments(len(NODES)), Moments(len(GLOBALS))
    nodes.add(features.nodes_BPF[features.mask_BP])
    globals_.add(features.globals_BG)
    return Scaler.fitted(nodes, globals_)


def test_scaled_features_are_centred_and_padding_stays_zero():
    features = compute(*jets())
    scaled = scaler(features)(features)
    rows = scaled.nodes_BPF[scaled.mask_BP]
    np.testing.assert_allclose(rows.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(rows.std(0), 1, atol=1e-4)
    assert not scaled.nodes_BPF[~scaled.mask_BP].any()
    np.testing.assert_array_equal(scaled.momenta_BP4, features.momenta_BP4)
    assert scaled.nodes_BPF.dtype == scaled.globals_BG.dtype == np.float32


def test_a_scaler_is_read_back_and_refuses_other_features(tmp_path):
    path = tmp_path / "scaler.json"
    original = scaler(compute(*jets()))
    original.save(path)
    assert Scaler.load(path) == original
    values = read_json(path)
    write_json(path, {**values, "nodes": values["nodes"][::-1]})
    with pytest.raises(InputError, match="other features"):
        Scaler.load(path)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ([1], "no scaler"),
        ({}, "no scaler"),
        ("text", "no scaler"),
        ({"globals_std": None}, "damaged"),
        ({"nodes_mean": [1.0]}, "damaged"),
        ({"nodes_std": ["a"] * len(NODES)}, "damaged"),
    ],
)
def test_a_file_that_is_no_scaler_is_refused(tmp_path, content, problem):
    path = tmp_path / "scaler.json"
    scaler(compute(*jets())).save(path)
    write_json(path, {**read_json(path), **content} if problem == "damaged" else content)
    with pytest.raises(InputError, match=problem) as caught:
        Scaler.load(path)
    assert caught.value.details["file"] == str(path)
