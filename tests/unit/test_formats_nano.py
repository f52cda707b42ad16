"""NanoAOD, PHYSLITE and EDM4hep: four-momenta, constituents, truth and weights against slow loops over events."""

import json
import math
import os
from pathlib import Path

import awkward as ak
import h5py
import numpy as np
import pytest
import uproot

from bunchtrain import registry
from bunchtrain.config.convert import Truth
from bunchtrain.config.specs import ConvertSpec
from bunchtrain.convert import VERSION, cones, truth
from bunchtrain.convert.eventwise import Items
from bunchtrain.convert.run import convert
from bunchtrain.errors import CampaignError, InputError
from bunchtrain.events.layout import check


def distance(a, b):
    phi = abs(a["phi"] - b["phi"]) % (2 * math.pi)
    return math.hypot(a["eta"] - b["eta"], min(phi, 2 * math.pi - phi))


#: Weakly decaying hadrons, as in the table of particles.
WEAK = {
    5: (511, 521, 531, 541, 5122, 5132, 5232, 5332),
    4: (411, 421, 431, 4122, 4132, 4232, 4332),
}


def slow_truth(jets, particles, cuts):
    """One event: lists of dicts in, one (flavour, origin, parton) per jet out."""
    flavours, origins, partons = [[] for _ in jets], [[] for _ in jets], [[] for _ in jets]
    for one in particles:
        code = abs(one["pdg"])
        near = sorted((distance(jet, one), at) for at, jet in enumerate(jets) if distance(jet, one) < cuts.radius)
        kind = 15 if code == 15 else next((k for k, codes in WEAK.items() if code in codes), 0)
        if kind and one["pt"] > cuts.hadron_pt_min and near:
            flavours[near[0][1]].append(kind)
        if code in (6, 23, 24, 25) and one["last"] and one["pt"] > cuts.parton_pt_min:
            for _, at in near:
                origins[at].append(code)
        if code in (1, 2, 3, 4, 5, 21) and one["pt"] > 0:
            for _, at in near:
                partons[at].append((one["pt"], one["pdg"]))
    rank = {5: 3, 4: 2, 15: 1, 6: 9, 25: 8, 23: 7, 24: 6}
    return [
        (max(f, key=rank.get, default=0), max(o, key=rank.get, default=0), max(p, default=(0, 0))[1])
        for f, o, p in zip(flavours, origins, partons, strict=True)
    ]


def random_items(random, events, most, **more):
    counts = random.integers(0, most + 1, events)
    size = counts.sum()
    columns = {"eta": random.normal(0, 0.6, size), "phi": random.uniform(-np.pi, np.pi, size)}
    return Items(columns | {name: make(size) for name, make in more.items()}, counts)


def rows_of(items):
    """Return the items as lists of dicts, one list per owner."""
    found, at = [], 0
    for count in items.counts:
        found.append(
            [{name: values[i].item() for name, values in items.columns.items()} for i in range(at, at + count)]
        )
        at += count
    return found


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("most", [3, 1_000_000])
def test_truth_is_that_of_a_loop_over_events(monkeypatch, seed, most):
    monkeypatch.setattr(cones, "_MOST_PAIRS", most)
    random = np.random.default_rng(seed)
    codes = [511, 5122, 421, 4122, 15, 6, 23, 24, 25, 21, 1, 5, 513, 22, 211]
    jets = random_items(random, 200, 5)
    particles = random_items(
        random,
        200,
        12,
        pdg=lambda size: random.choice(codes, size) * random.choice([-1, 1], size),
        pt=lambda size: random.exponential(15, size),
        last=lambda size: random.random(size) < 0.5,
    )
    cuts = Truth(radius=0.7)
    found = truth.match(jets, particles, cuts)
    expected = [
        row for event in zip(rows_of(jets), rows_of(particles), strict=True) for row in slow_truth(*event, cuts)
    ]
    got = list(zip(*(found[f"truth_{name}"].tolist() for name in ("flavour", "origin", "parton")), strict=True))
    assert got == expected
    assert {flavour for flavour, _, _ in got} == {0, 4, 5, 15}


def test_a_hadron_counts_for_the_closest_jet_alone_and_b_goes_before_c():
    jets = Items({"eta": np.array([0.0, 0.4]), "phi": np.array([3.1, -3.1])}, np.array([2]))
    pdg = np.array([511, 421, 423, 5])
    columns = {"pdg": pdg, "pt": np.full(4, 20.0), "eta": np.array([0.1, 0.1, 0.35, 0.2]), "phi": np.full(4, 3.14)}
    found = truth.match(jets, Items(columns, np.array([4])), Truth(radius=0.4))
    assert found["truth_flavour"].tolist() == [5, 0]
    assert found["truth_parton"].tolist() == [5, 5] and found["truth_origin"].tolist() == [0, 0]


def test_thresholds_are_strict_and_nothing_near_is_zero():
    jets = Items({"eta": np.zeros(2), "phi": np.zeros(2)}, np.array([1, 1]))
    columns = {"pdg": np.array([521, 24]), "pt": np.array([5.0, 10.0]), "eta": np.zeros(2), "phi": np.zeros(2)}
    found = truth.match(jets, Items(columns, np.array([2, 0])), Truth())
    assert all(values.tolist() == [0, 0] for values in found.values())
    none = truth.match(
        Items({"eta": np.zeros(0), "phi": np.zeros(0)}, np.array([0, 0])), Items(columns, np.array([2, 0])), Truth()
    )
    assert all(len(values) == 0 for values in none.values())


def test_the_last_of_copies_has_no_child_of_its_kind():
    pdg = np.array([6, 6, 24, 24, 5, 6])
    child, parent = np.array([1, 2, 3, 4]), np.array([0, 1, 2, 1])
    assert truth.last_copies(pdg, child, parent).tolist() == [False, True, False, True, True, True]


# --- files of the three kinds, made here -------------------------------------------------------------------------


def write(path, branches, tree="Events"):
    """Write a TTree; each list has a counter of its own."""
    kinds = {}
    for name, values in branches.items():
        dtype = ak.to_numpy(ak.flatten(values, axis=None)).dtype
        kinds[name] = f"var * {dtype}" if isinstance(values, ak.Array) else dtype
    with uproot.recreate(path) as file:
        out = file.mktree(tree, kinds, counter_name=lambda name: f"n_{name}")
        out.extend(branches)
    return path


