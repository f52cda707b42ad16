"""Delphes, JetClass, calorimeter showers and tracker hits: known numbers in, the same numbers out; slow loops agree."""

import itertools
import json
import math
import os
from pathlib import Path

import awkward as ak
import h5py
import numpy as np
import pytest
import uproot
from hypothesis import given, settings
from hypothesis import strategies as st

from bunchtrain import registry
from bunchtrain.config.specs import ConvertSpec
from bunchtrain.convert import VERSION
from bunchtrain.convert.formats import delphes
from bunchtrain.convert.run import convert
from bunchtrain.convert.table import Shape, Table
from bunchtrain.errors import CampaignError, InputError
from bunchtrain.events.layout import check

FOREIGN = Path(os.environ.get("BUNCHTRAIN_TEST_DATA", Path(__file__).parents[3] / "shared" / "data" / "open"))


def foreign(name):
    path = FOREIGN / name
    if not path.exists():
        pytest.skip(f"{name} is not here; it is looked for in BUNCHTRAIN_TEST_DATA")
    return path


def run(folder, paths, kind, step_size="1 MB", on_bad_file="fail", **options):
    """Convert and return columns by dataset, offsets among them, the attributes and the manifest."""
    spec = ConvertSpec(
        version=VERSION,
        sample="s",
        label=0,
        classes=["a", "b"],
        format={"kind": kind, **options},
        step_size=step_size,
        on_bad_file=on_bad_file,
    )
    out, manifest = folder / "out" / "a.h5", folder / "out" / "a.json"
    convert(spec, [paths] if isinstance(paths, Path) else paths, out, manifest)
    check(out)
    with h5py.File(out) as file:
        columns = {f"{group}/{name}": file[group][name][:] for group in file for name in file[group]}
        return columns, dict(file.attrs), json.loads(manifest.read_text())


def lists_of(columns, dataset):
    """A column of a collection as a list of arrays, one per row."""
    offsets = columns[f"{dataset.split('/')[0]}/offsets"]
    return [columns[dataset][a:b] for a, b in itertools.pairwise(offsets)]


def write(path, tree, branches):
    """Write a TTree; lists get a counter each, arrays of more dimensions a fixed shape."""
    kinds = {}
    for name, values in branches.items():
        if isinstance(values, ak.Array):
            kinds[name] = f"var * {ak.to_numpy(ak.flatten(values, axis=None)).dtype}"
        else:
            kinds[name] = np.dtype((values.dtype, values.shape[1:])) if values.ndim > 1 else values.dtype
    with uproot.recreate(path) as file:
        file.mktree(tree, kinds, counter_name=lambda name: f"n_{name}").extend(branches)
    return path


def jagged(random, counts, scale=1.0):
    return ak.unflatten((random.normal(0, scale, int(np.sum(counts)))).astype("f4"), counts)


# --- JetClass


def jetclass_branches(published=True, jets=30, seed=0):
    random = np.random.default_rng(seed)
    counts = random.integers(1, 8, jets)
    px, py, pz = (jagged(random, counts, 50) for _ in range(3))
    branches = {"part_px": px, "part_py": py, "part_pz": pz, "part_energy": np.sqrt(px**2 + py**2 + pz**2 + 0.02)}
    branches |= {f"jet_{name}": random.random(jets).astype("f4") + 1 for name in ("pt", "eta", "phi", "energy")}
    branches |= {f"jet_{n}": random.random(jets).astype("f4") for n in ("sdmass", "tau1", "tau2", "tau3", "tau4")}
    for name in ("charge", "d0val", "d0err", "dzval", "dzerr", "deta", "dphi"):
        branches[f"part_{name}"] = jagged(random, counts)
    code = ak.unflatten(random.choice([211, -211, 2212, 0, 22, 11, -13], int(counts.sum())).astype("f4"), counts)
    classes = random.integers(0, 10, jets)
    if published:
        for number, name in enumerate(("QCD", "Hbb", "Hcc", "Hgg", "H4q", "Hqql", "Zqq", "Wqq", "Tbqq", "Tbl")):
            branches[f"label_{name}"] = classes == number
        branches["label_QCD"] = branches["label_QCD"].astype("f4")
        kinds = {"ChargedHadron": (211, 2212), "NeutralHadron": (0,), "Photon": (22,), "Electron": (11,), "Muon": (13,)}
        for name, codes in kinds.items():
            flags = sum((abs(code) == one) * 1 for one in codes)
            branches[f"part_is{name}"] = ak.values_astype(flags, bool)
        branches["aux_genpart_pid"] = np.where(classes > 0, 25, 0).astype("f4")
    else:
        branches["part_pid"] = code
        branches["gen_match"] = np.array([50, 41, 42, 44, 45, 46, 32, 21, 12, 16])[classes].astype("f4")
        branches["genpart_pid"] = np.where(classes > 0, 25, 0).astype("f4")
    return branches, classes, code


