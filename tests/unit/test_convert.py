"""ROOT to HDF5: content, completion, quarantine, and every kind of bad file."""

import json
import os
import resource
import signal
from pathlib import Path

import awkward as ak
import h5py
import numpy as np
import pytest
import uproot
from hypothesis import given, settings
from hypothesis import strategies as st

from bunchtrain import provenance
from bunchtrain.config.specs import ConvertSpec
from bunchtrain.convert import VERSION
from bunchtrain.convert.run import convert
from bunchtrain.errors import BunchtrainError, CampaignError, InputError
from bunchtrain.events.layout import CONSTITUENTS, check

P4 = [column.name for column in CONSTITUENTS]
COMPUTED = {"jets": {}, "run": None, "event": None, "weight": None}


def spec(on_bad_file="fail", step_size="1 kB", **options):
    return ConvertSpec(
        version=VERSION,
        sample="top",
        label=1,
        classes=["qcd", "top"],
        format={"kind": "ntuple", **options},
        step_size=step_size,
        on_bad_file=on_bad_file,
    )


def columns(counts, seed=0):
    """Random branches of an ntuple with the generator's names."""
    random = np.random.default_rng(seed)
    counts = np.array(counts, np.int64)
    px, py, pz = random.normal(0, 40, (3, counts.sum()))
    p4 = {"px": px, "py": py, "pz": pz, "energy": np.sqrt(px**2 + py**2 + pz**2 + 0.02)}
    branches = {f"part_{name}": ak.unflatten(values.astype("f4"), counts) for name, values in p4.items()}
    for name in ("jet_pt", "jet_eta", "jet_phi", "jet_mass", "weight"):
        branches[name] = random.random(len(counts)).astype("f4")
    branches["run_number"] = np.full(len(counts), seed, "u8")
    branches["event_number"] = np.arange(len(counts), dtype="u8")
    return branches


def write(path, branches, tree="jets"):
    """Write a TTree; each jagged branch has a counter of its own."""
    kinds = {}
    for name, values in branches.items():
        dtype = ak.to_numpy(ak.flatten(values, axis=None)).dtype
        kinds[name] = f"var * {dtype}" if isinstance(values, ak.Array) else dtype
    with uproot.recreate(path) as file:
        out = file.mktree(tree, kinds, counter_name=lambda name: f"n_{name}")
        if len(next(iter(branches.values()))):
            out.extend(branches)
    return path


def run(folder, paths, **options):
    out, manifest = folder / "out" / "a.h5", folder / "out" / "a.json"
    convert(spec(**options), paths, out, manifest)
    check(out)
    with h5py.File(out) as file:
        events = {f"{group}/{name}": file[group][name][:] for group in ("jets", "constituents") for name in file[group]}
        return events, dict(file.attrs), json.loads(manifest.read_text())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("converted")


@settings(max_examples=15, deadline=None)
@given(counts=st.lists(st.integers(0, 9), min_size=1, max_size=40), seed=st.integers(0, 2**20))
def test_what_is_in_the_file_is_in_the_output_hardest_first(folder, counts, seed):
    branches = columns(counts, seed)
    events, _, manifest = run(folder, [write(folder / "a.root", branches)])
    kept = np.array(counts) > 0
    for name in ("pt", "eta", "phi", "mass"):
        np.testing.assert_array_equal(events[f"jets/{name}"], branches[f"jet_{name}"][kept])
    np.testing.assert_array_equal(events["jets/event_number"], np.flatnonzero(kept))
    np.testing.assert_array_equal(np.diff(events["constituents/offsets"]), np.array(counts)[kept])
    pt = np.hypot(branches["part_px"], branches["part_py"])
    order = ak.argsort(pt, ascending=False, stable=True)
    for name in P4:
        expected = ak.to_numpy(ak.flatten(branches[f"part_{name}"][order]))
        np.testing.assert_array_equal(events[f"constituents/{name}"], expected)
    assert manifest["inputs"][0]["dropped_jets"] == int((~kept).sum())


