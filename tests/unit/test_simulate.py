"""The embedded generator: seeds, selection, matching, and the ROOT file."""

import json
import typing

import awkward as ak
import numpy as np
import pytest
import uproot

from bunchtrain import provenance
from bunchtrain.config import samples
from bunchtrain.config.dijets import Dijets
from bunchtrain.config.simulate import Simulate
from bunchtrain.config.specs import SimulateSpec
from bunchtrain.errors import CampaignError
from bunchtrain.simulate import VERSION, pileup
from bunchtrain.simulate.dijets import _shapes, _subjettiness, find_dijets
from bunchtrain.simulate.generator import PROCESSES, Process, pythia_seed, run_number, steering
from bunchtrain.simulate.jets import find_jets
from bunchtrain.simulate.run import simulate

#: Those whose rows are single jets.
OF_JETS = [name for name in PROCESSES if name not in samples.OF_PAIRS]


def spec(process="top", jets=50, shard=0, seed=1, sample=None, **settings):
    return SimulateSpec(
        version=VERSION, sample=sample or process, process=process, shard=shard, jets=jets, seed=seed, settings=settings
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """One file of each process, opened: arrays and metadata."""
    folder = tmp_path_factory.mktemp("simulated")
    found = {}
    for process in OF_JETS:
        path = folder / f"{process}.root"
        simulate(spec(process), path)
        with uproot.open(path) as file:
            found[process] = path, file["jets"].arrays(), json.loads(str(file["metadata"]))
    return found


def test_every_process_of_the_campaign_can_be_made():
    assert set(PROCESSES) | samples.OF_EVENTS | samples.OF_SHOWERS | samples.OF_PROBES == set(
        typing.get_args(samples.Process)
    )


@pytest.mark.parametrize("process", OF_JETS)
def test_jets_are_inside_the_window_and_are_their_constituents(made, process):
    _, jets, _ = made[process]
    assert len(jets) == 50
    assert ak.all((jets.jet_pt >= 500) & (jets.jet_pt < 1000) & (abs(jets.jet_eta) < 2))
    pt = np.hypot(jets.part_px, jets.part_py)
    assert ak.all(pt > 0.499)
    assert ak.all(pt[:, 1:] <= pt[:, :-1])
    px, py, pz, energy = (ak.sum(jets[f"part_{name}"], axis=1) for name in ("px", "py", "pz", "energy"))
    np.testing.assert_allclose(np.hypot(px, py), jets.jet_pt, rtol=1e-4)
    np.testing.assert_allclose(np.arcsinh(pz / np.hypot(px, py)), jets.jet_eta, atol=1e-4)
    np.testing.assert_allclose(np.arctan2(py, px), jets.jet_phi, atol=1e-4)
    np.testing.assert_allclose(np.sqrt(energy**2 - px**2 - py**2 - pz**2), jets.jet_mass, atol=0.3)
    assert not np.isin(np.abs(ak.to_numpy(ak.flatten(jets.part_id))), (12, 14, 16)).any()


@pytest.mark.parametrize("process", OF_JETS)
def test_numbers_of_events_are_unique_and_shared_by_two_jets_at_most(made, process):
    _, jets, about = made[process]
    assert set(jets.run_number.to_list()) == {run_number(spec(process))}
    _, counts = np.unique(ak.to_numpy(jets.event_number), return_counts=True)
    assert counts.max() <= 2
    assert ak.all(jets.event_number < about["events"])
    assert ak.all(jets.event_number[1:] >= jets.event_number[:-1])


def test_the_processes_have_the_masses_of_what_decays(made):
    masses = {process: float(np.median(jets.jet_mass)) for process, (_, jets, _) in made.items()}
    assert 140 < masses["top"] < 190
    assert 75 < masses["wz"] < 100
    assert 65 < masses["w"] < masses["z"] < 105 and 110 < masses["higgs"] < 135
    assert masses["qcd"] < 110


def test_gluons_make_more_constituents_than_quarks(made):
    many = {process: float(np.mean(ak.num(jets.part_px))) for process, (_, jets, _) in made.items()}
    assert many["gluon"] > 1.2 * many["quark"]


def test_the_file_says_how_it_was_made(made):
    path, _, about = made["top"]
    assert about["generator"] == "Pythia" and about["generator_version"] == "8.317"
    assert about["seed"] == pythia_seed(spec("top")) and about["process"] == "top"
    assert 0.1 < about["cross_section_pb"] < 10  # boosted top pairs at 13 TeV
    assert 0 < about["cross_section_error_pb"] < about["cross_section_pb"]
    assert about["sum_of_weights"] == about["events"] <= about["events_generated"] <= about["phase_space_points_tried"]
    assert Simulate.model_validate(about["settings"]) == Simulate()
    record = provenance.read(path)
    assert record["stage"] == "simulate" and record["facts"] == about
    assert record["spec"]["version"] == VERSION


def test_the_same_spec_gives_the_same_bytes_and_another_seed_others(tmp_path, made, capfd):
    simulate(spec("top"), tmp_path / "again.root")
    assert (tmp_path / "again.root").read_bytes() == made["top"][0].read_bytes()
    simulate(spec("top", seed=2, jets=1), tmp_path / "other.root")
    with uproot.open(tmp_path / "other.root") as file:
        other = file["jets"].arrays()
    assert len(other) == 1
    assert other.jet_pt[0] != made["top"][1].jet_pt[0]
    output = capfd.readouterr().out
    assert all(line.startswith("[simulate] top shard 0") for line in output.splitlines()), output


def test_seeds_and_runs_of_shards_and_samples_are_distinct():
    specs = [spec(sample=sample, shard=shard, seed=seed) for sample in "ab" for shard in range(50) for seed in (1, 2)]
    seeds = {pythia_seed(one) for one in specs}
    assert len(seeds) == len({run_number(one) for one in specs}) == len(specs)
    assert min(seeds) >= 1 and max(seeds) <= 900_000_000


def particle(number, px, py, pz, mass, status=1, daughters=(0, 0)):
    energy = np.sqrt(px**2 + py**2 + pz**2 + mass**2)
    momentum = {"px": float(px), "py": float(py), "pz": float(pz), "e": float(energy)}
    return {"id": number, "status": status, "daughter1": daughters[0], "daughter2": daughters[1], "p": momentum}


def top_event(quark_py):
    """A top that recoils, then decays to b and a W that recoils; two jets, a neutrino, a photon too soft."""
    return [
        particle(6, -700, 0, 0, 173, status=-22, daughters=(1, 1)),
        particle(6, 600, 0, 0, 173, status=-62, daughters=(2, 3)),
        particle(24, 300, 0, 0, 80, status=-22, daughters=(4, 4)),
        particle(5, 300, 0, 0, 5, status=-23, daughters=(7, 7)),
        particle(24, 300, 0, 0, 80, status=-52, daughters=(5, 6)),
        particle(1, 150, quark_py, 0, 0, status=-23, daughters=(7, 7)),
        particle(-2, 150, -quark_py, 0, 0, status=-23, daughters=(7, 7)),
        particle(211, 600, 10, 0, 0.14),
        particle(12, 900, 0, 0, 0),
        particle(-211, -20, 650, 0, 0.14),
        particle(22, 0.1, 0.1, 0, 0),
    ]


@pytest.fixture(scope="module")
def crowded(tmp_path_factory):
    """Tops with pile-up, a small pool: arrays and the file."""
    path = tmp_path_factory.mktemp("pileup") / "top.root"
    simulate(spec("top", pileup=20, pileup_pool=60), path)
    with uproot.open(path) as file:
        return path, file["jets"].arrays()


def summed(jets, chosen):
    """Return pt and mass of the chosen constituents of each jet."""
    px, py, pz, energy = (ak.sum(jets[f"part_{name}"][chosen], axis=1) for name in ("px", "py", "pz", "energy"))
    return np.hypot(px, py), np.sqrt(np.maximum(energy**2 - px**2 - py**2 - pz**2, 0))


def test_pileup_makes_jets_heavier_and_what_is_of_the_hard_process_stays(made, crowded):
    jets, clean = crowded[1], made["top"][1]
    assert ak.all(clean.part_vertex == 0)
    assert np.median(jets.jet_mass) > 1.1 * np.median(clean.jet_mass)
    hard_pt, hard_mass = summed(jets, jets.part_vertex == 0)
    assert 140 < np.median(hard_mass) < 190 and ak.all(hard_pt > 0.7 * jets.jet_pt)
    pt, mass = summed(jets, jets.part_vertex >= 0)
    np.testing.assert_allclose(pt, jets.jet_pt, rtol=1e-4)
    np.testing.assert_allclose(mass, jets.jet_mass, atol=0.3)
    # In a jet of radius 0.8, a collision of the pile-up leaves of the order of a GeV of pt.
    crowd = ak.sum(np.hypot(jets.part_px, jets.part_py)[jets.part_vertex > 0], axis=1)
    assert 0.3 < np.mean(crowd) / 20 < 3


def test_jets_with_pileup_are_the_same_bytes_again(crowded, tmp_path):
    simulate(spec("top", pileup=20, pileup_pool=60), tmp_path / "again.root")
    assert (tmp_path / "again.root").read_bytes() == crowded[0].read_bytes()


def test_charges_are_those_of_the_particles(made):
    jets = made["qcd"][1]
    charges = dict(zip(ak.to_list(ak.flatten(jets.part_id)), ak.to_list(ak.flatten(jets.part_charge)), strict=True))
    assert charges.items() >= {211: 1, -211: -1, 22: 0}.items()
    assert charges.get(2212, 1) == 1 and charges.get(11, -1) == -1 and charges.get(130, 0) == 0


def test_collisions_are_drawn_whole_and_turned(monkeypatch):
    """Three collisions of 1, 0 and 2 particles, told apart by their pz."""
    columns = {"px": [3.0, 0.0, 1.0], "py": [4.0, 2.0, 0.0], "pz": [0.0, 1.0, 2.0], "energy": [5.0] * 3, "id": [22] * 3}
    pool = {name: np.array(values) for name, values in columns.items()}, np.array([1, 0, 2])
    monkeypatch.setattr(pileup, "_pool", lambda *_: pool)
    crowd = pileup.Pileup(spec(pileup=3)).draw(400)
    assert len(crowd) == 400
    kinds = set()
    for event in ak.to_list(crowd):
        members = {number: [one["pz"] for one in event if one["vertex"] == number] for number in range(1, 40)}
        kinds |= {tuple(pz) for pz in members.values()}
        assert sum(map(len, members.values())) == len(event)
    assert kinds == {(), (0.0,), (1.0, 2.0)}
    flat = ak.flatten(crowd)
    np.testing.assert_allclose(np.hypot(flat.px, flat.py), np.array([5.0, 2.0, 1.0])[ak.to_numpy(flat.pz).astype(int)])
    turns = np.arctan2(flat.py, flat.px)[flat.pz == 0.0]
    assert -0.2 < np.mean(np.cos(turns)) < 0.2 and len(np.unique(turns)) == len(turns)
    # Of a collision's particles all are turned by the same angle.
    second, third = flat[flat.pz == 1.0], flat[flat.pz == 2.0]
    turn = np.arctan2(second.py, second.px) - np.arctan2(third.py, third.px)
    np.testing.assert_allclose(np.cos(turn), 0, atol=1e-12)
    assert 2.7 < ak.sum(crowd.pz == 0.0) / 400 * 3 < 3.3


def test_a_jet_must_hold_the_whole_decay():
    contained, spread = (ak.Array([{"prt": top_event(py), "info": {"weights": [0.5]}}]) for py in (60.0, 300.0))
    settings = Simulate()
    both = find_jets(contained, settings, Process(()))
    np.testing.assert_allclose(both.pt, [np.hypot(20, 650), np.hypot(600, 10)], rtol=1e-6)
    matched = find_jets(contained, settings, Process((), (6,)))
    np.testing.assert_allclose(matched.pt, [np.hypot(600, 10)], rtol=1e-6)
    assert ak.to_list(matched.parts.id) == [[211]]
    assert matched.weight.tolist() == [0.5] and matched.event.tolist() == [0]
    # The quarks of the W fly at more than the radius: the jet holds a part of the top and is dropped.
    assert len(find_jets(spread, settings, Process((), (6,))).pt) == 0
    assert len(find_jets(spread, settings, Process((), (24,))).pt) == 0
    assert len(find_jets(contained, settings, Process((), (23,))).pt) == 0


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Pairs of jets of QCD and of a resonance: arrays."""
    folder, found = tmp_path_factory.mktemp("pairs"), {}
    dijets = {"mass_min": 1300, "pt_min": 450, "resonance": 2100, "daughters": [400, 120]}
    for process, rows in (("dijets", 60), ("dijet_resonance", 150)):
        simulate(spec(process, rows, radius=1.0, dijets=dijets), folder / f"{process}.root")
        with uproot.open(folder / f"{process}.root") as file:
            found[process] = file["jets"].arrays()
    return found


@pytest.mark.parametrize("process", ["dijets", "dijet_resonance"])
def test_pairs_are_inside_the_window_and_the_heavier_jet_is_the_row(pairs, process):
    rows = pairs[process]
    assert ak.all((rows.dijet_mass >= 1300) & (rows.dijet_mass < 4000) & (rows.dijet_delta_eta < 1.3))
    assert ak.all(rows.jet_mass >= rows.second_mass) and ak.all(np.maximum(rows.jet_pt, rows.second_pt) >= 450)
    px, py, pz, energy = (ak.sum(rows[f"part_{name}"], axis=1) for name in ("px", "py", "pz", "energy"))
    np.testing.assert_allclose(np.hypot(px, py), rows.jet_pt, rtol=1e-4)
    np.testing.assert_allclose(np.sqrt(energy**2 - px**2 - py**2 - pz**2), rows.jet_mass, atol=0.5)
    assert ak.all(ak.num(rows.part_px) == rows.jet_multiplicity) and len(np.unique(rows.event_number)) == len(rows)
    for name in ("jet_tau21", "jet_tau32", "second_tau21", "second_tau32"):
        assert ak.all((rows[name] >= 0) & (rows[name] < 2))


def test_a_resonance_has_its_masses(pairs):
    rows, usual = pairs["dijet_resonance"], pairs["dijets"]
    assert 1950 < np.median(rows.dijet_mass) < 2150 and np.median(usual.dijet_mass) < 1700
    near = abs(rows.jet_mass - 400) < 60
    assert np.mean(near) > 0.3 > np.mean(abs(usual.jet_mass - 400) < 60)
    assert abs(np.median(rows.second_mass[near]) - 120) < 25
    assert np.median(rows.jet_tau21) < np.median(usual.jet_tau21) - 0.1


def test_subjettiness_of_known_jets():
    """Two equal prongs at ±0.3 and a soft one between: by hand."""
    eta = np.array([0.3, -0.3, 0.0, 0.31])
    pt = np.array([100.0, 101.0, 1e-3, 1e-6])
    one = {"px": pt, "py": 0 * pt, "pz": pt * np.sinh(eta), "energy": pt * np.cosh(eta)}
    few = {name: values[:2] for name, values in one.items()}
    parts = ak.zip({name: ak.Array([one[name].tolist(), few[name].tolist()]) for name in one})
    found = _shapes(parts, 1.0)
    assert found["multiplicity"].tolist() == [4, 2]
    assert found["tau21"][0] < 1e-4 and found["tau21"][1] == 0
    tau1 = _subjettiness(parts[:1], 1.0)[0, 0]
    assert abs(tau1 - 0.3) < 5e-3  # of all pt, 0.3 from the axis


def test_no_pairs_are_no_rows():
    events = ak.Array([{"prt": top_event(60.0), "info": {"weights": [1.0]}}])
    assert len(find_dijets(events, Simulate(dijets=Dijets(mass_min=3000))).pt) == 0
    assert len(find_dijets(events, Simulate(radius=0.8, dijets=Dijets(mass_min=500, pt_min=300))).pt) == 1


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"daughters": [400]}, "two masses"),
        ({"daughters": [400, 5]}, "two masses"),
        ({"daughters": [1200, 800]}, "too heavy"),
        ({"mass_max": 1500}, "mass_max"),
    ],
)
def test_pairs_that_cannot_be_are_refused(values, told):
    with pytest.raises(ValueError, match=told):
        Dijets(**values)


def test_settings_reach_pythia():
    lines = steering("wz", Simulate(multiparton_interactions=True, pt_min=400.0), 77)
    assert "PartonLevel:MPI = on" in lines and "Random:seed = 77" in lines
    assert "PhaseSpace:pTHatMin = 360.0" in lines and "24:onMode = off" in lines
    assert "PartonLevel:MPI = off" in steering("qcd", Simulate(), 1)


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"jets": 0}, "at least one jet"),
        ({"shard": -1}, "out of range"),
        ({"process": "qcd", "pt_min": 6400.0, "pt_max": 6401.0}, "hardly any jets"),
    ],
)
def test_what_cannot_be_made_is_refused_and_leaves_nothing(tmp_path, monkeypatch, wrong, problem):
    monkeypatch.setattr("bunchtrain.simulate.run._HOPELESS", 30)
    with pytest.raises(CampaignError, match=problem):
        simulate(spec(**wrong), tmp_path / "a.root")
    assert not list(tmp_path.iterdir())