def run(folder, path, step_size="2 kB", **format_options):
    out, manifest = folder / "out" / "a.h5", folder / "out" / "a.json"
    spec = ConvertSpec(
        version=VERSION,
        sample="top",
        label=1,
        classes=["qcd", "top"],
        format=format_options,
        step_size=step_size,
        on_bad_file="fail",
    )
    convert(spec, [path], out, manifest)
    check(out)
    with h5py.File(out) as file:
        found = {f"{group}/{name}": file[group][name][:] for group in file for name in file[group]}
        return found, dict(file.attrs), json.loads(manifest.read_text())["inputs"][0]


def lists(random, counts, low, high, dtype="f4"):
    values = random.uniform(low, high, counts.sum()) if "f" in dtype else random.integers(low, high, counts.sum())
    return ak.unflatten(values.astype(dtype), counts)


def table(random, prefix, counts, separator="_", most_pt=100.0):
    kinds = {"pt": (1, most_pt), "eta": (-1.5, 1.5), "phi": (-math.pi, math.pi), "mass": (0, 5)}
    return {f"{prefix}{separator}{name}": lists(random, counts, *limits) for name, limits in kinds.items()}


CODES = np.array([511, 521, 421, 4122, 15, 6, 24, 23, 25, 5, 4, 21, 2, -1, 211, 513])


def nano(seed=0, events=40):
    """Random branches of a NanoAOD with candidates and indices, some of which lead to no jet."""
    random = np.random.default_rng(seed)
    jets, cands, parts = (random.integers(0, most, events) for most in (5, 30, 12))
    links = np.where((jets > 0) & (cands > 0), random.integers(0, 40, events), 0)
    owner = [random.integers(-1, jet, link) if link else [] for jet, link in zip(jets, links, strict=True)]
    item = [random.integers(0, cand, link) if link else [] for cand, link in zip(cands, links, strict=True)]
    return {
        "run": np.full(events, 3, "u4"),
        "luminosityBlock": np.arange(events, dtype="u4") // 10 + 7,
        "event": (np.arange(events) % 10 + 2**40).astype("u8"),
        "genWeight": random.normal(1, 2, events).astype("f4"),
        **table(random, "Jet", jets),
        "Jet_score": lists(random, jets, 0, 1),
        "Jet_genJetIdx": ak.unflatten(random.integers(-1, 4, jets.sum()).astype("i4"), jets),
        **table(random, "PFCands", cands, most_pt=30.0),
        "PFCands_charge": lists(random, cands, -1, 2, "i4"),
        "JetPFCands_jetIdx": ak.values_astype(ak.unflatten(np.concatenate([*owner, []]), links), "i4"),
        "JetPFCands_pFCandsIdx": ak.values_astype(ak.unflatten(np.concatenate([*item, []]), links), "i4"),
        "JetPFCands_weight": lists(random, links, 0, 1),
        **{f"GenPart_{name}": values for name, values in generated(random, parts).items()},
        "GenPart_statusFlags": lists(random, parts, 0, 2**15, "i4"),
        "GenJet_pt": lists(random, np.full(events, 2), 10, 90),
        "GenJet_hadronFlavour": ak.unflatten(random.choice([0, 4, 5], 2 * events).astype("u1"), np.full(events, 2)),
    }


def generated(random, counts):
    pdg = random.choice(CODES, counts.sum()).astype("i4")
    return {
        "pdgId": ak.unflatten(pdg, counts),
        "pt": lists(random, counts, 0, 40),
        "eta": lists(random, counts, -1.5, 1.5),
        "phi": lists(random, counts, -math.pi, math.pi),
    }


def p4(pt, eta, phi, mass):
    x, y, z = pt * math.cos(phi), pt * math.sin(phi), pt * math.sinh(eta)
    return x, y, z, math.sqrt(x * x + y * y + z * z + mass * mass)


def slow_nano(branches, radius=None):
    """Yield (entry, jet, constituents) with constituents as (place, p4), hardest first, in loops."""
    one = {name: ak.to_list(values) for name, values in branches.items()}
    for entry in range(len(one["run"])):
        cands = [
            p4(*(one[f"PFCands_{name}"][entry][i] for name in ("pt", "eta", "phi", "mass")))
            for i in range(len(one["PFCands_pt"][entry]))
        ]
        axes = [{"eta": e, "phi": p} for e, p in zip(one["Jet_eta"][entry], one["Jet_phi"][entry], strict=True)]
        owners = [[] for _ in axes]
        if radius is None:
            pairs = zip(one["JetPFCands_jetIdx"][entry], one["JetPFCands_pFCandsIdx"][entry], strict=True)
            for place, (jet, cand) in enumerate(pairs):
                if jet >= 0:
                    owners[jet].append((cand, place))
        else:
            for cand in range(len(cands)):
                at = {"eta": one["PFCands_eta"][entry][cand], "phi": one["PFCands_phi"][entry][cand]}
                near = sorted((distance(axis, at), jet) for jet, axis in enumerate(axes))
                if near and near[0][0] < radius:
                    owners[near[0][1]].append((cand, -1))
        for jet, own in enumerate(owners):
            if own:
                order = sorted(own, key=lambda pair: -one["PFCands_pt"][entry][pair[0]])
                yield entry, jet, order, [cands[cand] for cand, _ in order]


NANO = {"kind": "nanoaod", "columns": {"jets": {"score": "score", "double": "2 * score", "block": "luminosityBlock"}}}


def slow_rows(branches, rows):
    """Return what the truth of the jets (entry, jet) of a NanoAOD should be, in loops."""
    one = {name: ak.to_list(values) for name, values in branches.items()}
    found = []
    for entry, jet in rows:
        axes = [{"eta": e, "phi": p} for e, p in zip(one["Jet_eta"][entry], one["Jet_phi"][entry], strict=True)]
        names = ("pdgId", "pt", "eta", "phi", "statusFlags")
        rest = zip(*(one[f"GenPart_{name}"][entry] for name in names), strict=True)
        particles = [
            {"pdg": pdg, "pt": pt, "eta": eta, "phi": phi, "last": bool(flags >> 13 & 1)}
            for pdg, pt, eta, phi, flags in rest
        ]
        found.append(slow_truth(axes, particles, Truth())[jet])
    return found