@pytest.mark.parametrize("published", [True, False])
def test_both_kinds_of_jetclass_files_give_the_same_columns(tmp_path, published):
    branches, classes, code = jetclass_branches(published)
    columns, attributes, manifest = run(tmp_path, write(tmp_path / "a.root", "tree", branches), "jetclass", "1 kB")
    np.testing.assert_array_equal(columns["jets/truth_label"], classes)
    np.testing.assert_array_equal(columns["jets/truth_pdg"], np.where(classes > 0, 25, 0))
    for name in ("pt", "eta", "phi"):
        np.testing.assert_array_equal(columns[f"jets/{name}"], branches[f"jet_{name}"])
    np.testing.assert_array_equal(columns["jets/softdrop_mass"], branches["jet_sdmass"])
    order = ak.argsort(branches["part_px"] ** 2 + branches["part_py"] ** 2, ascending=False, stable=True)
    pairs = {"px": "px", "energy": "energy", "d0": "d0val", "d0_error": "d0err", "z0": "dzval", "delta_eta": "deta"}
    for name, branch in pairs.items():
        np.testing.assert_array_equal(columns[f"constituents/{name}"], ak.flatten(branches[f"part_{branch}"][order]))
    kind = np.abs(ak.to_numpy(ak.flatten(code[order])))
    np.testing.assert_array_equal(columns["constituents/is_charged_hadron"], np.isin(kind, [211, 2212]))
    np.testing.assert_array_equal(columns["constituents/is_muon"], kind == 13)
    total = {
        n: np.array(ak.sum(ak.values_astype(branches[f"part_{n}"], "f8"), 1)) for n in ("px", "py", "pz", "energy")
    }
    squared = total["energy"] ** 2 - total["px"] ** 2 - total["py"] ** 2 - total["pz"] ** 2
    np.testing.assert_allclose(columns["jets/mass"], np.sqrt(squared), rtol=1e-4)
    assert attributes["sum_of_weights"] == len(classes)
    absent = {True: ["gen_match"], False: []}[published]
    assert [name for name in manifest["inputs"][0]["skipped"] if name in absent] == absent


def test_a_jet_of_no_class_or_of_two_is_told_apart(tmp_path):
    branches, classes, _ = jetclass_branches()
    branches["label_Hbb"] = np.ones(len(classes), bool)
    columns, _, _ = run(tmp_path, write(tmp_path / "a.root", "tree", branches), "jetclass")
    np.testing.assert_array_equal(columns["jets/truth_label"], np.where(classes == 1, 1, -1))
    other, classes, _ = jetclass_branches(published=False)
    other["gen_match"][:] = 13
    columns, _, _ = run(tmp_path, write(tmp_path / "b.root", "tree", other), "jetclass")
    assert set(columns["jets/truth_label"]) == {-1} and set(columns["jets/truth_match"]) == {13}


def test_what_is_merely_useful_may_be_missing_and_is_listed(tmp_path):
    branches, classes, _ = jetclass_branches()
    lean = {n: v for n, v in branches.items() if n in ("jet_pt", "jet_eta", "jet_phi") or n[5:] in P4}
    columns, _, manifest = run(tmp_path, write(tmp_path / "a.root", "tree", lean), "jetclass")
    assert set(columns["jets/truth_label"]) == {-1} and not columns["constituents/d0"].any()
    assert len(columns["constituents/d0"]) == len(columns["constituents/px"])
    assert {"part_d0val", "jet_sdmass", "part_isMuon"} <= set(manifest["inputs"][0]["skipped"])
    assert len(classes) == len(columns["jets/pt"])


P4 = ("px", "py", "pz", "energy")


