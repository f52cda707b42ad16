"""The verb `inspect`: what it lists, what it guesses, and that its mapping works."""

import json
import subprocess
import sys

import awkward as ak
import numpy as np
import pytest
import uproot
import yaml
from test_formats_delphes import foreign, hit_branches, jetclass_branches, shower_branches, write

from bunchtrain.config.base import Kind
from bunchtrain.config.campaign import checked_kind
from bunchtrain.config.specs import ConvertSpec
from bunchtrain.convert import VERSION, contents, names, trial
from bunchtrain.convert.inspect import inspect
from bunchtrain.convert.rootfile import opened
from bunchtrain.convert.run import convert
from bunchtrain.errors import BunchtrainError, ContractError, InputError
from bunchtrain.look_cli import app


def look(path, folder, capsys, **options):
    """Inspect, and return what is printed and the mapping."""
    target = folder / "mapping.yaml"
    inspect(str(path), target, force=True, **options)
    text = target.read_text()
    section = yaml.safe_load(text)["convert"]["format"]
    checked_kind(Kind(**section), "convert.formats", "convert.format")
    return capsys.readouterr().out, section


def to_hdf5(path, folder, section):
    spec = ConvertSpec(
        version=VERSION,
        sample="s",
        label=0,
        classes=["a", "b"],
        format=section,
        step_size="1 MB",
        on_bad_file="fail",
    )
    convert(spec, [path], folder / "a.h5", folder / "a.json")
    return json.loads((folder / "a.json").read_text())


def ntuple_branches(scale=1.0, seed=0):
    random = np.random.default_rng(seed)
    counts = random.integers(1, 6, 30)
    px, py, pz = (ak.unflatten((random.normal(0, 60, counts.sum()) * scale).astype("f4"), counts) for _ in range(3))
    branches = {"trk_px": px, "trk_py": py, "trk_pz": pz, "trk_E": np.sqrt(px**2 + py**2 + pz**2)}
    total = np.hypot(ak.to_numpy(ak.sum(px, 1)), ak.to_numpy(ak.sum(py, 1)))
    phi = np.arctan2(ak.to_numpy(ak.sum(py, 1)), ak.to_numpy(ak.sum(px, 1)))
    branches |= {"jet_pt": total.astype("f4"), "jet_phi": phi.astype("f4"), "jet_flavour": counts.astype("i4")}
    d0 = ak.unflatten(np.where(random.random(counts.sum()) < 0.5, np.nan, 1).astype("f4"), counts)
    more = {"trk_d0": d0, "trk_q": ak.unflatten(np.ones(counts.sum(), "i4"), counts)}
    numbers = {"eventNumber": np.arange(30), "mcWeight": np.ones(30, "f4"), "runNumber": np.ones(30, "f4")}
    return {**branches, **more, **numbers}


@pytest.mark.parametrize(("scale", "units"), [(1, "GeV"), (1000, "MeV")])
def test_an_ntuple_gets_a_mapping_that_works(tmp_path, capsys, scale, units):
    path = write(tmp_path / "a.root", "nominal", ntuple_branches(scale))
    printed, section = look(path, tmp_path, capsys)
    assert section["kind"] == "ntuple" and section["tree"] == "nominal" and section["units"] == units
    assert section["constituents"] == {"px": "trk_px", "py": "trk_py", "pz": "trk_pz", "energy": "trk_E"}
    assert section["jets"] == {"pt": "jet_pt", "phi": "jet_phi"}
    assert section["columns"]["jets"] == {"flavour": {"branch": "jet_flavour", "dtype": "i4"}}
    assert section["columns"]["constituents"]["d0"] == {"branch": "trk_d0", "units": "mm", "missing": 0}
    assert section["columns"]["constituents"]["q"]["dtype"] == "i4"
    assert section["event"] == "eventNumber" and section["weight"] == "mcWeight"
    assert section["run"] is None and "run is left out" in printed  # a float
    assert "d0 has values that are not finite" in printed
    manifest = to_hdf5(path, tmp_path, section)
    assert manifest["jets"] == 30 and manifest["inputs"][0]["warnings"] == []