def test_several_files_make_one_with_its_sources(tmp_path):
    counts = ([3, 1, 4], [2, 0], [5])
    paths = [write(tmp_path / f"{seed}.root", columns(one, seed)) for seed, one in enumerate(counts)]
    events, attributes, manifest = run(tmp_path, paths)
    np.testing.assert_array_equal(events["jets/file_id"], [0, 0, 0, 1, 2])
    np.testing.assert_array_equal(events["jets/run_number"], [0, 0, 0, 1, 2])
    np.testing.assert_array_equal(events["jets/label"], 1)
    sources = json.loads(attributes["source_files"])
    assert [source["path"] for source in sources] == [str(path) for path in paths]
    assert [source["entries"] for source in sources] == [[0, 3], [0, 2], [0, 1]]
    assert json.loads(attributes["classes"]) == ["qcd", "top"] and attributes["sample"] == "top"
    weights = sum(float(columns(one, seed)["weight"].sum(dtype="f8")) for seed, one in enumerate(counts))
    assert attributes["sum_of_weights"] == pytest.approx(weights)
    assert [row["status"] for row in manifest["inputs"]] == ["ok"] * 3
    assert [row["jets"] for row in manifest["inputs"]] == [3, 1, 1] and manifest["jets"] == 5
    assert [row["bytes"] for row in manifest["inputs"]] == [path.stat().st_size for path in paths]
    assert provenance.altered(tmp_path / "out" / "a.h5") == []
    record = provenance.read(tmp_path / "out" / "a.json")
    assert [row["path"] for row in record["inputs"]] == [str(path) for path in paths]
    assert [row["entries"] for row in record["inputs"]] == [source["entries"] for source in sources]


def test_the_same_inputs_give_the_same_bytes_whatever_the_step(tmp_path):
    paths = [write(tmp_path / "a.root", columns([7] * 200))]
    run(tmp_path, paths, step_size="1 kB")
    first = (tmp_path / "out" / "a.h5").read_bytes()
    run(tmp_path, paths, step_size="64 MB")
    assert (tmp_path / "out" / "a.h5").read_bytes() == first


def test_kinematics_are_computed_where_no_branch_is_named(tmp_path):
    branches = columns([3, 1, 5])
    events, attributes, _ = run(tmp_path, [write(tmp_path / "a.root", branches)], **COMPUTED)
    px, py, pz, energy = (ak.to_numpy(ak.sum(ak.values_astype(branches[f"part_{n}"], "f8"), axis=1)) for n in P4)
    np.testing.assert_allclose(events["jets/pt"], np.hypot(px, py), rtol=1e-6)
    np.testing.assert_allclose(events["jets/eta"], np.arctanh(pz / np.sqrt(px**2 + py**2 + pz**2)), rtol=1e-5)
    np.testing.assert_allclose(events["jets/phi"], np.arctan2(py, px), rtol=1e-6)
    np.testing.assert_allclose(events["jets/mass"] ** 2, energy**2 - px**2 - py**2 - pz**2, rtol=1e-4, atol=1e-3)
    np.testing.assert_array_equal(events["jets/weight"], 1)
    np.testing.assert_array_equal(events["jets/event_number"], [0, 1, 2])
    assert len(set(events["jets/run_number"])) == 1 and attributes["sum_of_weights"] == 3


def test_files_without_run_numbers_are_runs_of_their_own(tmp_path):
    paths = [write(tmp_path / f"{seed}.root", columns([2, 2], seed)) for seed in (0, 1)]
    events, _, _ = run(tmp_path, paths, run=None)
    runs = events["jets/run_number"]
    assert runs[0] == runs[1] != runs[2] == runs[3]