def test_the_mass_may_come_from_the_energy_and_more_columns_by_name(tmp_path):
    branches, _, _ = jetclass_branches()
    branches["jet_energy"] = (branches["jet_pt"] * np.cosh(branches["jet_eta"]) + 5).astype("f4")
    path = write(tmp_path / "a.root", "tree", branches)
    more = {"jets": {"e": {"branch": "jet_energy", "units": "GeV"}}, "tracks": {"d0": "part_d0val"}}
    columns, _, _ = run(tmp_path, path, "jetclass", mass="energy", columns=more)
    momentum = branches["jet_pt"].astype("f8") * np.cosh(branches["jet_eta"].astype("f8"))
    expected = np.sqrt(branches["jet_energy"].astype("f8") ** 2 - momentum**2)
    np.testing.assert_allclose(columns["jets/mass"], expected, rtol=1e-5)
    np.testing.assert_array_equal(columns["jets/e"], branches["jet_energy"])
    np.testing.assert_array_equal(columns["tracks/d0"], ak.flatten(branches["part_d0val"]))


@pytest.mark.parametrize(("name", "label", "jets"), [("hbb", {1}, 552), ("qcd", {0}, 1250), ("ttbar", {8}, 824)])
def test_jetclass_files_of_the_generation_chain(tmp_path, name, label, jets):
    columns, _, manifest = run(tmp_path, foreign(f"jetclass_like_{name}.root"), "jetclass")
    assert set(columns["jets/truth_label"]) == label and len(columns["jets/pt"]) == jets
    row = manifest["inputs"][0]
    assert row["skipped"] == [] and row["warnings"] == []
    kinds = sum(columns[f"constituents/is_{n}"] for n in ("charged_hadron", "neutral_hadron", "photon"))
    kinds = kinds + columns["constituents/is_electron"] + columns["constituents/is_muon"]
    assert (kinds == 1).all()


# --- calorimeter


def shower_branches(shape=(3, 2, 4), showers=25, seed=0):
    random = np.random.default_rng(seed)
    par = random.random((showers, 10)).astype("f4")
    par[:, 6] = par[:, 6] > 0.5  # is_photon is a whole number
    cells = random.normal(0.1, 1, (showers, *shape)).astype("f4")
    return {"event": np.arange(showers)[::-1].copy(), "par": par, "cells": cells}


def test_cells_keep_their_place_and_parameters_their_units(tmp_path):
    branches = shower_branches()
    path = write(tmp_path / "a.root", "showers", branches)
    columns, attributes, _ = run(tmp_path, path, "calorimeter", "1 kB")
    assert attributes["rows"] == "showers" and attributes["sum_of_weights"] == 25
    np.testing.assert_array_equal(columns["cells/energy"], branches["cells"].ravel())
    assert (columns["cells/energy"] < 0).any()
    layer, row, column = np.indices((3, 2, 4)).reshape(3, -1)
    for name, expected in (("layer", layer), ("row", row), ("column", column), ("index", np.arange(24))):
        np.testing.assert_array_equal(columns[f"cells/{name}"], np.tile(expected, 25))
    np.testing.assert_array_equal(np.diff(columns["cells/offsets"]), 24)
    np.testing.assert_allclose(columns["showers/energy"], np.exp(branches["par"][:, 0]), rtol=1e-6)
    np.testing.assert_allclose(columns["showers/x"], 10 * branches["par"][:, 1], rtol=1e-6)
    np.testing.assert_array_equal(columns["showers/theta"], branches["par"][:, 3])
    np.testing.assert_array_equal(columns["showers/event_number"], branches["event"])