@pytest.mark.parametrize(
    ("tree", "branches", "kind", "rows"),
    [
        ("tree", jetclass_branches()[0], "jetclass", 30),
        ("tree", jetclass_branches(published=False)[0], "jetclass", 30),
        ("showers", shower_branches(), "calorimeter", 25),
        ("other", {"calo_cells": shower_branches()["cells"], "e0": np.ones(25, "f4")}, "calorimeter", 25),
        ("events", hit_branches([2, 0, 3]), "hits", 3),
        ("t", {f"sp_{n}": hit_branches([2, 3])[f"hit_{n}"] for n in "xyz"}, "hits", 2),
    ],
)
def test_every_kind_is_known_again_and_its_mapping_works(tmp_path, capsys, tree, branches, kind, rows):
    path = write(tmp_path / "a.root", tree, branches)
    printed, section = look(path, tmp_path, capsys)
    assert section["kind"] == kind and f"Format: {kind}" in printed and f"they give {rows} " in printed
    assert to_hdf5(path, tmp_path, section)["jets"] == rows


def test_the_listing_tells_types_units_and_what_is_stored(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    path = write(tmp_path / "a.root", "showers", shower_branches())
    printed, _ = look(path, tmp_path, capsys)
    assert "TTree showers: 25 entries, 3 branches" in printed
    assert "float[3][2][4]" in printed and "lists of lists" in printed and "kB" in printed
    many = {f"column_{number}": np.ones(3, "f4") for number in range(70)}
    assert inspect(str(write(tmp_path / "b.root", "t", many))) == 1
    printed = capsys.readouterr().out
    assert "and 10 more branches" in printed and "No format that is known fits" in printed
    inspect(str(tmp_path / "b.root"), everything=True)
    assert "column_69" in capsys.readouterr().out


def test_nothing_is_overwritten_unasked(tmp_path, capsys):
    path, target = write(tmp_path / "a.root", "showers", shower_branches()), tmp_path / "m.yaml"
    target.write_text("mine")
    with pytest.raises(InputError, match="exists") as caught:
        inspect(str(path), target)
    assert "--force" in caught.value.details["mend"] and target.read_text() == "mine"
    inspect(str(path), target, force=True)
    assert "in place of what was there" in capsys.readouterr().out
    assert yaml.safe_load(target.read_text()) == {"convert": {"format": {"kind": "calorimeter"}}}
    assert inspect(str(path)) == 0
    assert "kind: calorimeter" in capsys.readouterr().out


def test_no_mapping_is_told_by_the_exit_status_after_the_listing(tmp_path):
    path = write(tmp_path / "a.root", "t", {"speed": np.ones(3, "f4")})
    command = [sys.executable, "-m", "bunchtrain", "inspect", str(path), "--write", str(tmp_path / "m.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "TTree t: 3 entries" in done.stdout and "speed" in done.stdout
    assert "there is no mapping to start from" in done.stdout and "m.yaml is not written" in done.stdout
    assert not (tmp_path / "m.yaml").exists()


@pytest.mark.parametrize(
    ("compression", "told"),
    [
        (uproot.ZLIB(1), "ZLIB"),
        (uproot.LZMA(1), "LZMA"),
        (uproot.LZ4(4), "LZ4"),
        (uproot.ZSTD(1), "ZSTD"),
        (None, "uncompressed"),
    ],
)
@pytest.mark.parametrize("make", ["mktree", "mkrntuple"])
def test_the_compression_is_told(tmp_path, compression, told, make):
    with uproot.recreate(tmp_path / "a.root", compression=compression) as file:
        getattr(file, make)("t", {"x": np.zeros(5000)}).extend({"x": np.zeros(5000)})
    assert [tree.compression for tree in contents.read(tmp_path / "a.root")] == [
        told if told != "un" else "uncompressed"
    ]


def test_a_basket_that_would_not_get_smaller_says_nothing(tmp_path):
    noise = np.random.default_rng(1).integers(0, 2**63, 20_000)
    with uproot.recreate(tmp_path / "a.root", compression=uproot.ZLIB(1)) as file:
        tree = file.mktree("t", {"x": "i8", "y": "i8"})
        for part in (noise[:5000], np.zeros(5000, "i8")):
            tree.extend({"x": part, "y": noise[:5000]})
    with opened(tmp_path / "a.root") as file:
        key = file["t"]["x"].basket_key(0)
        assert key.data_compressed_bytes == key.data_uncompressed_bytes
    assert contents.read(tmp_path / "a.root")[0].compression == "ZLIB"


def test_what_is_compressed_is_told_by_what_lies_on_disk(tmp_path):
    with uproot.recreate(tmp_path / "a.root", compression=uproot.LZ4(1)) as file:
        file.mktree("t", {"x": "f8"}).extend({"x": np.zeros(5000)})
    with opened(tmp_path / "a.root") as file:
        assert contents._algorithm(file, "t", [file["t"]["x"]]) == "LZ4"
        file.file._fCompress = 1  # a level alone, as ROOT 5 writes it
        assert contents._file_compression(file) == "ZLIB"
        file.file._fCompress = 500
        assert contents._file_compression(file) == "uncompressed"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("old_root5.30_zlib.root", "ZLIB"),
        ("hzz_zlib.root", "ZLIB"),
        ("hzz_lz4.root", "LZ4"),
        ("hzz_zstd.root", "ZSTD"),
        ("hzz_uncompressed.root", "uncompressed"),
    ],
)
def test_the_compression_of_real_files_is_told(name, told):
    assert {tree.compression for tree in contents.read(foreign(name)) if tree.entries} == {told}


def test_what_stands_against_a_mapping_is_told_last(tmp_path, capsys):
    branches = shower_branches()
    branches["cells"][3, 0, 0, 0] = np.nan
    target = tmp_path / "m.yaml"
    with pytest.raises(InputError, match="not a finite number") as caught:
        inspect(str(write(tmp_path / "a.root", "showers", branches)), target)
    assert caught.value.details["found"] == "nan in entry 3"
    assert "cannot be used yet" in capsys.readouterr().out and "# it cannot be used yet" in target.read_text()


def without_trees(path):
    with uproot.recreate(path) as file:
        file["h"] = np.histogram([1.0], bins=2)


def empty_tree(path):
    with uproot.recreate(path) as file:
        file.mktree("t", {"x": "f4"})


def truncated(path):
    content = write(path, "showers", shower_branches()).read_bytes()
    path.write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda path: None, "cannot be read"),
        (lambda path: path.mkdir(), "cannot be read"),
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_bytes(b"a,b\n1,2\n"), "not a ROOT file"),
        (lambda path: path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n"), "Git LFS pointer"),
        (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + b"\x00" * 50), "not readable HDF5"),
        (truncated, "truncated"),
        (without_trees, "holds no tree"),
        (empty_tree, "tree is empty"),
    ],
)
def test_bad_files_are_clear_errors(tmp_path, make, problem):
    path = tmp_path / "a.root"
    make(path)
    with pytest.raises((InputError, ContractError), match=problem) as caught:
        inspect(str(path))
    assert caught.value.details["file"] == str(path) and caught.value.exit_code == 2


