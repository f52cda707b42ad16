"""Tracks of the embedded generator: helices, the tracker, truth, association with jets."""

import awkward as ak
import numpy as np
import pytest
import uproot
from pydantic import ValidationError

from bunchtrain.config.simulate import Simulate
from bunchtrain.config.specs import SimulateSpec
from bunchtrain.simulate import VERSION
from bunchtrain.simulate.flavour import distances, flavours, nearest, origins
from bunchtrain.simulate.helix import Perigee, approach, curvature, perigee
from bunchtrain.simulate.jets import Jets
from bunchtrain.simulate.rootfile import jet_file
from bunchtrain.simulate.run import simulate
from bunchtrain.simulate.tracker import Tracker
from bunchtrain.simulate.tracks import FIELDS, described

WINDOW = {"radius": 0.4, "pt_min": 20, "pt_max": 250, "eta_max": 2.5}


def spec(process="beauty", jets=400, tracks=(), **settings):
    settings = {**WINDOW, "tracks": None if tracks is None else dict(tracks), **settings}
    return SimulateSpec(version=VERSION, sample=process, process=process, shard=0, jets=jets, seed=3, settings=settings)


def arrays(path):
    with uproot.open(path) as file:
        return file["jets"].arrays()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Jets of each flavour."""
    folder = tmp_path_factory.mktemp("flavours")
    found = {}
    for process in ("beauty", "charm", "light"):
        path = folder / f"{process}.root"
        simulate(spec(process), path)
        found[process] = arrays(path)
    return found


def charges(ids):
    return np.sign(ids).astype(np.int8)


def particles(count, pt=5.0, eta=0.0, place=(0.0, 0.0, 0.0), phi=0.5, **columns):
    """Positive particles of one momentum, all of one event and place."""
    momenta = {"px": pt * np.cos(phi), "py": pt * np.sin(phi), "pz": pt * np.sinh(eta)}
    values = {**momenta, **dict(zip("xyz", place, strict=True)), "id": 211, "origin": 2, "event": 0, **columns}
    return {name: np.broadcast_to(np.asarray(value), (count,)).copy() for name, value in values.items()}


# Helices.


def test_a_straight_track_passes_where_it_points():
    found = perigee([1.0, 3.0], [0.0, 4.0], [5.0, 5.0], [np.pi / 2, 0.0], [1.0, 2.0], [0.0, 0.0])
    np.testing.assert_allclose(found.d0, [-1.0, 4.0])
    np.testing.assert_allclose(found.z0, [5.0, 5.0 - 2 * 3.0])
    np.testing.assert_allclose(found.phi, [np.pi / 2, 0.0], atol=1e-12)


def test_a_circle_through_known_points():
    """Radius 1 m around (0, 1.1 m): 10 cm from the beam, and a quarter of a turn on at (1 m, 1.1 m)."""
    bend = curvature([-1, 1], [0.599584916, 0.599584916], 2.0)
    np.testing.assert_allclose(bend, [1e-3, -1e-3])
    way = np.pi / 2 * 1000
    found = perigee([1000.0, 1000.0], [1100.0, 1100.0], [7.0, 7.0], [np.pi / 2, -np.pi / 2], [0.5, 0.5], bend)
    np.testing.assert_allclose(found.d0, [100.0, -100.0])
    np.testing.assert_allclose(np.cos(found.phi), [1.0, -1.0])
    # The negative one has come from the perigee, the positive one is on its way there.
    np.testing.assert_allclose(found.arc, [way, -way])
    np.testing.assert_allclose(found.z0, [7 - 0.5 * way, 7 + 0.5 * way])


@pytest.mark.parametrize("bend", [0.0, 1e-12, -1e-6, 3e-4, -1.2e-3])
def test_all_points_of_a_helix_have_its_perigee(bend):
    way = np.linspace(-200, 200, 9)
    d0, z0, phi, cot = 1.5, -3.0, 2.9, 0.7
    turn = bend * way
    step_x = way if abs(bend) < 1e-9 else np.sin(turn) / bend
    step_y = way * 0 if abs(bend) < 1e-9 else (1 - np.cos(turn)) / bend
    x = -d0 * np.sin(phi) + step_x * np.cos(phi) - step_y * np.sin(phi)
    y = d0 * np.cos(phi) + step_x * np.sin(phi) + step_y * np.cos(phi)
    found = perigee(x, y, z0 + way * cot, phi + turn, cot, np.full(9, bend))
    np.testing.assert_allclose(found.d0, d0, atol=1e-7)
    np.testing.assert_allclose(found.z0, z0, atol=1e-7)
    np.testing.assert_allclose(np.cos(found.phi - phi), 1.0)
    np.testing.assert_allclose(found.arc, way, atol=1e-6)
    there = approach(Perigee(*(np.full(9, one) for one in (d0, z0, phi, 0.0))), cot, bend, x, y, z0 + way * cot)
    np.testing.assert_allclose([there.d0, there.z0], 0.0, atol=1e-7)


# The tracker.


@pytest.mark.parametrize(("pt", "eta"), [(1.0, 0.0), (20.0, 0.0), (2.0, 1.5)])
def test_primary_tracks_have_the_resolution_that_is_stated(pt, eta):
    settings = {"efficiency": 1.0, "fakes": 0.0, "hit_efficiency": 1.0}
    found = Tracker(spec(tracks=settings), charges).reconstruct(particles(20000, pt, eta))
    assert len(found["d0"]) == 20000
    across = pt / np.sqrt(np.cosh(eta))
    expected = {"d0": np.hypot(0.010, 0.070 / across), "z0_sin_theta": np.hypot(0.050, 0.100 / across)}
    for name, sigma in expected.items():
        assert np.std(found[name]) == pytest.approx(sigma, rel=0.03)
        assert np.std(found[name] / found[f"{name}_error"]) == pytest.approx(1.0, abs=0.03)
        assert abs(np.mean(found[name])) < 0.05 * sigma
    momentum = pt * np.cosh(eta)
    assert np.std((found["q_over_p"] - 1 / momentum) / found["q_over_p_error"]) == pytest.approx(1.0, abs=0.05)
    np.testing.assert_allclose(found["pixel_hits"], 4)
    np.testing.assert_allclose(found["strip_hits"], 8)
    pion = np.sqrt(found["energy"] ** 2 - found["px"] ** 2 - found["py"] ** 2 - found["pz"] ** 2)
    np.testing.assert_allclose(pion, 0.13957, atol=1e-3)


def test_what_is_made_inside_the_detector_lacks_hits_and_precision_or_is_lost():
    settings = {"efficiency": 1.0, "fakes": 0.0, "hit_efficiency": 1.0, "d0_max": 100.0, "z0_sin_theta_max": 1000.0}
    tracker = Tracker(spec(tracks=settings), charges)
    hits = {}
    for radius in (0.0, 40.0, 100.0, 300.0):
        found = tracker.reconstruct(particles(2000, 5.0, place=(radius * np.cos(0.5), radius * np.sin(0.5), 0.0)))
        hits[radius] = len(found["d0"]) and [
            int(found[f"{n}_hits"][0]) for n in ("innermost", "next", "pixel", "strip")
        ]
        if radius == 40.0:
            assert np.std(found["d0"]) == pytest.approx(np.hypot(0.010, 0.070 / 5) * 51 / 33, rel=0.1)
    assert hits == {0.0: [1, 1, 4, 8], 40.0: [0, 1, 3, 8], 100.0: [0, 0, 1, 8], 300.0: 0}


def test_particles_outside_the_limits_and_neutral_ones_leave_nothing():
    tracker = Tracker(spec(tracks={"efficiency": 1.0, "fakes": 0.0}), charges)
    for one in (particles(50, eta=3.0), particles(50, id=0), particles(50, place=(0.0, 0.0, 40.0), eta=0.1)):
        assert len(tracker.reconstruct(one)["d0"]) == 0
    with_fakes = Tracker(spec(tracks={"efficiency": 0.8, "fakes": 0.5}), charges).reconstruct(particles(4000))
    assert (with_fakes["origin"] == 2).mean() == pytest.approx(0.8 / (0.8 + 0.4), abs=0.1)
    fakes = with_fakes["origin"] == 1
    assert (with_fakes["pixel_hits"] + with_fakes["strip_hits"])[fakes].max() == 7
    assert np.std(with_fakes["d0"][fakes]) > 10 * np.std(with_fakes["d0"][~fakes])


def test_a_displaced_particle_has_the_impact_parameter_of_its_flight():
    """A B of 3 mm along x, and a pion at 0.3 rad to it: d0 = 3 mm sin 0.3, on the side of the jet."""
    tracker = Tracker(spec(tracks={"efficiency": 1.0, "fakes": 0.0}), charges)
    found = tracker.reconstruct(particles(500, 10.0, place=(3.0, 0.0, 0.0), phi=np.array(0.3)))
    found["jet"] = np.zeros(len(found["d0"]), int)
    assert abs(np.mean(found["d0"])) == pytest.approx(3 * np.sin(0.3), rel=0.01)
    for axis, sign in ((0.0, 1), (np.pi - 0.1, -1)):
        tracks = described(dict(found), np.zeros(1), np.array([axis]), tracker)
        assert ak.all(np.sign(tracks.d0_significance) == sign)


# Tracks of jets.


def jets_of(tracker, count, jet, n=2, **columns):
    found = tracker.reconstruct(particles(count, **columns))
    return described({**found, "jet": np.full(len(found["d0"]), jet)}, np.zeros(n), np.full(n, 0.5), tracker)


def test_a_jet_without_tracks_and_one_with_more_than_are_kept(tmp_path):
    settings = spec(tracks={"efficiency": 1.0, "fakes": 0.0, "most": 5})
    tracker = Tracker(settings, charges)
    pt = np.linspace(1, 9, 9)
    tracks = jets_of(tracker, 9, 1, px=pt * np.cos(0.5), py=pt * np.sin(0.5))
    assert ak.num(tracks).tolist() == [0, 5]
    np.testing.assert_allclose(np.hypot(tracks.px, tracks.py)[1], pt[:3:-1], rtol=0.1)
    # Side by side on all pixel layers: every cluster is shared, or was split.
    assert ak.all((tracks.shared_hits + tracks.split_hits == tracks.pixel_hits)[1])
    columns = {name: np.ones(2) for name in ("weight", "pt", "eta", "phi", "mass")}
    parts = ak.zip({name: ak.Array([[1], [1]]) for name in ("px", "py", "pz", "energy", "id", "vertex", "charge")})
    jets = Jets(event=np.arange(2), parts=parts, flavour=np.zeros(2), tracks=tracks, **columns)
    with jet_file(tmp_path / "a.root", 1, True, settings.settings.tracks) as file:
        file.write(jets)
    read = arrays(tmp_path / "a.root")
    assert read.ntrack.tolist() == [0, 5] == read.jet_tracks.tolist()
    assert read.jet_first_significance[0] == read.jet_impact_sum[0] == read.jet_sv_tracks[0] == 0


def test_no_jets_at_all_have_no_tracks():
    tracker = Tracker(spec(), charges)
    assert len(jets_of(tracker, 0, 0, n=0)) == 0
    assert ak.num(jets_of(tracker, 4, -1)).tolist() == [0, 0]


def test_vertices_closer_than_a_tenth_of_a_millimetre_are_one():
    tracker = Tracker(spec(tracks={"efficiency": 1.0, "fakes": 0.0}), charges)
    x = np.array([0.05, 2.0, 2.08, 3.0, 0.0, 2.0])
    origin = np.array([3, 3, 4, 6, 2, 0])
    pt = np.array([9.0, 8.0, 7.0, 6.0, 5.0, 4.0])
    tracks = jets_of(tracker, 6, 0, x=x, origin=origin, px=pt * np.cos(0.5), py=pt * np.sin(0.5))[0]
    assert tracks.origin.tolist() == origin.tolist()
    assert tracks.vertex.tolist() == [0, 1, 1, 2, 0, -1]


# Truth.


def record(*rows):
    """One event of rows: PDG code, mother, pt, eta; what a quark or hadron decays to is made later."""
    ids, mothers, pt, eta = (np.array(column) for column in zip(*rows, strict=True))
    later = [None if mother < 2 else {"e": 1.0} for mother in mothers]
    momentum = ak.zip({"px": pt * 1.0, "py": pt * 0.0, "pz": pt * np.sinh(eta)})
    return ak.Array([{"id": ids, "mother1": mothers, "p": momentum, "vProd": later}])


def test_the_nearest_weak_decay_is_the_origin():
    events = record(
        (90, 0, 1, 0.0),
        (-5, 0, 30, 0.0),
        (-513, 1, 25, 0.0),  # B*0bar from the string
        (-511, 2, 25, 0.0),
        (413, 3, 15, 0.0),  # D*+
        (211, 3, 5, 0.0),  # from b
        (421, 4, 12, 0.0),
        (211, 4, 1, 0.0),  # of the D*: where the b decays
        (310, 6, 6, 0.0),
        (-321, 6, 5, 0.0),  # from b to c
        (211, 8, 3, 0.0),  # of the K_S
        (15, 3, 3, 0.0),
        (-211, 11, 3, 0.0),  # of a tau of a b
        (211, 1, 2, 0.0),  # of the string
        (431, 1, 9, 0.0),
        (-15, 14, 5, 0.0),
        (321, 14, 5, 0.0),  # from c
        (15, 0, 9, 0.0),
        (211, 17, 9, 0.0),  # of a tau
        (1, 3, 9, 0.0),  # a b hadron that decays to partons
        (111, 19, 9, 0.0),
        (211, 20, 9, 0.0),
    )
    found = dict(enumerate(origins(events)[0].to_list()))
    expected = {5: 3, 7: 3, 9: 4, 10: 6, 12: 3, 13: 2, 15: 5, 16: 5, 18: 6, 21: 3}
    assert {place: found[place] for place in expected} == expected


def test_a_hadron_labels_the_closest_jet_alone():
    jets = ak.Array([[{"pt": 50.0, "eta": 0.0, "phi": 0.0}, {"pt": 40.0, "eta": 0.45, "phi": 0.0}], []])
    hadrons = ((511, 0, 20, 0.2), (421, 0, 20, 0.4), (411, 0, 20, 0.0), (521, 0, 4.9, 0.45))
    events = ak.concatenate([record(*hadrons), record((521, 0, 20, 0.0))])
    assert flavours(jets, events).to_list() == [[5, 4], []]
    assert flavours(jets, ak.concatenate([record((211, 0, 20, 0.0))] * 2)).to_list() == [[0, 0], []]
    assert distances(jets, events.p)[0, 1].to_list() == pytest.approx([0.25, 0.05, 0.45, 0.0])
    assert nearest(jets, events.p, 0.1)[0].to_list() == [[False, False, True, False], [False, True, False, True]]


@pytest.mark.parametrize(("process", "flavour"), [("beauty", 5), ("charm", 4), ("light", 0)])
def test_jets_have_the_flavour_of_their_process(made, process, flavour):
    jets = made[process]
    assert len(jets) == 400 and ak.all(jets.jet_flavour == flavour)
    assert ak.all((jets.jet_pt >= 20) & (jets.jet_pt < 250) & (abs(jets.jet_eta) < 2.5))
    assert 3 < ak.mean(jets.ntrack) < 15
    pt = np.hypot(jets.track_px, jets.track_py)
    assert ak.all(pt[:, 1:] <= pt[:, :-1]) and ak.all(pt >= 0.4999)
    assert set(FIELDS) == {name.removeprefix("track_") for name in jets.fields if name.startswith("track_")}


def test_origins_are_those_that_the_flavour_has(made):
    share = {
        process: np.bincount(ak.to_numpy(ak.flatten(jets.track_origin)), minlength=7) / ak.sum(jets.ntrack)
        for process, jets in made.items()
    }
    assert share["beauty"][3] > 0.2 and share["beauty"][4] > 0.15
    assert share["charm"][5] > 0.25 and share["charm"][3] < 0.005
    assert share["light"][3:6].sum() < 0.01 and share["light"][2] > 0.85
    assert all(one[0] == 0 and 0 < one[1] < 0.06 and 0 < one[6] < 0.1 for one in share.values())


def test_tracks_of_a_vertex_share_their_family(made):
    """What a vertex holds is of one decay, but for those that nothing tells apart."""
    jets = made["beauty"]
    number = ak.to_numpy(ak.flatten(jets.track_vertex))
    origin = ak.to_numpy(ak.flatten(jets.track_origin))
    assert (number[origin == 1] == -1).all() and (number[origin != 1] >= 0).all()
    assert (number[origin == 2] == 0).all()
    jet = np.repeat(np.arange(len(jets)), ak.to_numpy(jets.ntrack))
    groups = [set(origin[(jet == j) & (number == v)]) for j, v in {*zip(jet, number, strict=True)} if v > 0]
    assert np.mean([len(one) == 1 for one in groups]) > 0.9
    assert all(one <= {3, 4, 5, 6} for one in groups)
    most = ak.max(jets.track_vertex, axis=1)
    assert ak.all(most < jets.ntrack + 1) and ak.mean(most > 0) > 0.7


def test_b_hadrons_fly_as_far_as_they_live():
    """c τ is 0.45 to 0.49 mm for all but the Λ_b, 0.44 mm; in units of p/m · c τ the decay length has mean 1."""
    from bunchtrain.simulate.generator import PROCESSES, Generator, steering

    one = spec()
    events = Generator(one, 5, steering("beauty", one.settings, 5)).batch(400).prt
    momentum, ids = events.p, abs(events.id)
    mesons = (ids == 511) | (ids == 521)
    child = events.daughter1[mesons]
    ends = events.vProd[child]
    length = ak.flatten(np.sqrt(ends.px**2 + ends.py**2 + ends.pz**2))
    boost = ak.flatten(np.sqrt(momentum.px**2 + momentum.py**2 + momentum.pz**2)[mesons]) / 5.279
    proper = ak.to_numpy(ak.fill_none(length, 0.0)) / ak.to_numpy(boost)
    assert PROCESSES["beauty"].flavour == 5 and len(proper) > 400
    assert np.mean(proper) == pytest.approx(0.47, rel=0.15)
    assert np.mean(proper > 0.47) == pytest.approx(np.exp(-1), abs=0.08)


def test_primary_significances_are_of_unit_width(made):
    jets = made["light"]
    pull = ak.to_numpy(ak.flatten(jets.track_d0_significance[jets.track_origin == 2]))
    assert np.std(np.clip(pull, -5, 5)) == pytest.approx(1.0, abs=0.06)
    assert abs(np.mean(pull > 0) - 0.5) < 0.05


# Files.


def test_the_same_spec_gives_the_same_tracks(tmp_path, made):
    simulate(spec("charm", 30), tmp_path / "a.root")
    simulate(spec("charm", 30), tmp_path / "b.root")
    assert (tmp_path / "a.root").read_bytes() == (tmp_path / "b.root").read_bytes()


def test_without_tracks_nothing_is_said_of_them(tmp_path):
    plain, seen = Simulate(), Simulate(tracks={})
    assert "tracks" not in plain.model_dump(mode="json") and "tracks" not in plain.model_dump_json()
    assert Simulate.model_validate(seen.model_dump(mode="json")) == seen
    simulate(spec("qcd", 3, tracks=None), tmp_path / "a.root")
    assert not [one for one in arrays(tmp_path / "a.root").fields if "track" in one or "flavour" in one or "sv" in one]
    simulate(spec("beauty", 3, tracks=None), tmp_path / "b.root")
    assert arrays(tmp_path / "b.root").jet_flavour.tolist() == [5, 5, 5]


def test_pileup_is_labelled_and_mostly_kept_out(tmp_path):
    crowd = {"pileup": 20, "pileup_pool": 40}
    simulate(spec("light", 30, **crowd), tmp_path / "a.root")
    jets = arrays(tmp_path / "a.root")
    origin, number = ak.flatten(jets.track_origin), ak.flatten(jets.track_vertex)
    assert 0 < ak.mean(origin == 0) < 0.5
    assert ak.all(number[origin == 0] == -1)
    assert ak.all(abs(jets.track_z0_sin_theta) < 5)
    charged = (jets.part_charge != 0) & (jets.part_vertex > 0)
    assert ak.sum(charged) > 2 * ak.sum(origin == 0)


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"pt_min": 0.3}, "below constituent_pt_min"),
        ({"d0": [0.0, 0.07]}, "a above 0"),
        ({"d0": [0.01]}, "two numbers"),
        ({"pixel_radii": [50.0, 30.0]}, "from the innermost layer outwards"),
        ({"strip_radii": [100.0, 300.0]}, "raise strip_radii"),
        ({"least_hits": 13}, "more than all layers give, 12"),
        ({"efficiency": 1.2}, "less than or equal to 1"),
        ({"magnet": 2.0}, "Extra inputs"),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong, problem):
    with pytest.raises(ValidationError, match=problem):
        Simulate(tracks=wrong)


@pytest.mark.parametrize(
    "tracks",
    [
        {"efficiency": 0.0},
        {"strip_radii": [], "least_hits": 3, "fakes": 0.5},
        {"field": 0.001, "eta_max": 5.0, "decay_strange": False},
        {"most": 1, "radius": 2.0, "field": 10.0, "two_track_distance": 100.0},
        {name: [1e-12, 0.0] for name in ("d0", "z0_sin_theta", "phi", "theta", "curvature")},
    ],
)
def test_odd_trackers_give_numbers(tmp_path, tracks):
    simulate(spec(jets=30, tracks=tracks), tmp_path / "a.root")
    jets = arrays(tmp_path / "a.root")
    for name in jets.fields:
        assert np.isfinite(ak.to_numpy(ak.flatten(jets[name], axis=None))).all(), name
    assert ak.max(jets.ntrack) <= tracks.get("most", 40)
    assert ak.all(jets.jet_sv_tracks <= jets.ntrack)