def test_flat_lists_ragged_lists_and_single_branches(tmp_path):
    branches = shower_branches()
    flat = {**branches, "cells": branches["cells"].reshape(25, -1), "w": np.arange(25, dtype="f4")}
    path = write(tmp_path / "a.root", "showers", flat)
    columns, attributes, _ = run(tmp_path, path, "calorimeter", shape=[3, 2, 4], weight="w", cell_units="MeV")
    np.testing.assert_allclose(columns["cells/energy"], branches["cells"].ravel() * 1e-3, rtol=1e-6)
    np.testing.assert_array_equal(columns["cells/row"][:24], np.indices((3, 2, 4))[1].ravel())
    assert attributes["sum_of_weights"] == np.arange(25).sum()

    counts = np.array([2, 0, 3])
    random = np.random.default_rng(1)
    ragged = {"e": jagged(random, counts), "l": ak.unflatten(np.arange(5, dtype="i4"), counts), "p": np.ones(3, "f4")}
    options = {
        "tree": "t",
        "cells": "e",
        "event": None,
        "columns": {"cells": {"layer": {"branch": "l + 0 * p", "dtype": "i4"}}, "showers": {"p": "2 * p"}},
    }
    columns, _, _ = run(tmp_path, write(tmp_path / "b.root", "t", ragged), "calorimeter", **options)
    np.testing.assert_array_equal(columns["cells/layer"], np.arange(5))
    np.testing.assert_array_equal(columns["cells/index"], [0, 1, 0, 1, 2])
    np.testing.assert_array_equal(columns["showers/p"], 2)

    single = {"Eabs": np.array([40.0, 45.0]), "Egap": np.array([5.0, 0.0])}
    options = {"tree": "B4", "cells": ["Eabs", "Egap"], "event": None, "columns": {}}
    columns, _, _ = run(tmp_path, write(tmp_path / "c.root", "B4", single), "calorimeter", **options)
    np.testing.assert_array_equal(columns["cells/energy"], [40, 5, 45, 0])
    np.testing.assert_array_equal(columns["cells/layer"], [0, 1, 0, 1])


def with_nan(name, place):
    branches = shower_branches()
    branches[name][place] = np.nan
    return branches


@pytest.mark.parametrize(
    ("branches", "options", "problem", "key"),
    [
        (with_nan("cells", (7, 1, 1, 1)), {}, "not a finite number", "cells"),
        (with_nan("par", (7, 0)), {}, "not a finite number", r"exp\(par\[0\]\)"),
        (shower_branches(), {"cells": "cell"}, "no such branch", "convert.format.cells"),
        (shower_branches(), {"cells": "event"}, "another type", "convert.format.cells"),
        (shower_branches(), {"shape": [5, 5]}, "another number of cells", "convert.format.shape"),
        (shower_branches(), {"columns": {"showers": {"a": "par[10]"}}}, "no such element",
         "convert.format.columns.showers.a"),
        (shower_branches(), {"columns": {"showers": {"a": "pars[1]"}}}, "no such branch",
         "convert.format.columns.showers.a"),
        (shower_branches(), {"columns": {"showers": {"a": "par"}}}, "another type",
         "convert.format.columns.showers.a"),
        (shower_branches(), {"columns": {"cells": {"a": "par"}}}, "differ in length", "par"),
    ],
)  # fmt: skip
def test_bad_showers_are_refused(tmp_path, branches, options, problem, key):
    path = write(tmp_path / "a.root", "showers", branches)
    with pytest.raises(InputError, match=problem) as caught:
        run(tmp_path, path, "calorimeter", **options)
    assert caught.value.details["file"] == str(path)
    assert caught.value.details["key"] == key.replace("\\", "")
    if "finite" in problem:
        assert caught.value.details["found"] == "nan in entry 7"


def test_showers_of_other_producers(tmp_path):
    columns, _, manifest = run(tmp_path, foreign("calo_gp_zstd.root"), "calorimeter")
    assert len(columns["showers/energy"]) == 5000 and len(columns["cells/energy"]) == 5000 * 504
    assert manifest["inputs"][0]["warnings"] == []
    # The energy of the incident particle is the exponential of the first parameter: the cells hold most of it.
    deposited = columns["cells/energy"].reshape(5000, 504).sum(axis=1)
    assert 0.8 < np.median(deposited / columns["showers/energy"]) < 1.2
    options = {"tree": "B4", "cells": ["Eabs", "Egap"], "cell_units": "MeV", "event": None, "columns": {}}
    columns, _, _ = run(tmp_path, foreign("geant4_B4_calo.root"), "calorimeter", **options)
    assert len(columns["cells/energy"]) == 2000 and 0.045 < columns["cells/energy"].max() <= 0.051


# --- hits


def hit_branches(counts, seed=0):
    random = np.random.default_rng(seed)
    branches = {f"hit_{name}": jagged(random, counts, 100) for name in "xyz"}
    branches["hit_layer"] = ak.unflatten(random.integers(0, 10, int(np.sum(counts))).astype("i4"), counts)
    return {**branches, "event_number": np.arange(len(counts)) + 100, "weight": random.random(len(counts))}