def test_hdf5_of_the_contract_and_of_others(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    path = write(tmp_path / "a.root", "showers", shower_branches())
    to_hdf5(path, tmp_path, {"kind": "calorimeter"})
    inspect(str(tmp_path / "a.h5"))
    printed = capsys.readouterr().out
    assert "cells/energy" in printed and "GeV" in printed and "rows: showers" in printed
    assert "under the event contract: 25 rows" in printed
    inspect(str(foreign("jet_images_qcd_tt.h5")))
    printed = capsys.readouterr().out
    assert "3305 x 30 x 30 x 1" in printed and "not under the event contract" in printed


REAL = {
    "jetclass_like_qcd.root": ("jetclass", {}),
    "calo_gp_zstd.root": ("calorimeter", {}),
    "geant4_B4_calo.root": ("calorimeter", {"tree": "B4", "cells": ["Eabs", "Egap"], "cell_units": "MeV"}),
    "delphes_cms_qcd60.root": ("delphes", {}),
    "delphes_jetclasscard_ttbar60.root": ("delphes", {"jets": "FatJet"}),
    "toy_pu50_ttbar_R04_zlib.root": ("ntuple", {"tree": "jets", "event": "event"}),
    "hzz_zlib.root": ("ntuple", {"tree": "events", "weight": "EventWeight"}),
    "cms_dimuon_rntuple.root": ("ntuple", {"tree": "Events"}),
    "cms_scouting_nano_pfcand.root": ("nanoaod", {}),
    "fcc_edm4hep_spring2021.root": ("edm4hep", {}),
}


@pytest.mark.parametrize("name", REAL)
def test_real_files_are_known_and_their_mapping_works(tmp_path, capsys, name):
    path = foreign(name)
    kind, expected = REAL[name]
    printed, section = look(path, tmp_path, capsys)
    assert section["kind"] == kind and expected.items() <= section.items()
    assert "Tried on the first" in printed
    assert to_hdf5(path, tmp_path, section)["jets"] > 0


@pytest.mark.parametrize("name", ["split_fullsplit.root", "split_nosplit.root", "old_root5.30_zlib.root"])
def test_files_that_no_format_fits_are_listed_all_the_same(capsys, name):
    assert inspect(str(foreign(name))) == 1
    printed = capsys.readouterr().out
    assert "entries" in printed and "No format that is known fits" in printed


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("bad_delphes.root", "holds no tree"),
        ("empty_file.root", "tree is empty"),
        ("corrupt_truncated_tail.root", "truncated"),
        ("corrupt_bitflip_lz4.root", "damaged"),
    ],
)
def test_corrupt_files_of_others(capsys, name, problem):
    with pytest.raises(BunchtrainError, match=problem):
        inspect(str(foreign(name)))
    if problem == "damaged":
        assert "1 of 51 branches cannot be read: Muon_E" in capsys.readouterr().out