TRUTHS = [f"jets/truth_{name}" for name in ("flavour", "origin", "parton")]


@pytest.mark.parametrize("radius", [None, 0.5])
@pytest.mark.parametrize("step_size", ["2 kB", "64 MB"])
def test_nanoaod_is_what_a_loop_over_events_makes_of_it(tmp_path, radius, step_size):
    branches = nano()
    extra = {"charge": "charge"} | ({} if radius else {"weight": "weight"})
    how = {"index": None, "radius": radius} if radius else {}
    how["columns"] = {**NANO["columns"], "constituents": extra}
    found, attributes, row = run(tmp_path, write(tmp_path / "a.root", branches), step_size, **{**NANO, **how})
    expected = list(slow_nano(branches, radius))
    assert len(found["jets/pt"]) == len(expected) > 30
    one = {name: ak.to_list(values) for name, values in branches.items()}
    for name, column in {
        "pt": "Jet_pt",
        "eta": "Jet_eta",
        "phi": "Jet_phi",
        "mass": "Jet_mass",
        "score": "Jet_score",
    }.items():
        np.testing.assert_array_equal(found[f"jets/{name}"], np.float32([one[column][e][j] for e, j, *_ in expected]))
    np.testing.assert_array_equal(found["jets/double"], 2 * found["jets/score"])
    np.testing.assert_array_equal(found["jets/run_number"], [3 * 2**32 + e // 10 + 7 for e, *_ in expected])
    np.testing.assert_array_equal(found["jets/block"], [e // 10 + 7 for e, *_ in expected])
    np.testing.assert_array_equal(found["jets/event_number"], [e % 10 + 2**40 for e, *_ in expected])
    np.testing.assert_array_equal(found["jets/weight"], [np.float32(one["genWeight"][e]) for e, *_ in expected])
    assert attributes["sum_of_weights"] == pytest.approx(math.fsum(one["genWeight"]))
    np.testing.assert_array_equal(np.diff(found["constituents/offsets"]), [len(own) for *_, own in expected])
    flat = np.array([values for *_, own in expected for values in own])
    for at, name in enumerate(("px", "py", "pz", "energy")):
        np.testing.assert_allclose(found[f"constituents/{name}"], flat[:, at], rtol=1e-6, atol=1e-6)
    charges = [one["PFCands_charge"][e][cand] for e, _, order, _ in expected for cand, _ in order]
    np.testing.assert_array_equal(found["constituents/charge"], charges)
    if not radius:
        weights = [one["JetPFCands_weight"][e][place] for e, _, order, _ in expected for _, place in order]
        np.testing.assert_array_equal(found["constituents/weight"], np.float32(weights))
    rows = [(e, j) for e, j, *_ in expected]
    assert list(zip(*(found[name].tolist() for name in TRUTHS), strict=True)) == slow_rows(branches, rows)
    index = [one["Jet_genJetIdx"][e][j] for e, j in rows]
    gen = [one["GenJet_pt"][e][i] if 0 <= i < 2 else 0 for (e, _), i in zip(rows, index, strict=True)]
    np.testing.assert_array_equal(found["jets/gen_pt"], np.float32(gen))
    flavour = [one["GenJet_hadronFlavour"][e][i] if 0 <= i < 2 else -1 for (e, _), i in zip(rows, index, strict=True)]
    np.testing.assert_array_equal(found["jets/hadron_flavour"], flavour)
    assert row["skipped"] == ["Jet_partonFlavour"] and set(found["jets/parton_flavour"]) == {0}


def test_an_rntuple_gives_the_same_as_a_ttree(tmp_path):
    branches = nano()
    found, *_ = run(tmp_path, write(tmp_path / "a.root", branches), **NANO)
    with uproot.recreate(tmp_path / "b.root") as file:
        file.mkrntuple("Events", branches)
    again, *_ = run(tmp_path, tmp_path / "b.root", **NANO)
    assert found.keys() == again.keys()
    for name, values in found.items():
        np.testing.assert_array_equal(again[name], values)


def test_nanoaod_jets_can_be_their_own_constituents_and_files_need_no_truth(tmp_path):
    kept = ("run", "luminosityBlock", "event", "Jet_pt", "Jet_eta", "Jet_phi", "Jet_mass")
    branches = {name: values for name, values in nano().items() if name in kept}
    found, attributes, row = run(tmp_path, write(tmp_path / "a.root", branches), kind="nanoaod", constituents="none")
    jets = ak.flatten(ak.zip({name: branches[f"Jet_{name}"] for name in ("pt", "eta", "phi", "mass")}))
    assert len(found["jets/pt"]) == len(jets) == len(found["constituents/px"])
    np.testing.assert_allclose(np.hypot(found["constituents/px"], found["constituents/py"]), jets.pt, rtol=1e-6)
    np.testing.assert_array_equal(found["jets/weight"], 1)
    assert attributes["sum_of_weights"] == 40
    assert {"genWeight", "GenPart_pdgId", "Jet_genJetIdx"} <= set(row["skipped"])
    assert set(found["jets/truth_flavour"]) == {-1} and set(found["jets/truth_parton"]) == {0}
    plain, _, row = run(tmp_path, tmp_path / "a.root", kind="nanoaod", constituents="none", truth=None, weight=None)
    assert row["skipped"] == [] and not any("truth" in name for name in plain)


def with_list(branches, name, entry, change):
    values = ak.to_list(branches[name])
    values[entry] = change(values[entry])
    dtype = ak.to_numpy(ak.flatten(branches[name])).dtype
    return {**branches, name: ak.values_astype(ak.Array(values), dtype)}


def without(branches, *names):
    return {name: values for name, values in branches.items() if not name.startswith(names)}


def twice(branches):
    event, block = branches["event"].copy(), branches["luminosityBlock"].copy()
    event[31], block[31] = event[4], block[4]
    return {**branches, "event": event, "luminosityBlock": block}


FULL = int(np.argmax(ak.to_numpy(ak.num(nano()["JetPFCands_jetIdx"]))))  # an entry with links
BAD_NANO = {
    "twice": (twice, {}, "holds an event twice", "in entries 4 and 31"),
    "no jets": (lambda b: without(b, "Jet_pt"), {}, "no such branch", "Jet_pt"),
    "no such jets": (lambda b: b, {"jets": "FatJets"}, "no such branch", "FatJets_pt"),
    "no event": (lambda b: without(b, "event"), {}, "no such branch", "event"),
    "no candidates": (lambda b: without(b, "PFCands"), {"index": None}, "no candidates", None),
    "other jets": (lambda b: {**without(b, "JetPFCands"), "FatJetPFCands_jetIdx": b["JetPFCands_jetIdx"]}, {},
                   "no indices for these jets", "FatJetPFCands"),
    "no such index": (lambda b: b, {"index": "MyCands"}, "no such branch", "MyCands_jetIdx"),
    "no weight": (lambda b: b, {"weight": "genWeigth"}, "no such branch", "genWeigth"),
    "a list for a weight": (lambda b: b, {"weight": "Jet_pt"}, "another type", "Jet_pt"),
    "no column": (lambda b: b, {"columns": {"jets": {"a": "scor"}}}, "no such branch", "Jet_scor"),
    "a reduction": (lambda b: b, {"columns": {"jets": {"a": "sum(score)"}}}, "reduces a list", "sum(score)"),
    "column of another list": (lambda b: b, {"columns": {"jets": {"a": "GenPart_pt"}}}, "differ in length", "in entry"),
    "jet beyond": (lambda b: with_list(b, "JetPFCands_jetIdx", FULL, lambda v: [9, *v[1:]]), {},
                   "beyond its list", f"9 in entry {FULL}"),
    "candidate beyond": (lambda b: with_list(b, "JetPFCands_pFCandsIdx", FULL, lambda v: [99] * len(v)), {},
                         "beyond its list", f"99 in entry {FULL}"),
    "uneven": (lambda b: with_list(b, "PFCands_eta", FULL, lambda v: v[1:]), {}, "differ in length", f"entry {FULL}"),
    "NaN": (lambda b: with_list(b, "PFCands_phi", FULL, lambda v: [math.nan, *v[1:]]), {},
            "not a finite", f"nan in entry {FULL}"),
    "NaN in truth": (lambda b: {**b, "GenPart_eta": b["GenPart_eta"] * np.float32(np.inf)}, {},
                     "not a finite", "entry"),
    "large run": (lambda b: {**b, "run": b["run"].astype("u8") << 33}, {}, "too large", None),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_NANO)
def test_a_bad_nanoaod_is_an_error_that_says_where(tmp_path, name):
    change, how, problem, found = BAD_NANO[name]
    path = write(tmp_path / "bad.root", change(nano()))
    with pytest.raises(InputError, match=problem) as caught:
        run(tmp_path, path, **{**NANO, **how})
    assert caught.value.details["file"] == str(path)
    assert found is None or found in caught.value.details["found"]
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("how", "key"),
    [
        ({"kind": "nanoaod", "columns": {"tracks": {"a": "b"}}}, "columns"),
        ({"kind": "physlite", "columns": {"constituents": {"a": "b"}}}, None),
        ({"kind": "edm4hep", "jets": None, "constituents": "none"}, None),
        ({"kind": "physlite", "constituents": "clusters"}, "constituents"),
    ],
)
def test_options_that_do_not_go_together_are_refused(tmp_path, how, key):
    with pytest.raises(CampaignError) as caught:
        run(tmp_path, tmp_path / "none.root", **how)
    assert caught.value.details["key"] == ("convert.format" if key is None else f"convert.format.{key}")


def physlite(seed=0, events=40):
    """Random branches of a PHYSLITE; lists of lists cannot be written here, so it has no covariances."""
    random = np.random.default_rng(seed)
    jets, tracks, vertices, bosons = (
        random.integers(low, most, events) for low, most in ((0, 5), (0, 40), (0, 4), (0, 3))
    )
    charge = random.choice([-1, 1], tracks.sum())
    momentum = random.uniform(600, 30000, tracks.sum())
    branches = {
        "EventInfoAuxDyn.runNumber": np.full(events, 300000, "u4"),
        "EventInfoAuxDyn.eventNumber": np.arange(events, dtype="u8") + 5,
        "EventInfoAuxDyn.mcEventWeights": lists(random, np.full(events, 3), -1, 2),
        "EventInfoAuxDyn.mu": random.random(events).astype("f4"),
        **table(random, "AnalysisJetsAuxDyn", jets, ".", most_pt=1e5),
        "AnalysisJetsAuxDyn.Width": lists(random, jets, 0, 1),
        "AnalysisJetsAuxDyn.HadronConeExclTruthLabelID": ak.unflatten(random.choice([0, 4, 5, 15], jets.sum()), jets),
        "AnalysisJetsAuxDyn.PartonTruthLabelID": ak.unflatten(random.choice([-1, 3, 21], jets.sum()), jets),
        "InDetTrackParticlesAuxDyn.d0": lists(random, tracks, -2, 2),
        "InDetTrackParticlesAuxDyn.z0": lists(random, tracks, -50, 50),
        "InDetTrackParticlesAuxDyn.vz": lists(random, tracks, -1, 1),
        "InDetTrackParticlesAuxDyn.phi": lists(random, tracks, -math.pi, math.pi),
        "InDetTrackParticlesAuxDyn.theta": lists(random, tracks, 0.4, 2.7),
        "InDetTrackParticlesAuxDyn.qOverP": ak.unflatten((charge / momentum).astype("f4"), tracks),
        "PrimaryVerticesAuxDyn.z": lists(random, vertices, -40, 40),
        "PrimaryVerticesAuxDyn.vertexType": ak.unflatten(
            random.choice([0, 1, 3], vertices.sum()).astype("i2"), vertices
        ),
        "TruthBosonAuxDyn.pdgId": ak.unflatten(random.choice([23, -24, 25], bosons.sum()).astype("i4"), bosons),
        **{f"TruthBosonAuxDyn.p{axis}": lists(random, bosons, -6e4, 6e4) for axis in "xyz"},
        "TruthBosonAuxDyn.e": lists(random, bosons, 1e5, 2e5),
    }
    branches["AnalysisJetsAuxDyn.m"] = branches.pop("AnalysisJetsAuxDyn.mass") * np.float32(1000)
    return branches


def slow_physlite(one, entry, radius):
    """Return the jets of an entry, each with its tracks as dicts, in loops."""
    jets = [
        {"eta": e, "phi": p, "tracks": []}
        for e, p in zip(one["AnalysisJetsAuxDyn.eta"][entry], one["AnalysisJetsAuxDyn.phi"][entry], strict=True)
    ]
    kinds, places = one["PrimaryVerticesAuxDyn.vertexType"][entry], one["PrimaryVerticesAuxDyn.z"][entry]
    primary = next((z for z, kind in zip(places, kinds, strict=True) if kind == 1), None)
    names = ("d0", "z0", "vz", "phi", "theta", "qOverP")
    for row in zip(*(one[f"InDetTrackParticlesAuxDyn.{name}"][entry] for name in names), strict=True):
        d0, z0, vz, phi, theta, ratio = row
        momentum = abs(1 / ratio) / 1000
        track = {
            "d0": d0,
            "z0": z0,
            "phi": phi,
            "theta": theta,
            "q_over_p": ratio * 1000,
            "charge": math.copysign(1, ratio),
        }
        track |= {"pt": momentum * math.sin(theta), "eta": math.atanh(math.cos(theta))}
        track |= {"z0_vertex": 0 if primary is None else z0 + vz - primary, "d0_error": 0, "z0_error": 0}
        near = sorted((distance(jet, track), at) for at, jet in enumerate(jets))
        if near and near[0][0] < radius:
            jets[near[0][1]]["tracks"].append(track)
    return jets


@pytest.mark.parametrize("constituents", ["none", "tracks"])
def test_physlite_is_what_a_loop_over_events_makes_of_it(tmp_path, constituents):
    branches = physlite()
    columns = {"jets": {"width": "Width", "mu": "mu", "pt_again": {"branch": "pt", "units": "GeV"}}}
    how = {
        "kind": "physlite",
        "constituents": constituents,
        "columns": columns,
        "radius": 0.6,
        "truth": {"radius": 1.2},
    }
    path = write(tmp_path / "a.root", branches, "CollectionTree")
    found, attributes, row = run(tmp_path, path, **how)
    one = {name: ak.to_list(values) for name, values in branches.items()}
    expected = [(e, j, jet) for e in range(40) for j, jet in enumerate(slow_physlite(one, e, 0.6))]
    dropped = len(expected)
    if constituents == "tracks":
        expected = [row for row in expected if row[2]["tracks"]]
    assert row["dropped_jets"] == dropped - len(expected)
    assert len(found["jets/pt"]) == len(expected) > 20
    jets = {
        name: np.array([one[f"AnalysisJetsAuxDyn.{name}"][e][j] for e, j, _ in expected])
        for name in ("pt", "eta", "phi", "m", "Width")
    }
    np.testing.assert_allclose(found["jets/pt"], jets["pt"] / 1000, rtol=1e-6)
    np.testing.assert_allclose(found["jets/pt_again"], jets["pt"] / 1000, rtol=1e-6)
    np.testing.assert_allclose(found["jets/mass"], jets["m"] / 1000, rtol=1e-6)
    np.testing.assert_array_equal(found["jets/width"], np.float32(jets["Width"]))
    np.testing.assert_array_equal(found["jets/mu"], np.float32([one["EventInfoAuxDyn.mu"][e] for e, *_ in expected]))
    np.testing.assert_array_equal(found["jets/event_number"], [e + 5 for e, *_ in expected])
    weights = [values[0] for values in one["EventInfoAuxDyn.mcEventWeights"]]
    np.testing.assert_array_equal(found["jets/weight"], np.float32([weights[e] for e, *_ in expected]))
    assert attributes["sum_of_weights"] == pytest.approx(math.fsum(weights))
    np.testing.assert_array_equal(np.diff(found["tracks/offsets"]), [len(jet["tracks"]) for *_, jet in expected])
    tracks = [track for *_, jet in expected for track in jet["tracks"]]
    for name in tracks[0]:
        np.testing.assert_allclose(
            found[f"tracks/{name}"], [track[name] for track in tracks], rtol=2e-5, atol=1e-5, err_msg=name
        )
    if constituents == "tracks":
        assert sum(found["constituents/energy"]) == pytest.approx(
            sum(math.hypot(t["pt"] * math.cosh(t["eta"]), 0.13957) for t in tracks), rel=1e-5
        )
        np.testing.assert_array_equal(found["constituents/offsets"], found["tracks/offsets"])
    labels = [one["AnalysisJetsAuxDyn.HadronConeExclTruthLabelID"][e][j] for e, j, _ in expected]
    np.testing.assert_array_equal(found["jets/truth_flavour"], labels)
    partons = [max(one["AnalysisJetsAuxDyn.PartonTruthLabelID"][e][j], 0) for e, j, _ in expected]
    np.testing.assert_array_equal(found["jets/truth_parton"], partons)
    assert found["jets/truth_origin"].tolist() == [slow_origin(one, e, jet) for e, _, jet in expected]
    assert {0, 23, 25} <= set(found["jets/truth_origin"])
    assert row["skipped"] == ["InDetTrackParticlesAuxDyn.definingParametersCovMatrixDiag"]


def slow_origin(one, entry, jet):
    names = ("pdgId", "px", "py", "pz")
    particles = []
    for pdg, px, py, pz in zip(*(one[f"TruthBosonAuxDyn.{name}"][entry] for name in names), strict=True):
        pt = math.hypot(px, py)
        axis = {"eta": math.asinh(pz / pt), "phi": math.atan2(py, px)}
        particles.append({"pdg": pdg, "pt": pt / 1000, "last": True, **axis})
    return slow_truth([jet], particles, Truth(radius=1.2))[0][1]


INFO = "EventInfoAuxDyn"


@pytest.mark.parametrize(
    ("change", "problem", "found"),
    [
        (lambda b: {**b, f"{INFO}.eventNumber": np.arange(40, dtype="u8") // 2 * 2}, "event twice", "entries 0 and 1"),
        (lambda b: without(b, "InDetTrackParticlesAuxDyn.d0"), "no such branch", "InDetTrackParticlesAuxDyn.d0"),
        (lambda b: with_list(b, f"{INFO}.mcEventWeights", 7, lambda v: []), "a list is empty", "none in entry 7"),
        (lambda b: {**b, "AnalysisJetsAuxDyn.PartonTruthLabelID": b["TruthBosonAuxDyn.pdgId"]},
         "differ in length", "in entry"),
    ],
)  # fmt: skip
def test_a_bad_physlite_is_an_error_that_says_where(tmp_path, change, problem, found):
    path = write(tmp_path / "bad.root", change(physlite()), "CollectionTree")
    with pytest.raises(InputError, match=problem) as caught:
        run(tmp_path, path, kind="physlite")
    assert caught.value.details["file"] == str(path) and found in caught.value.details["found"]


def edm4hep(seed=0, events=30, newer=False):
    """Random branches of an EDM4hep file: jets of some of the particles, generator particles with mothers."""
    random = np.random.default_rng(seed)
    jets, recos = random.integers(0, 4, events), random.integers(0, 30, events)
    generated = random.integers(1, 12, events)
    cuts = [np.sort(random.integers(0, n + 1, 2 * k)) for n, k in zip(recos, jets, strict=True)]
    begin, end = (ak.unflatten(np.concatenate([c[at::2] for c in cuts]).astype("u4"), jets) for at in (0, 1))
    order = np.concatenate([random.permutation(n) for n in recos]).astype("i4")
    mothers = np.minimum(np.arange(generated.sum()) - np.repeat(np.cumsum(generated) - generated, generated), 1)
    first = np.concatenate(
        [np.concatenate([[0], np.cumsum(m)[:-1]]) for m in np.split(mothers, np.cumsum(generated)[:-1])]
    )
    chosen = np.concatenate([np.array([random.integers(0, i) for i in range(1, n)], int) for n in generated])
    number = ak.unflatten
    pdg = random.choice([6, 24, 24, 511, 421, 15, 21, 5], generated.sum()).astype("i4")
    particles, parents = ("_Jet_particles", "_MC_parents") if newer else ("Jet#2", "MC#0")
    branches = {
        **{f"Reco.momentum.{axis}": lists(random, recos, -20, 20) for axis in "xyz"},
        "Reco.energy": lists(random, recos, 40, 60),
        "Reco.charge": ak.values_astype(lists(random, recos, -1, 2, "i4"), "f4"),
        **{f"Jet.momentum.{axis}": lists(random, jets, -20, 20) for axis in "xyz"},
        "Jet.energy": lists(random, jets, 40, 60),
        "Jet.particles_begin": begin,
        "Jet.particles_end": end,
        f"{particles}.index": number(order, recos),
        f"{particles}.collectionID": number(np.full(len(order), 7, "i4"), recos),
        "MC.PDG": number(pdg, generated),
        **{f"MC.momentum.{axis}": lists(random, generated, -40, 40) for axis in "xyz"},
        "MC.parents_begin": number(first.astype("u4"), generated),
        "MC.parents_end": number((first + mothers).astype("u4"), generated),
        f"{parents}.index": number(chosen.astype("i4"), generated - 1),
        f"{parents}.collectionID": number(np.full(len(chosen), 5, "i4"), generated - 1),
        "EventHeader.eventNumber": number(np.arange(events, dtype="i4") + 9, np.ones(events, int)),
        "EventHeader.runNumber": number(np.full(events, 2, "i4"), np.ones(events, int)),
        "EventHeader.weight": lists(random, np.ones(events, int), -1, 2, "f8"),
    }
    return branches, particles, parents


def slow_edm4hep(one, entry, particles, parents):
    """Return the jets of an entry with constituents and all generator particles, in loops."""
    jets = []
    for jet in range(len(one["Jet.energy"][entry])):
        x, y, z = (one[f"Jet.momentum.{axis}"][entry][jet] for axis in "xyz")
        own = []
        for place in range(one["Jet.particles_begin"][entry][jet], one["Jet.particles_end"][entry][jet]):
            at = one[f"{particles}.index"][entry][place]
            own.append(
                tuple(
                    one[f"Reco.{name}"][entry][at]
                    for name in ("momentum.x", "momentum.y", "momentum.z", "energy", "charge")
                )
            )
        pt = math.hypot(x, y)
        own.sort(key=lambda p: -math.hypot(p[0], p[1]))
        jets.append({"pt": pt, "eta": math.asinh(z / pt), "phi": math.atan2(y, x), "own": own})
    generated = []
    codes = one["MC.PDG"][entry]
    last = [True] * len(codes)
    for child in range(len(codes)):
        for place in range(one["MC.parents_begin"][entry][child], one["MC.parents_end"][entry][child]):
            mother = one[f"{parents}.index"][entry][place]
            last[mother] &= codes[mother] != codes[child]
    for at, code in enumerate(codes):
        x, y, z = (one[f"MC.momentum.{axis}"][entry][at] for axis in "xyz")
        pt = math.hypot(x, y)
        if pt > 0:
            generated.append(
                {"pdg": code, "pt": pt, "eta": math.asinh(z / pt), "phi": math.atan2(y, x), "last": last[at]}
            )
    return jets, generated


EDM = {"kind": "edm4hep", "constituents": "Reco", "particles": "MC", "truth": {"radius": 0.8},
       "columns": {"constituents": {"charge": "charge"}}}  # fmt: skip


@pytest.mark.parametrize("newer", [False, True])
def test_edm4hep_is_what_a_loop_over_events_makes_of_it(tmp_path, newer):
    branches, particles, parents = edm4hep(newer=newer)
    found, attributes, row = run(tmp_path, write(tmp_path / "a.root", branches, "events"), **EDM)
    one = {name: ak.to_list(values) for name, values in branches.items()}
    check_edm4hep(found, one, particles, parents, 30, Truth(radius=0.8))
    np.testing.assert_array_equal(found["jets/run_number"], 2)
    weights = [values[0] for values in one["EventHeader.weight"]]
    np.testing.assert_array_equal(
        found["jets/weight"], np.float32([weights[n - 9] for n in found["jets/event_number"].tolist()])
    )
    assert attributes["sum_of_weights"] == pytest.approx(math.fsum(weights)) and row["skipped"] == []
    assert {0, 6, 24} <= set(found["jets/truth_origin"]) and {5, 4, 15} <= set(found["jets/truth_flavour"])


def check_edm4hep(found, one, particles, parents, events, cuts):
    expected, truths = [], []
    for entry in range(events):
        jets, generated = slow_edm4hep(one, entry, particles, parents)
        for jet, row in zip(jets, slow_truth(jets, generated, cuts), strict=True):
            if jet["own"]:
                expected.append(jet)
                truths.append(row)
    assert len(found["jets/pt"]) == len(expected) > 20
    for name in ("pt", "eta", "phi"):
        np.testing.assert_allclose(found[f"jets/{name}"], [jet[name] for jet in expected], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(np.diff(found["constituents/offsets"]), [len(jet["own"]) for jet in expected])
    flat = np.array([values for jet in expected for values in jet["own"]])
    for at, name in enumerate(("px", "py", "pz", "energy", "charge")):
        np.testing.assert_array_equal(found[f"constituents/{name}"], np.float32(flat[:, at]))
    assert list(zip(*(found[name].tolist() for name in TRUTHS), strict=True)) == truths


def test_an_edm4hep_event_can_be_one_jet(tmp_path):
    branches, *_ = edm4hep()
    found, *_ = run(tmp_path, write(tmp_path / "a.root", branches, "events"), **{**EDM, "jets": None})
    one = {name: ak.to_list(values) for name, values in branches.items()}
    kept = [entry for entry in range(30) if one["Reco.energy"][entry]]
    np.testing.assert_array_equal(found["jets/event_number"], [entry + 9 for entry in kept])
    sums = [[math.fsum(one[f"Reco.momentum.{axis}"][entry]) for axis in "xy"] for entry in kept]
    np.testing.assert_allclose(found["jets/pt"], [math.hypot(*two) for two in sums], rtol=1e-5)
    codes = [{abs(code) for code in one["MC.PDG"][entry]} for entry in kept]
    everything = [5 if 511 in c else 4 if 421 in c else 15 if 15 in c else 0 for c in codes]
    np.testing.assert_array_equal(found["jets/truth_flavour"] == 5, np.array(everything) == 5)


@pytest.mark.parametrize(
    ("change", "problem", "found"),
    [
        (
            lambda b: {**b, "EventHeader.eventNumber": ak.zeros_like(b["EventHeader.eventNumber"])},
            "event twice",
            "0 and 1",
        ),
        (lambda b: without(b, "Jet#2"), "no such branch", "Jet#2.index"),
        (lambda b: without(b, "MC.PDG"), "no such branch", "MC.PDG"),
        (lambda b: {**b, "Jet#2.index": b["Jet#2.index"] + np.int32(50)}, "beyond its list", "in entry"),
        (lambda b: {**b, "Jet.particles_end": b["Jet.particles_end"] + np.uint32(99)}, "beyond its list", "in entry"),
        (lambda b: {**b, "Jet#2.collectionID": b["Jet#2.index"]}, "another collection", "0"),
    ],
)
def test_a_bad_edm4hep_is_an_error_that_says_where(tmp_path, change, problem, found):
    path = write(tmp_path / "bad.root", change(edm4hep()[0]), "events")
    with pytest.raises(InputError, match=problem) as caught:
        run(tmp_path, path, **EDM)
    assert caught.value.details["file"] == str(path) and found in caught.value.details["found"]


# --- real files --------------------------------------------------------------------------------------------------

FOREIGN = Path(os.environ.get("BUNCHTRAIN_TEST_DATA", Path(__file__).parents[3] / "shared" / "data" / "open"))


def foreign(name):
    path = FOREIGN / name
    if not path.exists():
        pytest.skip(f"{name} is not here; it is looked for in BUNCHTRAIN_TEST_DATA")
    return path


def read_all(path, tree, *wanted):
    with uproot.open(path) as file:
        return {name: file[tree][name].array() for name in wanted}


@pytest.mark.parametrize(
    ("name", "jets", "expected"),
    [
        ("cms_nano_dy_zlib.root", "Jet", 188),
        ("cms_nanoaod2015_ttbar_zlib.root", "Jet", 537),
        ("cms_scouting_nano_pfcand.root", "ScoutingJet", 337),
    ],
)
def test_nanoaod_of_cms(tmp_path, name, jets, expected):
    path = foreign(name)
    found, attributes, row = run(tmp_path, path, "50 kB", kind="nanoaod", jets=jets, constituents="none")
    own = [f"{jets}_{one}" for one in ("pt", "eta", "phi", "mass", "genJetIdx")]
    gen = [f"GenPart_{one}" for one in ("pdgId", "pt", "eta", "phi", "statusFlags")]
    branches = read_all(path, "Events", *own, *gen, "run", "luminosityBlock", "event", "genWeight", "GenJet_pt")
    assert len(found["jets/pt"]) == expected and row["skipped"] == [] and row["warnings"] == []
    np.testing.assert_array_equal(found["jets/pt"], ak.flatten(branches[f"{jets}_pt"]))
    counts = ak.num(branches[f"{jets}_pt"])
    for column, name in (("event_number", "event"), ("weight", "genWeight")):
        np.testing.assert_array_equal(found[f"jets/{column}"], np.repeat(branches[name], counts))
    assert set(found["jets/run_number"] >> np.uint64(32)) == set(branches["run"].tolist())
    assert attributes["sum_of_weights"] == pytest.approx(math.fsum(branches["genWeight"].tolist()))
    renamed = {key.replace(f"{jets}_", "Jet_"): values for key, values in branches.items()}
    rows = [(entry, jet) for entry, count in enumerate(counts.tolist()) for jet in range(count)]
    assert list(zip(*(found[name].tolist() for name in TRUTHS), strict=True)) == slow_rows(renamed, rows)
    # Two ways to a label: hadrons in a cone, and what CMS found by ghost hadrons.
    both = (found["jets/truth_flavour"] != 15) & (found["jets/hadron_flavour"] >= 0)
    assert np.mean((found["jets/truth_flavour"] == found["jets/hadron_flavour"])[both]) > 0.96
    # The generator jet that the index leads to is a jet of about the same pt.
    near = (found["jets/gen_pt"] > 0) & (found["jets/pt"] > 30)
    assert 0.7 < np.median(found["jets/pt"][near] / found["jets/gen_pt"][near]) < 1.4


def test_physlite_of_atlas(tmp_path):
    path = foreign("atlas_physlite_ttree.root")
    found, attributes, row = run(tmp_path, path, "200 kB", kind="physlite")
    names = ["AnalysisJetsAuxDyn.pt", "AnalysisJetsAuxDyn.eta", "AnalysisJetsAuxDyn.phi"]
    names += [f"InDetTrackParticlesAuxDyn.{one}" for one in ("d0", "z0", "vz", "phi", "theta", "qOverP")]
    names += ["PrimaryVerticesAuxDyn.z", "PrimaryVerticesAuxDyn.vertexType", "EventInfoAuxDyn.mcEventWeights"]
    names += ["InDetTrackParticlesAuxDyn.definingParametersCovMatrixDiag"]
    one = {name: ak.to_list(values) for name, values in read_all(path, "CollectionTree", *names).items()}
    assert len(found["jets/pt"]) == 881 and row["skipped"] == [] and row["warnings"] == []
    np.testing.assert_allclose(
        found["jets/pt"], np.array([pt for event in one[names[0]] for pt in event]) / 1000, rtol=1e-6
    )
    jets = [jet for entry in range(100) for jet in slow_physlite(one, entry, 0.4)]
    np.testing.assert_array_equal(np.diff(found["tracks/offsets"]), [len(jet["tracks"]) for jet in jets])
    tracks = [track for jet in jets for track in jet["tracks"]]
    for name in ("pt", "eta", "phi", "d0", "z0", "z0_vertex", "q_over_p"):
        np.testing.assert_allclose(
            found[f"tracks/{name}"], [t[name] for t in tracks], rtol=1e-4, atol=1e-4, err_msg=name
        )
    errors = {
        (round(d0, 5), round(z0, 3)): math.sqrt(diagonal[0])
        for e in range(100)
        for d0, z0, diagonal in zip(*(one[n][e] for n in (names[3], names[4], names[-1])), strict=True)
    }
    expected = [errors[round(t["d0"], 5), round(t["z0"], 3)] for t in tracks]
    np.testing.assert_allclose(found["tracks/d0_error"], expected, rtol=1e-5)
    assert attributes["sum_of_weights"] == pytest.approx(math.fsum(w[0] for w in one["EventInfoAuxDyn.mcEventWeights"]))


def test_large_jets_of_physlite_say_what_they_lack(tmp_path):
    columns = {"jets": {"truth_label": {"branch": "R10TruthLabel_R22v1", "dtype": "i4"}}}
    how = {"kind": "physlite", "jets": "AnalysisLargeRJets", "radius": 1.0, "columns": columns}
    found, _, row = run(tmp_path, foreign("atlas_physlite_ttree.root"), "64 MB", **how)
    assert len(found["jets/pt"]) == 97 and set(found["jets/truth_flavour"]) == {-1}
    assert "AnalysisLargeRJetsAuxDyn.HadronConeExclTruthLabelID" in row["skipped"]
    assert "AnalysisLargeRJetsAuxDyn.constituentLinks" in row["skipped"]


def test_edm4hep_of_fcc(tmp_path):
    path = foreign("fcc_edm4hep_spring2021.root")
    found, _, row = run(tmp_path, path, "100 kB", kind="edm4hep", columns=EDM["columns"])
    assert len(found["jets/pt"]) == 516 and row["dropped_jets"] == 0 and row["warnings"] == []
    members = [f"{one}.momentum.{axis}" for one in ("Jet", "ReconstructedParticles", "Particle") for axis in "xyz"]
    members += ["Jet.energy", "ReconstructedParticles.energy", "ReconstructedParticles.charge", "Particle.PDG"]
    members += [f"{one}_{end}" for one in ("Jet.particles", "Particle.parents") for end in ("begin", "end")]
    read = read_all(path, "events", *members, "Jet#2/Jet#2.index", "Particle#0/Particle#0.index")
    one = {name.rpartition("/")[2]: ak.to_list(values) for name, values in read.items()}
    one = {name.replace("ReconstructedParticles.", "Reco.").replace("Particle.", "MC."): v for name, v in one.items()}
    check_edm4hep(found, one, "Jet#2", "Particle#0", 100, Truth())
    # A jet of this file is the sum of its constituents times the jet energy scale of the simulation.
    px = np.add.reduceat(found["constituents/px"].astype("f8"), found["constituents/offsets"][:-1])
    np.testing.assert_allclose(1.08 * px, found["jets/pt"] * np.cos(found["jets/phi"]), atol=1e-4)


def test_the_constituents_of_an_edm4hep_jet_are_not_taken_from_another_collection(tmp_path):
    path = foreign("fcc_edm4hep_spring2021.root")
    with pytest.raises(InputError, match="another collection") as caught:
        run(tmp_path, path, kind="edm4hep", constituents="MissingET")
    assert caught.value.details["found"] == "ReconstructedParticles"


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("nanoaod", "cms_nano_dy_zlib.root"),
        ("nanoaod", "cms_nanoaod2015_ttbar_zlib.root"),
        ("nanoaod", "cms_scouting_nano_pfcand.root"),
        ("physlite", "atlas_physlite_ttree.root"),
        ("edm4hep", "fcc_edm4hep_spring2021.root"),
    ],
)
def test_a_file_is_recognised_and_its_first_mapping_works(tmp_path, kind, name):
    path = foreign(name)
    with uproot.open(path) as file:
        trees = {
            tree: file[tree].keys(full_paths=False)
            for tree, what in file.classnames(cycle=False).items()
            if what == "TTree"
        }
    sure = {one: registry.load("convert.formats", one).guess(trees) for one in ("nanoaod", "physlite", "edm4hep")}
    assert max(sure, key=sure.get) == kind and sorted(sure.values())[:2] == [0, 0]
    found, *_ = run(tmp_path, path, "64 MB", kind=kind, **registry.load("convert.formats", kind).options(trees))
    assert len(found["jets/pt"]) > 100