@settings(max_examples=10, deadline=None)
@given(counts=st.lists(st.integers(0, 6), min_size=1, max_size=20), seed=st.integers(0, 99))
def test_hits_come_back_as_they_went_in(tmp_path_factory, counts, seed):
    folder, branches = tmp_path_factory.mktemp("hits"), hit_branches(counts, seed)
    path = write(folder / "a.root", "events", branches)
    more = {"hits": {"layer": {"branch": "hit_layer", "dtype": "i4"}}}
    columns, attributes, _ = run(folder, path, "hits", "1 kB", units="cm", weight="weight", columns=more)
    for name in "xyz":
        np.testing.assert_allclose(columns[f"hits/{name}"], 10 * ak.flatten(branches[f"hit_{name}"]), rtol=1e-6)
    np.testing.assert_array_equal(columns["hits/layer"], ak.flatten(branches["hit_layer"]))
    np.testing.assert_array_equal(np.diff(columns["hits/offsets"]), counts)
    np.testing.assert_array_equal(columns["events/event_number"], np.arange(len(counts)) + 100)
    assert attributes["sum_of_weights"] == pytest.approx(branches["weight"].sum())


def test_bad_hits_are_refused(tmp_path):
    branches = hit_branches([2, 3])
    uneven = {**branches, "hit_y": hit_branches([2, 2])["hit_y"]}
    for content, problem, key in (
        (uneven, "differ in length", "hit_y"),
        ({n: v for n, v in branches.items() if n != "hit_z"}, "no such branch", "convert.format.z"),
    ):
        path = write(tmp_path / "a.root", "events", content)
        with pytest.raises(InputError, match=problem) as caught:
            run(tmp_path, path, "hits")
        assert caught.value.details["key"] == key
    with pytest.raises(CampaignError):
        run(tmp_path, path, "hits", columns={"jets": {"a": "b"}})


# --- Delphes


def delphes_branches(events=12, seed=0):
    """Random events: tracks and photons with numbers, jets that refer to some of them, and one b hadron each."""
    random = np.random.default_rng(seed)
    counts = {"EFlowTrack": random.integers(1, 6, events), "EFlowPhoton": random.integers(1, 6, events)}
    branches, numbers = {}, [[] for _ in range(events)]
    start = {"EFlowTrack": 1, "EFlowPhoton": 100}
    for name, own in counts.items():
        pt = "PT" if name == "EFlowTrack" else "ET"
        branches[f"{name}.{pt}"] = ak.unflatten(random.uniform(1, 50, own.sum()), own)
        branches[f"{name}.Eta"] = ak.unflatten(random.uniform(-2, 2, own.sum()), own)
        branches[f"{name}.Phi"] = ak.unflatten(random.uniform(-3, 3, own.sum()), own)
        ids = ak.local_index(branches[f"{name}.Eta"]) + start[name]
        # The upper bits tell the process that wrote the object and are no part of the number.
        branches[f"{name}.fUniqueID"] = ak.values_astype(ids + (3 << 24), np.uint32)
        for event, several in enumerate(ids.tolist()):
            numbers[event] += several
    size = counts["EFlowTrack"]
    branches["EFlowTrack.Mass"] = ak.unflatten(np.full(size.sum(), 0.13957), size)
    branches["EFlowTrack.Charge"] = ak.unflatten(random.choice([-1, 1], size.sum()).astype("i4"), size)
    for name in ("D0", "ErrorD0", "DZ"):
        branches[f"EFlowTrack.{name}"] = ak.unflatten(random.random(size.sum()), size)
    photons = branches["EFlowPhoton.ET"]
    branches["EFlowPhoton.E"] = photons * np.cosh(branches["EFlowPhoton.Eta"])
    branches["EFlowPhoton.Eem"], branches["EFlowPhoton.Ehad"] = branches["EFlowPhoton.E"], photons * 0
    jets = random.integers(0, 4, events)
    jets[0] = 0
    refs = [
        [list(random.permutation(numbers[e])[: random.integers(1, 4)]) for _ in range(n)] for e, n in enumerate(jets)
    ]
    branches["Jet.Constituents.refs"] = ak.values_astype(ak.Array(refs), np.int32)
    for name in ("PT", "Eta", "Phi", "Mass"):
        branches[f"Jet.{name}"] = ak.unflatten(random.uniform(0.5, 2, jets.sum()), jets)
    branches["Jet.BTag"] = ak.unflatten(random.integers(0, 2, jets.sum()).astype("u4"), jets)
    branches["Event.Number"] = ak.unflatten(np.arange(events) + 7, np.ones(events, int))
    branches["Event.Weight"] = ak.unflatten(random.random(events), np.ones(events, int))
    # Event 1 on: a b hadron upon the first jet, if there is one; a top whose copy comes later.
    one = np.ones(events, int) * 3
    axis = ak.fill_none(ak.firsts(branches["Jet.Eta"]), 0.0), ak.fill_none(ak.firsts(branches["Jet.Phi"]), 0.0)
    branches["Particle.PID"] = ak.unflatten(np.tile([511, 6, 6], events), one)
    branches["Particle.PT"] = ak.unflatten(np.tile([20.0, 30.0, 40.0], events), one)
    for name, first in zip(("Eta", "Phi"), axis, strict=True):
        values = np.stack([ak.to_numpy(first), ak.to_numpy(first), np.full(events, -2.9)], 1)
        branches[f"Particle.{name}"] = ak.unflatten(values.ravel(), one)
    branches["Particle.M1"] = ak.unflatten(np.tile([-1, -1, 1], events), one)
    return branches, refs