def test_names_tell_what_branches_are():
    found = names.momenta(["Jet.PT", "Jet.Eta", "Jet.Phi", "Jet.Mass", "muPx", "muPy", "muPz", "muE", "charge", "me"])
    assert found == {
        "Jet.": {"pt": "Jet.PT", "eta": "Jet.Eta", "phi": "Jet.Phi", "mass": "Jet.Mass"},
        "mu": {"px": "muPx", "py": "muPy", "pz": "muPz", "energy": "muE"},
    }
    counters = [f"{head}{one}" for head in ("npart_", "part_") for one in ("px", "py", "pz", "e")]
    assert list(names.momenta(counters)) == ["part_"]
    assert names.constituents(["jet_pt", "jet_eta", "jet_phi", "jet_m"])[0] == "jet_"
    assert names.jets(["ak4_jet_pt", "pt", "part_pt"]) == ("ak4_jet_", {"pt": "ak4_jet_pt"})
    assert [names.units(one) for one in ("jet_pt", "Edep", "part_dphi", "trk_d0", "d0_sig", "x", "tau1")] == [
        "GeV", "GeV", "rad", "mm", "1", "mm", ""
    ]  # fmt: skip


def test_a_mapping_that_cannot_be_mended_is_left_as_it_is(tmp_path):
    path = write(tmp_path / "a.root", "nominal", ntuple_branches())
    options = {"tree": "nominal", "constituents": {"px": "a", "py": "b", "pz": "c", "energy": "d"}}
    tried = trial.attempt(path, "ntuple", options)
    assert tried.options == options and "no such branch" in tried.problem.problem
    assert trial.attempt(path, "ntuple", {"tre": "x"}).problem.details["key"] == "convert.format.tre"


def test_the_command_line_has_the_verb():
    command = next(one for one in app.registered_commands if one.callback.__name__ == "inspect")
    assert command.rich_help_panel == "Looking at things"