@pytest.mark.parametrize("fourth", ["energy", "mass"])
@pytest.mark.parametrize("units", ["GeV", "MeV"])
def test_pt_eta_phi_are_taken_in_either_unit(tmp_path, fourth, units):
    cartesian = columns([3, 4])
    px, py, pz, energy = (ak.values_astype(cartesian[f"part_{name}"], "f8") for name in P4)
    pt, scale = np.hypot(px, py), 1000 if units == "MeV" else 1
    mass = np.sqrt(np.maximum(energy**2 - px**2 - py**2 - pz**2, 0))
    last = {"energy": energy, "mass": mass}[fourth] * scale
    named = {"c_pt": pt * scale, "c_eta": np.arcsinh(pz / pt), "c_phi": np.arctan2(py, px), "c_last": last}
    mapping = {"pt": "c_pt", "eta": "c_eta", "phi": "c_phi", fourth: "c_last"}
    path = write(tmp_path / "polar.root", named)
    events, _, _ = run(tmp_path, [path], constituents=mapping, units=units, **COMPUTED)
    expected, _, _ = run(tmp_path, [write(tmp_path / "cartesian.root", cartesian)], **COMPUTED)
    for name in P4:
        np.testing.assert_allclose(events[f"constituents/{name}"], expected[f"constituents/{name}"], rtol=2e-4)
    np.testing.assert_allclose(events["jets/mass"], expected["jets/mass"], rtol=1e-3)


def test_padding_is_no_constituent(tmp_path):
    branches = columns([2, 3, 2])
    for name in P4:
        values = ak.to_list(branches[f"part_{name}"])
        values[0].append(0.0)
        values[2] = [0.0, 0.0]
        branches[f"part_{name}"] = ak.values_astype(ak.Array(values), "f4")
    events, _, manifest = run(tmp_path, [write(tmp_path / "a.root", branches)])
    np.testing.assert_array_equal(np.diff(events["constituents/offsets"]), [2, 3])
    np.testing.assert_array_equal(events["jets/event_number"], [0, 1])
    assert manifest["inputs"][0]["dropped_constituents"] == 3 and manifest["inputs"][0]["dropped_jets"] == 1


def with_value(branch, value):
    branches = columns([40] * 9)
    values = ak.to_list(branches[branch])
    if isinstance(branches[branch], ak.Array):
        values[8][1] = value
    else:
        values[8] = value
    array = ak.values_astype(ak.Array(values), "f4")
    return {**branches, branch: array if isinstance(branches[branch], ak.Array) else ak.to_numpy(array)}


def bad_bytes(content):
    return lambda path: path.write_bytes(content)


def bad_tree(branches, tree="jets"):
    return lambda path: write(path, branches, tree)


def without(name):
    return {key: values for key, values in columns([2, 3]).items() if key != name}