REFS = "Jet.Constituents.refs"


class Nested(Table):
    """Uproot writes no lists of lists: they stand in two branches here, and are put together when read."""

    def __contains__(self, name):
        return super().__contains__(name) or (name == REFS and self._split)

    @property
    def _split(self):
        return super().__contains__(f"{REFS}.values")

    def shape(self, name):
        return Shape(2, "int32") if name == REFS and self._split else super().shape(name)

    def steps(self, names, *limits):
        split = [
            one
            for name in names
            for one in ([f"{REFS}.values", f"{REFS}.counts"] if name == REFS and self._split else [name])
        ]
        for first, arrays in super().steps(split, *limits):
            if REFS in names and self._split:
                each = ak.flatten(arrays[f"{REFS}.counts"])
                nested = ak.unflatten(ak.flatten(arrays[f"{REFS}.values"]), each)
                arrays[REFS] = ak.unflatten(nested, ak.num(arrays[f"{REFS}.counts"]))
            yield first, arrays


@pytest.fixture(autouse=True)
def _nested(monkeypatch):
    monkeypatch.setattr(delphes, "Table", Nested)


def delphes_file(path, branches):
    if (refs := branches.get(REFS)) is not None:
        split = {f"{REFS}.values": ak.flatten(refs, axis=2), f"{REFS}.counts": ak.num(refs, axis=2)}
        branches = {**{name: values for name, values in branches.items() if name != REFS}, **split}
    return write(path, "Delphes", branches)


def slow_jets(branches, refs):
    """For each jet the four-momenta of what it refers to, found one by one, hardest first."""
    found = []
    for event, jets in enumerate(refs):
        known = {}
        for name in ("EFlowTrack", "EFlowPhoton"):
            pts = branches[f"{name}.{'PT' if name == 'EFlowTrack' else 'ET'}"][event]
            for at, number in enumerate(branches[f"{name}.fUniqueID"][event]):
                pt, eta, phi = pts[at], branches[f"{name}.Eta"][event][at], branches[f"{name}.Phi"][event][at]
                mass = 0.13957 if name == "EFlowTrack" else 0.0
                px, py, pz = pt * math.cos(phi), pt * math.sin(phi), pt * math.sinh(eta)
                known[int(number) & 0xFFFFFF] = (name, px, py, pz, math.sqrt(px**2 + py**2 + pz**2 + mass**2))
        found += [(event, sorted((known[n] for n in one), key=lambda p: -math.hypot(p[1], p[2]))) for one in jets]
    return found


def test_references_lead_to_what_jets_are_made_of(tmp_path):
    branches, refs = delphes_branches()
    path = delphes_file(tmp_path / "a.root", branches)
    more = {"jets": {"b_tag": {"branch": "BTag", "dtype": "i4"}}}
    columns, attributes, manifest = run(tmp_path, path, "delphes", columns=more)
    expected = slow_jets(branches, refs)
    assert len(columns["jets/pt"]) == len(expected) == sum(map(len, refs))
    for at, name in enumerate(P4, start=1):
        for values, (_, parts) in zip(lists_of(columns, f"constituents/{name}"), expected, strict=True):
            np.testing.assert_allclose(values, [part[at] for part in parts], rtol=1e-5)
    for dataset, kind in (("tracks/pt", "EFlowTrack"), ("cells/energy", "EFlowPhoton")):
        counts = [len(values) for values in lists_of(columns, dataset)]
        assert counts == [sum(part[0] == kind for part in parts) for _, parts in expected]
    np.testing.assert_array_equal(columns["jets/event_number"], [event + 7 for event, _ in expected])
    np.testing.assert_array_equal(columns["jets/b_tag"], ak.flatten(branches["Jet.BTag"]))
    # Event 0 has no jet, and counts all the same.
    assert refs[0] == [] and attributes["sum_of_weights"] == pytest.approx(ak.sum(branches["Event.Weight"]))
    assert {"EFlowTrack.ErrorDZ", "EFlowTrack.PID", "Particle.M2"} <= set(manifest["inputs"][0]["skipped"])


