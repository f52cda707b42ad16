"""What variations do to jets, against what physics says they do."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bunchtrain import registry
from bunchtrain.errors import CampaignError, InputError
from bunchtrain.events import chance
from bunchtrain.events.layout import Column, required
from bunchtrain.events.reader import Dataset
from bunchtrain.events.variations.base import FAMILY, opened
from bunchtrain.prepare.run import prepare
from toys import CLASSES, as_events, prepare_spec, toy_jets, write_events

INPUTS, VARIABLES = ["charge", "deposit", "curvature"], ["width", "heat"]
MORE = {
    "constituents/charge": Column("charge", "f4", "1", "charge"),
    "constituents/deposit": Column("deposit", "f4", "GeV", "an energy"),
    "constituents/curvature": Column("curvature", "f4", "1/GeV", "one over a momentum"),
    "jets/width": Column("width", "f4", "1", "a number"),
    "jets/heat": Column("heat", "f4", "GeV", "an energy"),
    "systematics/up/jets/pt": Column("pt", "f4", "GeV", "varied"),
    "systematics/up/constituents/px": Column("px", "f4", "GeV", "varied"),
    "systematics/up/constituents/charge": Column("charge", "f4", "1", "varied"),
}
PAIRED = {
    "energy_scale": {"factor": 1.1},
    "energy_resolution": {"smearing": 0.1},
    "efficiency": {"lost": 0.2},
    "columns": {"variation": "up"},
}


def shard(path, label, jets=300, seed=0):
    columns, constituents, counts = toy_jets(label, jets, seed)
    random, total = np.random.default_rng([seed, label, 7]), len(constituents["px"])
    constituents |= {
        "charge": random.integers(-1, 2, total).astype("f4"),
        "deposit": (constituents["energy"] * 0.5).astype("f4"),
        "curvature": (1 / constituents["energy"]).astype("f4"),
    }
    columns |= {"width": random.normal(size=jets).astype("f4"), "heat": columns["pt"] * np.float32(2)}
    events = as_events(columns, constituents, counts).joined(
        {
            "systematics/up/jets/pt": columns["pt"] * np.float32(1.5),
            "systematics/up/constituents/px": constituents["px"] * np.float32(2),
            "systematics/up/constituents/charge": -constituents["charge"],
        }
    )
    source = {"path": path.name, "sha256": path.name}
    attributes = {"sample": CLASSES[label], "classes": json.dumps(CLASSES), "source_files": json.dumps([source])}
    write_events(path, events, attributes=attributes, layout={**required("jets"), **MORE})
    return path


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("varied")
    shards = [shard(folder / f"{label}.h5", label) for label in (0, 1)]
    prepare(prepare_spec(inputs=INPUTS, variables=VARIABLES), shards, folder)
    return folder / "dataset.h5"


def varied(dataset, kind, seed=1, **options):
    return opened({"kind": kind, **options}, dataset, seed)


def raws(dataset, kind, seed=1, particles=40, **options):
    """What features are computed from, nominal and varied, of all jets."""
    one, other = Dataset(dataset), varied(dataset, kind, seed, **options)
    rows = np.arange(len(one))
    return one.raw(rows, particles), other.raw(rows, particles)


def test_there_are_kinds_and_each_is_tried_here():
    assert set(registry.kinds(FAMILY)) == {*PAIRED, "simulation"}
    assert {kind for kind in registry.kinds(FAMILY) if registry.constant(FAMILY, kind, "PAIRED")} == set(PAIRED)


@settings(max_examples=20, deadline=None)
@given(factor=st.floats(0.1, 10))
def test_scaling_scales_energies_and_leaves_angles(dataset, factor):
    nominal, scaled = raws(dataset, "energy_scale", factor=factor)
    np.testing.assert_allclose(scaled.p4_BP4, nominal.p4_BP4 * factor, rtol=1e-6)
    np.testing.assert_allclose(scaled.jets_B4[:, [0, 3]], nominal.jets_B4[:, [0, 3]] * factor, rtol=1e-6)
    np.testing.assert_array_equal(scaled.jets_B4[:, 1:3], nominal.jets_B4[:, 1:3])
    np.testing.assert_array_equal(scaled.mask_BP, nominal.mask_BP)
    for place, power in enumerate((0, 1, -1)):
        expected = nominal.inputs_BPI[..., place] * factor**power
        np.testing.assert_allclose(scaled.inputs_BPI[..., place], expected, rtol=1e-5)
    np.testing.assert_array_equal(scaled.variables_BV[:, 0], nominal.variables_BV[:, 0])
    np.testing.assert_allclose(scaled.variables_BV[:, 1], nominal.variables_BV[:, 1] * factor, rtol=1e-6)


def test_the_mass_of_scaled_constituents_is_the_scaled_mass(dataset):
    """Of the constituents themselves, not of the column: it was not only relabelled."""
    nominal, scaled = raws(dataset, "energy_scale", factor=1.3)
    masses = []
    for raw in (nominal, scaled):
        total = raw.p4_BP4.astype("f8").sum(1)
        masses.append(np.sqrt(total[:, 3] ** 2 - (total[:, :3] ** 2).sum(1)))
    np.testing.assert_allclose(masses[1], 1.3 * masses[0], rtol=1e-4)
    np.testing.assert_allclose(masses[1], scaled.jets_B4[:, 3], rtol=1e-3)


def test_angles_and_fractions_that_a_network_sees_stay(dataset):
    one, other = Dataset(dataset), varied(dataset, "energy_scale", factor=1.5)
    rows = np.arange(len(one))
    before, after = one.features(rows), other.features(rows)
    np.testing.assert_allclose(after.nodes_BPF[..., 2:7], before.nodes_BPF[..., 2:7], atol=2e-5)
    np.testing.assert_allclose((after.nodes_BPF - before.nodes_BPF)[..., :2][before.mask_BP], np.log(1.5), atol=1e-5)
    heavy = before.globals_BG[:, 0] > 0  # below 1 GeV the logarithm ends
    assert heavy.mean() > 0.9
    np.testing.assert_allclose((after.globals_BG - before.globals_BG)[heavy, :2], np.log(1.5), atol=1e-5)


@pytest.mark.parametrize(("kind", "options"), [("energy_scale", {"factor": 1.0}), ("efficiency", {"lost": 0.0})])
def test_no_change_is_none_to_the_bit(dataset, kind, options):
    one, other = Dataset(dataset), varied(dataset, kind, **options)
    rows = np.arange(len(one))
    for before, after in zip(one.features(rows), other.features(rows), strict=True):
        np.testing.assert_array_equal(before, after)


def test_smearing_has_mean_one_and_the_width_asked_for(dataset):
    width = 0.1
    nominal, smeared = raws(dataset, "energy_resolution", smearing=width)
    factors = smeared.jets_B4[:, 0] / nominal.jets_B4[:, 0]
    count = len(factors)
    assert abs(factors.mean() - 1) < 4 * width / np.sqrt(count)
    assert abs(factors.std() / width - 1) < 4 / np.sqrt(2 * count)
    own = smeared.p4_BP4[..., 3][:, 0] / nominal.p4_BP4[..., 3][:, 0]
    np.testing.assert_allclose(own, factors, rtol=1e-5)
    np.testing.assert_allclose(smeared.jets_B4[:, 3], nominal.jets_B4[:, 3] * factors, rtol=1e-5)


def test_random_numbers_are_normal_and_even():
    keys = chance.keys(chance.seeded("a"), np.arange(100_000, dtype="u8"))
    z, u = chance.normal(keys), chance.uniform(keys)
    assert abs(z.mean()) < 4 / np.sqrt(len(z)) and abs(z.std() - 1) < 4 / np.sqrt(2 * len(z))
    assert abs(np.mean(np.abs(z) < 1) - 0.6827) < 0.006 and np.isfinite(z).all()
    assert u.min() >= 0 and u.max() < 1
    assert np.abs(np.histogram(u, 20, (0, 1))[0] / 5000 - 1).max() < 0.06
    assert abs(np.corrcoef(z[1:], z[:-1])[0, 1]) < 0.015
    items = chance.uniform(chance.of_items(keys[:1000], 50))
    assert abs(np.corrcoef(items[:, 0], items[:, 1])[0, 1]) < 0.12 and len(np.unique(items)) == items.size


@pytest.mark.parametrize("column", [None, "charge"])
def test_the_share_asked_for_is_lost_and_only_of_those_that_can_be(dataset, column):
    lost = 0.2
    nominal, fewer = raws(dataset, "efficiency", lost=lost, column=column)
    charged = nominal.mask_BP & (nominal.inputs_BPI[..., 0] != 0)
    exposed = nominal.mask_BP if column is None else charged
    gone = nominal.mask_BP.sum() - fewer.mask_BP.sum()
    total = exposed.sum()
    assert abs(gone - lost * total) < 4 * np.sqrt(total * lost * (1 - lost))
    np.testing.assert_array_equal(fewer.multiplicity_B, fewer.mask_BP.sum(1))
    np.testing.assert_array_equal(fewer.jets_B4, nominal.jets_B4)
    if column:
        neutral = [(raw.mask_BP & (raw.inputs_BPI[..., 0] == 0)).sum(1) for raw in (nominal, fewer)]
        np.testing.assert_array_equal(*neutral)


def test_who_is_left_is_one_of_those_who_were_there_in_their_order(dataset):
    nominal, fewer = raws(dataset, "efficiency", lost=0.4)
    for jet in range(0, len(nominal.mask_BP), 17):
        before, after = (raw.p4_BP4[jet][raw.mask_BP[jet]][:, 3].tolist() for raw in (nominal, fewer))
        places = [before.index(energy) for energy in after]
        assert places == sorted(places)
        assert not fewer.p4_BP4[jet][~fewer.mask_BP[jet]].any()


def test_softer_constituents_come_up_where_harder_ones_are_lost(dataset):
    """With 5 kept of up to 29 most jets still have 5."""
    nominal, fewer = raws(dataset, "efficiency", particles=5, lost=0.4)
    many = nominal.multiplicity_B > 25
    assert fewer.mask_BP[many].all() and (fewer.p4_BP4[many] != nominal.p4_BP4[many]).any()
    data = varied(dataset, "efficiency", lost=0.4)
    rows = np.flatnonzero(many)
    assert (data.counts(rows) <= Dataset(dataset).counts(rows)).all() and data.features(rows).mask_BP.any()


def test_a_jet_loses_the_momenta_of_its_lost_constituents_where_that_is_asked(dataset):
    nominal, fewer = raws(dataset, "efficiency", lost=0.3, jet=True)
    total = fewer.p4_BP4.astype("f8").sum(1)
    some = fewer.mask_BP.any(1)
    np.testing.assert_allclose(fewer.jets_B4[some, 0], np.hypot(total[some, 0], total[some, 1]), rtol=2e-3)
    untouched = (fewer.mask_BP.sum(1) == nominal.mask_BP.sum(1)) & some
    assert untouched.any() and (~untouched).any()
    np.testing.assert_array_equal(fewer.jets_B4[untouched], nominal.jets_B4[untouched])
    assert np.isfinite(fewer.jets_B4).all()


def test_what_is_known_of_constituents_stays_with_them(dataset):
    """The truth from which a task learns is read in the same order as the momenta."""
    data, rows = varied(dataset, "efficiency", lost=0.4), np.arange(100)
    truth, raw = data.truth(["charge"], rows, 12), data.raw(rows, 12)
    np.testing.assert_array_equal(truth[..., 0], raw.inputs_BPI[..., 0])


def test_columns_are_those_of_the_conversion(dataset):
    nominal, other = raws(dataset, "columns", variation="up")
    np.testing.assert_allclose(other.jets_B4[:, 0], nominal.jets_B4[:, 0] * 1.5)
    np.testing.assert_allclose(other.p4_BP4[..., 0], nominal.p4_BP4[..., 0] * 2)
    np.testing.assert_array_equal(other.p4_BP4[..., 1:], nominal.p4_BP4[..., 1:])
    np.testing.assert_array_equal(other.inputs_BPI[..., 0], -nominal.inputs_BPI[..., 0])
    np.testing.assert_array_equal(other.jets_B4[:, 1:], nominal.jets_B4[:, 1:])


@pytest.mark.parametrize("kind", PAIRED)
def test_a_jet_is_varied_alike_in_whatever_batch_it_comes(dataset, kind):
    data = varied(dataset, kind, **PAIRED[kind])
    rows = np.random.default_rng(3).permutation(len(data))[:200]
    whole = data.features(rows)
    parts = [data.features(rows[start : start + 7]) for start in range(0, 200, 7)]
    for place, values in enumerate(whole):
        np.testing.assert_array_equal(values, np.concatenate([part[place] for part in parts]))
    again = varied(dataset, kind, **PAIRED[kind]).features(rows[::-1])
    np.testing.assert_array_equal(whole.nodes_BPF, again.nodes_BPF[::-1])


@pytest.mark.parametrize("kind", ["energy_resolution", "efficiency"])
def test_another_seed_is_another_chance_and_jets_of_one_event_have_their_own(dataset, kind):
    rows = np.arange(100)
    one, other = (varied(dataset, kind, seed, **PAIRED[kind]).features(rows).nodes_BPF for seed in (1, 2))
    assert not np.array_equal(one, other)
    keys = varied(dataset, kind, **PAIRED[kind]).keys(rows)
    assert len(np.unique(keys)) == len(keys)


def test_what_is_not_there_names_the_nearest(dataset):
    for kind, options, found in (
        ("columns", {"variation": "upp"}, "up"),
        ("efficiency", {"lost": 0.1, "column": "charg"}, "charge"),
    ):
        with pytest.raises(InputError) as caught:
            varied(dataset, kind, **options)
        assert caught.value.details["nearest"] == found
    with pytest.raises(CampaignError) as caught:
        varied(dataset, "energy_scales", factor=1.0)
    assert caught.value.details["nearest"] == "energy_scale"