def truncated(path):
    content = write(path, columns([5] * 50)).read_bytes()
    path.write_bytes(content[: len(content) * 3 // 4])


def flipped(path):
    write(path, columns([40] * 50))
    content = bytearray(path.read_bytes())
    with uproot.open(path) as file:
        basket = file["jets/part_py"].basket(0)
        assert basket.compressed_bytes < basket.uncompressed_bytes
        place = file["jets/part_py"].basket_key(0).data_cursor.index
    content[place + 20 : place + 60] = bytes(40)
    path.write_bytes(content)


def not_a_tree(path):
    with uproot.recreate(path) as file:
        file["jets"] = np.histogram([1.0, 2.0], bins=4)


def other_storage(path):
    with uproot.recreate(path) as file:
        file.mkrntuple("jets", {"part_px": np.ones(3)})


BAD = {
    "no bytes": (bad_bytes(b""), "is empty", None, None),
    "pointer": (bad_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), "LFS pointer", None, None),
    "text": (bad_bytes(b"hello"), "not a ROOT file", None, None),
    "truncated": (truncated, "truncated", None, None),
    "flipped bits": (flipped, "damaged", "part_py", None),
    "no tree": (bad_tree(columns([2]), "jet"), "no such tree", "convert.format.tree", "jet"),
    "not a tree": (not_a_tree, "not a tree", "convert.format.tree", None),
    "no entries": (bad_tree(columns([])), "a tree is empty", "jets", None),
    "no branch": (bad_tree({**without("part_pz"), "part_z": columns([2, 3])["part_pz"]}),
                  "no such branch", "convert.format.constituents.pz", "part_z"),
    "no event": (bad_tree(without("event_number")), "no such branch", "convert.format.event", "run_number"),
    "a number for a list": (bad_tree({**columns([2, 3]), "part_px": np.ones(2)}),
                            "another type", "convert.format.constituents.px", None),
    "a list for a number": (bad_tree({**columns([2, 3]), "jet_pt": columns([2, 3])["part_px"]}),
                            "another type", "convert.format.jets.pt", None),
    "a float event": (bad_tree({**columns([2, 3]), "event_number": np.ones(2)}),
                      "another type", "convert.format.event", None),
    "uneven lists": (bad_tree({**columns([2, 3]), "part_py": columns([2, 2])["part_py"]}),
                     "differ in length", "part_py", None),
    "NaN": (bad_tree(with_value("part_energy", np.nan)), "not a finite number", "part_energy", None),
    "infinite": (bad_tree(with_value("weight", np.inf)), "not a finite number", "weight", None),
    "too large": (bad_tree({**columns([2, 3]), "jet_mass": np.full(2, 1e300)}),
                  "not physical", "jet_mass", None),
    "steep": (bad_tree({**columns([2, 3]), "jet_eta": np.array([1, -90], "f4")}), "not physical", "jet_eta", None),
    "no pt": (bad_tree({**columns([2, 3]), "jet_pt": np.array([0, 1], "f4")}), "not physical", "jet_pt", None),
    "hard": (bad_tree({**columns([2, 3]), "jet_pt": np.full(2, 1e30, "f4")}), "not physical", "jet_pt", None),
    "hard constituent": (bad_tree(with_value("part_energy", 1e9)), "not physical", "part_energy", None),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_stops_the_conversion_and_leaves_nothing(tmp_path, name):
    make, problem, key, near = BAD[name]
    path = tmp_path / "bad.root"
    make(path)
    with pytest.raises(BunchtrainError, match=problem) as caught:
        run(tmp_path, [write(tmp_path / "good.root", columns([2, 3], 7)), path])
    assert caught.value.details["file"] == str(path)
    assert caught.value.details.get("key") == key
    assert caught.value.details.get("nearest") == near
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_goes_into_quarantine_as_a_whole(tmp_path, name):
    path = tmp_path / "bad.root"
    BAD[name][0](path)
    good = [write(tmp_path / f"{seed}.root", columns([2, 30, 4], seed)) for seed in (1, 2)]
    events, attributes, manifest = run(tmp_path, [good[0], path, good[1]], on_bad_file="quarantine")
    expected, others, _ = run(tmp_path, good)
    assert events.keys() == expected.keys()
    for column in expected:
        np.testing.assert_array_equal(events[column], expected[column])
    assert attributes["source_files"] == others["source_files"]
    assert [row["status"] for row in manifest["inputs"]] == ["ok", "quarantined", "ok"]
    assert manifest["quarantined"] == [str(path)]
    row = manifest["inputs"][1]
    assert row["jets"] == 0 and BAD[name][1] in row["reason"] and "\n" not in row["reason"]
    assert len(row["sha256"]) == 64


def test_an_error_tells_the_entry(tmp_path):
    with pytest.raises(InputError) as caught:
        run(tmp_path, [write(tmp_path / "a.root", with_value("part_energy", np.nan))])
    assert caught.value.details["found"] == "nan in entry 8"


def test_missing_files_folders_and_copies_are_refused(tmp_path):
    good = write(tmp_path / "a.root", columns([2, 3]))
    copy = tmp_path / "copy.root"
    copy.write_bytes(good.read_bytes())
    missing = tmp_path / "missing.root"
    for path, problem in ((copy, "same content"), (missing, "missing"), (tmp_path, "cannot be read")):
        with pytest.raises(InputError, match=problem) as caught:
            run(tmp_path, [good, path])
        assert caught.value.details["file"] == str(path)
    _, _, manifest = run(tmp_path, [good, copy, missing, tmp_path], on_bad_file="quarantine")
    assert [row["status"] for row in manifest["inputs"]] == ["ok", "quarantined", "quarantined", "quarantined"]
    assert str(good) in manifest["inputs"][1]["reason"] and manifest["inputs"][2]["sha256"] is None


def test_a_group_of_bad_files_alone_makes_a_valid_file_without_jets(tmp_path):
    (tmp_path / "bad.root").write_bytes(b"")
    events, attributes, manifest = run(tmp_path, [tmp_path / "bad.root"], on_bad_file="quarantine")
    assert manifest["jets"] == len(events["jets/pt"]) == 0
    assert events["constituents/offsets"].tolist() == [0]
    assert json.loads(attributes["source_files"]) == []


@pytest.mark.parametrize(
    ("options", "key", "near"),
    [
        ({"kind": "ntupel"}, "convert.format.kind", "ntuple"),
        ({"tre": "jets"}, "convert.format.tre", "tree"),
        ({"constituents": {"px": "a", "py": "b"}}, "convert.format.constituents", None),
        ({"jets": {"ptt": "a"}}, "convert.format.jets.ptt", "pt"),
    ],
)
def test_wrong_options_are_refused(tmp_path, options, key, near):
    with pytest.raises(CampaignError) as caught:
        run(tmp_path, [], **options)
    assert caught.value.details["key"] == key
    assert caught.value.details.get("nearest") == near


def test_a_full_disk_leaves_nothing(tmp_path):
    path = write(tmp_path / "a.root", columns([40] * 2000))
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, old[1]))
        with pytest.raises(BunchtrainError, match="full"):
            run(tmp_path, [path], on_bad_file="quarantine")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)
    assert not list((tmp_path / "out").iterdir())