def test_truth_is_that_of_the_particles_near_by(tmp_path):
    branches, refs = delphes_branches()
    path = delphes_file(tmp_path / "a.root", branches)
    columns, _, _ = run(tmp_path, path, "delphes", truth={"radius": 0.05})
    first = np.concatenate([[True] + [False] * (len(jets) - 1) for jets in refs if jets])
    np.testing.assert_array_equal(columns["jets/truth_flavour"] == 5, first)
    # The top near the jet is not the last copy, and the last one is far away.
    assert not columns["jets/truth_origin"].any()
    del branches["Particle.M1"]
    columns, _, _ = run(tmp_path, delphes_file(tmp_path / "b.root", branches), "delphes", truth={"radius": 0.05})
    np.testing.assert_array_equal(columns["jets/truth_origin"] == 6, first)
    del branches["Particle.PID"]
    columns, _, manifest = run(tmp_path, delphes_file(tmp_path / "c.root", branches), "delphes")
    assert set(columns["jets/truth_flavour"]) == {-1} and "Particle.PID" in manifest["inputs"][0]["skipped"]


def event_numbers(values):
    branches, _ = delphes_branches(len(values), seed=3)
    branches["Event.Number"] = ak.unflatten(np.array(values), np.ones(len(values), int))
    return branches


def test_event_numbers_that_count_anew_are_not_taken(tmp_path):
    for at, values in enumerate(([0, 0, 0, 0, 0], [1, 2, 3, 1, 2])):
        path = delphes_file(tmp_path / f"{at}.root", event_numbers(values))
        columns, _, manifest = run(tmp_path, path, "delphes")
        assert "Event.Number" in manifest["inputs"][0]["skipped"]
        assert set(columns["jets/event_number"]) <= set(range(5))
        assert len(set(columns["jets/event_number"])) > 1
    columns, _, _ = run(tmp_path, delphes_file(tmp_path / "2.root", event_numbers([9, 3, 8, 1, 2])), "delphes")
    assert set(columns["jets/event_number"]) <= {9, 3, 8, 1, 2}


def unknown_reference():
    branches, refs = delphes_branches()
    event = next(e for e, jets in enumerate(refs) if jets)
    refs[event][0][0] = 5000
    return {**branches, "Jet.Constituents.refs": ak.values_astype(ak.Array(refs), np.int32)}


def without(*names):
    return {name: values for name, values in delphes_branches()[0].items() if name not in names}


@pytest.mark.parametrize(
    ("branches", "options", "problem", "key"),
    [
        (unknown_reference(), {}, "in none of the collections", "convert.format.constituents"),
        (without(), {"constituents": ["EFlowTrack"]}, "in none of the collections", "convert.format.constituents"),
        (without(), {"constituents": ["Tower"]}, "none of the collections", "convert.format.constituents"),
        (without(), {"jets": "FatJet"}, "no such collection of jets", "convert.format.jets"),
        (without("Jet.Constituents.refs"), {}, "no such branch", "convert.format.jets"),
        (without("Event.Weight"), {}, "no such branch", "convert.format.weight"),
        (event_numbers([1, 2, 5, 3, 5]), {}, "an event twice", "convert.format.event"),
        (without(), {"columns": {"jets": {"a": "Flavour"}}}, "no such branch", "convert.format.columns.jets.a"),
    ],
)
def test_bad_delphes_files_are_refused(tmp_path, branches, options, problem, key):
    path = delphes_file(tmp_path / "a.root", branches)
    with pytest.raises(InputError, match=problem) as caught:
        run(tmp_path, path, "delphes", **options)
    assert caught.value.details["file"] == str(path) and caught.value.details["key"] == key


@pytest.mark.parametrize(
    ("name", "jets", "kinds"),
    [
        ("delphes_cms_qcd60.root", "FatJet", ["EFlowTrack", "EFlowPhoton", "EFlowNeutralHadron"]),
        ("delphes_jetclasscard_ttbar60.root", "FatJet", ["ParticleFlowCandidate"]),
        ("delphes_cms_qcd60.root", "GenJet", ["Particle"]),
    ],
)
def test_constituents_of_real_jets_add_up(tmp_path, name, jets, kinds):
    path = foreign(name)
    columns, _, manifest = run(tmp_path, path, "delphes", "2 MB", jets=jets, constituents=kinds)
    px, py, pz, energy = (np.array([one.sum(dtype="f8") for one in lists_of(columns, f"constituents/{n}")]) for n in P4)
    np.testing.assert_allclose(np.hypot(px, py), columns["jets/pt"], rtol=1e-5)
    np.testing.assert_allclose(np.arcsinh(pz / np.hypot(px, py)), columns["jets/eta"], atol=1e-5)
    mass = np.sqrt(np.maximum(energy**2 - px**2 - py**2 - pz**2, 0))
    # Tracks without pt are dropped: the jet's mass in the file holds their rest energies.
    np.testing.assert_allclose(
        mass[clean := mass > columns["jets/mass"] - 0.05], columns["jets/mass"][clean], atol=0.05
    )
    assert clean.all() or manifest["inputs"][0]["dropped_constituents"] > 50
    assert clean.mean() > 0.7
    assert manifest["inputs"][0]["warnings"] == []
    with uproot.open(path) as file:  # one event by hand
        tree = file["Delphes"]
        event = int(columns["jets/event_number"][0])
        refs = tree[f"{jets}/{jets}.Constituents"].array()["refs"][event][0].tolist()
        found = {}
        for kind in kinds:
            pt = "PT" if f"{kind}/{kind}.PT" in tree else "ET"
            values = [tree[f"{kind}/{kind}.{n}"].array()[event] for n in ("fUniqueID", pt)]
            for number, one in zip(*(v.tolist() for v in values), strict=True):
                found.setdefault(number, one)
    hardest = sorted((found[number] for number in refs if found[number] > 0), reverse=True)
    first = np.hypot(*(lists_of(columns, f"constituents/{n}")[0].astype("f8") for n in ("px", "py")))
    np.testing.assert_allclose(first, hardest, rtol=1e-5)


def test_small_jets_of_a_corrected_scale_are_near_their_constituents(tmp_path):
    columns, _, _ = run(tmp_path, foreign("delphes_cms_qcd60.root"), "delphes")
    px, py = (np.array([one.sum(dtype="f8") for one in lists_of(columns, f"constituents/{n}")]) for n in ("px", "py"))
    assert np.all(np.abs(np.hypot(px, py) / columns["jets/pt"] - 1) < 0.15)
    assert {0, 5} <= set(columns["jets/truth_flavour"])


@pytest.mark.parametrize("kind", ["delphes", "jetclass", "calorimeter", "hits"])
def test_corrupt_files_are_clear_errors(tmp_path, kind):
    for name in ("bad_delphes.root", "empty_file.root", "corrupt_truncated_tail.root", "jet_images_qcd_tt.h5"):
        path = foreign(name)
        with pytest.raises(InputError) as caught:
            run(tmp_path, path, kind)
        assert caught.value.details["file"] == str(path)


@pytest.mark.parametrize("kind", ["delphes", "jetclass", "calorimeter", "hits", "ntuple"])
def test_a_kind_knows_its_own_files_by_their_branches(kind):
    trees = {
        "delphes": {"Delphes": [*delphes_branches()[0], "Jet.Constituents"]},
        "jetclass": {"tree": [*jetclass_branches()[0]]},
        "calorimeter": {"showers": [*shower_branches()]},
        "hits": {"events": [*hit_branches([1])]},
        "ntuple": {"jets": ["jet_pt", "jet_eta", "part_px", "part_py", "part_pz", "part_energy", "weight"]},
    }
    sure = {other: registry.load("convert.formats", other).guess(trees[kind]) for other in trees}
    assert max(sure, key=sure.get) == kind and sure[kind] > 0.4
    assert registry.load("convert.formats", kind).guess({"t": ["a", "b"]}) == 0
    options = registry.load("convert.formats", kind).options(trees[kind])
    assert registry.declared("convert.formats", kind).model_validate(options)