FOREIGN = Path(os.environ.get("BUNCHTRAIN_TEST_DATA", Path(__file__).parents[3] / "shared" / "data" / "open"))
PART = {name: f"part_{name}" for name in P4}
MUONS = {"px": "Muon_Px", "py": "Muon_Py", "pz": "Muon_Pz", "energy": "Muon_E"}


def foreign(name):
    path = FOREIGN / name
    if not path.exists():
        pytest.skip(f"{name} is not here; it is looked for in BUNCHTRAIN_TEST_DATA")
    return path


@pytest.mark.parametrize(
    ("name", "options", "jets"),
    [
        ("toy_qcd_R08_lz4.root", {"constituents": {**PART, "energy": "part_e"}, "event": "event"}, 2039),
        ("toy_gn1_ttbar_R04_zstd.root", {"constituents": {**PART, "energy": "part_e"}, "event": "event"}, 5986),
        ("jetclass_like_qcd.root", {"tree": "tree", "constituents": PART, "jets": {"pt": "jet_pt"}}, 1250),
        ("hzz_zlib.root", {"tree": "events", "constituents": MUONS}, 2362),
        ("hzz_zstd.root", {"tree": "events", "constituents": MUONS}, 2362),
        ("hzz_uncompressed.root", {"tree": "events", "constituents": MUONS}, 2362),
    ],
)
def test_files_of_other_producers(tmp_path, name, options, jets):
    events, _, _ = run(tmp_path, [foreign(name)], step_size="1 MB", **{**COMPUTED, **options})
    assert len(events["jets/pt"]) == jets
    assert (events["jets/pt"] > 0).all()


@pytest.mark.parametrize(
    ("name", "tree", "problem"),
    [
        ("bad_delphes.root", "Delphes", "no such tree"),
        ("empty_file.root", "tree", "a tree is empty"),
        ("corrupt_truncated_tail.root", "events", "truncated"),
        ("corrupt_bitflip_lz4.root", "events", "damaged"),
        ("jet_images_qcd_tt.h5", "events", "not a ROOT file"),
    ],
)
def test_bad_files_of_other_producers(tmp_path, name, tree, problem):
    with pytest.raises(InputError, match=problem):
        run(tmp_path, [foreign(name)], tree=tree, constituents=MUONS, **COMPUTED)
    assert not list((tmp_path / "out").iterdir())
