"""Formulas, derived columns, labels, selections, variations, parts of files: what a campaign may ask of convert."""

import itertools
import json
import math
import subprocess
import sys

import awkward as ak
import h5py
import numpy as np
import pytest
import uproot
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from test_convert import columns, foreign, write

from bunchtrain.config.convert import Columns, size_in_bytes
from bunchtrain.config.expression import FUNCTIONS, names, parse
from bunchtrain.config.specs import ConvertSpec, as_text
from bunchtrain.convert import run as stage
from bunchtrain.convert.formula import Scope, evaluate
from bunchtrain.errors import BunchtrainError, CampaignError, InputError
from bunchtrain.events.layout import check
from bunchtrain.events.ragged import Events


def spec(columns=None, labels=(), mapped=None, **options):
    label = {"labels": list(labels)} if labels else {"label": 1}
    return ConvertSpec(
        version=1,
        sample="top",
        **label,
        classes=["qcd", "top"],
        format={"kind": "ntuple", "columns": mapped or {}, **options},
        columns=columns or {},
        step_size="1 kB",
        on_bad_file="fail",
    )


def convert(folder, paths, part=(1, 1), **options):
    out = folder / f"out{part[0]}" / "a.h5"
    stage.convert(spec(**options), paths, out, out.with_suffix(".json"), part=part)
    check(out)
    found = {}
    with h5py.File(out) as file:
        file.visititems(lambda name, item: found.update({name: item[:]}) if isinstance(item, h5py.Dataset) else None)
        return found, dict(file.attrs), json.loads(out.with_suffix(".json").read_text())


COUNTS = [3, 0, 5, 1, 2, 7, 4]


@pytest.fixture
def path(tmp_path):
    return write(tmp_path / "a.root", columns(COUNTS, 3))


NUMBERS = st.floats(-100, 100).map(lambda x: round(x, 3))
FORMULAS = st.recursive(
    st.sampled_from(["a", "b.c", "2", "0.5"]),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "<", ">=", "=="]), inner).map(
            lambda t: f"({t[0]} {t[1]} {t[2]})"
        ),
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda t: f"(({t[0]}) > 0 {t[1]} ({t[2]}) > 1)"),
        inner.map(lambda x: f"sqrt(abs({x}))"),
        inner.map(lambda x: f"-({x})"),
        st.tuples(inner, inner, inner).map(lambda t: f"where({t[0]} > 0, {t[1]}, {t[2]})"),
    ),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(text=FORMULAS, a=NUMBERS, c=NUMBERS)
def test_a_formula_is_what_python_makes_of_it(text, a, c):
    found = evaluate(parse(text), {"a": np.array([a]), "b.c": np.array([c])}.__getitem__)

    class B:
        pass

    B.c = c
    known = {"a": a, "b": B, "sqrt": math.sqrt, "abs": abs, "where": lambda one, x, y: x if one else y}
    assert float(np.asarray(found).ravel()[0]) == pytest.approx(float(eval(text, known)), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("pt >", "formula"),
        ("__import__('os')", "function"),
        ("pt.__class__()", "function"),
        ("[pt]", "List"),
        ("pt[0]", "Subscript"),
        ("lambda: 1", "Lambda"),
        ("'a'", "numbers"),
        ("True", "numbers"),
        ("pt > 3 & eta < 2", "write and, or, not"),
        ("sqr(pt)", "did you mean sqrt"),
        ("arctan2(pt)", "2 arguments"),
        ("sqrt(x=1)", "1 argument"),
        ("(1).real", "name of a column"),
        ("(" * 300 + "1" + ")" * 300, "formula"),
    ],
)
def test_what_is_no_formula_is_refused_when_the_campaign_is_read(text, hint):
    with pytest.raises(ValidationError, match=hint):
        Columns(select={"jets": text})


def test_every_function_can_be_evaluated():
    for function, arguments in FUNCTIONS.items():
        text = f"{function}({', '.join(['a'] * arguments)})"
        assert np.isfinite(evaluate(parse(text), {"a": np.array([0.5])}.__getitem__)).all(), text
    assert names(parse("hypot(a.b, c) + sum(d.e) > a.b")) == ["a.b", "c", "d.e"]


def test_a_power_of_large_numbers_ends():
    with np.errstate(over="ignore"):
        assert evaluate(parse("9 ** 9 ** 9 ** 9"), {}.__getitem__) == math.inf


def test_kinematics_and_sums_of_constituents():
    p4 = {"px": [3.0, 0.0, 1.0], "py": [4.0, 2.0, 0.0], "pz": [0.0, 0.0, 0.0], "energy": [13.0, 2.0, 1.0]}
    given = {f"constituents/{name}": np.array(values) for name, values in p4.items()}
    given |= {"jets/eta": np.array([0.5, 0.0, 0.0]), "jets/phi": np.array([3.0, 0.0, 0.0]), "jets/weight": np.ones(3)}
    events = Events(given, {"constituents": np.array([2, 0, 1])})
    items = Scope(events, "jets", "constituents", "")
    np.testing.assert_allclose(items("pt"), [5, 2, 1])
    np.testing.assert_allclose(items("mass"), [12, 0, 0])
    np.testing.assert_allclose(items("delta_phi(jets.phi, -3)"), [6 - 2 * np.pi, 6 - 2 * np.pi, 3])
    np.testing.assert_allclose(items("delta_r(0, 0, jets.eta, 0)"), [0.5, 0.5, 0])
    rows = Scope(events, "jets", "jets", "")
    np.testing.assert_allclose(rows("sum(constituents.pt)"), [7, 0, 1])
    np.testing.assert_allclose(rows("max(constituents.pt)"), [5, 0, 1])
    np.testing.assert_allclose(rows("min(constituents.pt)"), [2, 0, 1])
    np.testing.assert_allclose(rows("mean(constituents.pt)"), [3.5, 0, 1])
    np.testing.assert_array_equal(rows("count(constituents.pt > 1.5)"), [2, 0, 0])
    np.testing.assert_array_equal(rows("any(constituents.pt > 4)"), [True, False, False])
    np.testing.assert_array_equal(rows("all(constituents.pt > 4)"), [False, True, False])
    np.testing.assert_allclose(rows("sum(constituents.pt * eta)"), [3.5, 0, 0])
    np.testing.assert_allclose(rows("1"), [1, 1, 1])


def test_columns_from_formulas_of_branches(tmp_path):
    branches = columns(COUNTS, 3)
    branches["part_d0"] = ak.where(branches["part_px"] > 0, branches["part_px"], np.nan)
    path = write(tmp_path / "a.root", branches)
    more = {
        "jets": {"ratio": "jet_pt / (jet_mass + 1)", "hardest": "max(hypot(part_px, part_py))"},
        "constituents": {"d0": {"branch": "part_d0", "units": "mm", "missing": -1}, "share": "part_px / jet_pt"},
        "tracks": {"px": "part_px", "id": {"branch": "part_px > 0", "dtype": "i4"}},
    }
    found, _, _ = convert(tmp_path, [path], mapped=more)
    kept = np.array(COUNTS) > 0
    ratio = branches["jet_pt"] / (branches["jet_mass"] + 1)
    np.testing.assert_allclose(found["jets/ratio"], ratio[kept], rtol=1e-6)
    hardest = ak.fill_none(ak.max(np.hypot(branches["part_px"], branches["part_py"]), axis=1), 0)
    np.testing.assert_allclose(found["jets/hardest"], ak.to_numpy(hardest)[kept], rtol=1e-6)
    px = found["constituents/px"]
    np.testing.assert_array_equal(found["constituents/d0"], np.where(px > 0, px, -1))
    jets = np.repeat(found["jets/pt"], np.diff(found["constituents/offsets"]))
    np.testing.assert_allclose(found["constituents/share"], px / jets, rtol=1e-6)
    np.testing.assert_array_equal(found["tracks/id"], found["tracks/px"] > 0)
    np.testing.assert_array_equal(found["tracks/offsets"], found["constituents/offsets"])
    with h5py.File(tmp_path / "out1/a.h5") as file:
        assert file["constituents/d0"].attrs["units"] == "mm"
        assert file["jets/ratio"].attrs["source_branch"] == "jet_pt / (jet_mass + 1)"


def test_derived_labelled_selected_and_varied(tmp_path, path):
    asked = {
        # Named in an order in which the later ones are needed first.
        "derive": {
            "jets": {"a_twice": "2 * zwei", "zwei": "sum(constituents.share)"},
            "constituents": {"share": "pt / jets.pt"},
        },
        "select": {"jets": "pt > 0.2", "constituents": "pt > 20"},
        "systematics": {"up": {"jets": {"pt": "pt * 1.1"}, "constituents": {"energy": "energy * 2"}}},
    }
    labels = [(0, "pt < 0.5"), (1, "pt < 0.9")]
    found, attributes, manifest = convert(tmp_path, [path], columns=asked, labels=labels)
    branches = columns(COUNTS, 3)
    pt, hard = branches["jet_pt"], np.hypot(branches["part_px"], branches["part_py"]) > 20
    kept = (np.array(COUNTS) > 0) & (pt < 0.9) & (pt > 0.2) & (ak.to_numpy(ak.sum(hard, axis=1)) > 0)
    np.testing.assert_array_equal(found["jets/pt"], pt[kept])
    np.testing.assert_array_equal(found["jets/label"], (pt[kept] >= 0.5).astype(int))
    np.testing.assert_array_equal(np.diff(found["constituents/offsets"]), ak.to_numpy(ak.sum(hard, axis=1))[kept])
    np.testing.assert_allclose(found["jets/a_twice"], 2 * found["jets/zwei"], rtol=1e-6)
    np.testing.assert_allclose(found["systematics/up/jets/pt"], found["jets/pt"] * 1.1, rtol=1e-6)
    np.testing.assert_allclose(found["systematics/up/constituents/energy"], found["constituents/energy"] * 2)
    assert attributes["sum_of_weights"] == pytest.approx(branches["weight"].sum(dtype="f8")), "before any cut"
    (row,) = manifest["inputs"]
    assert row["jets"] == kept.sum() and row["entries"] == len(COUNTS)
    assert row["dropped_jets"] + row["unlabelled"] + row["cut_jets"] + row["jets"] == len(COUNTS)
    assert row["columns"]["jets/pt"]["highest"] == pytest.approx(pt[kept].max())
    assert manifest["class"] == "qcd top"


@pytest.mark.parametrize(
    ("asked", "error", "key"),
    [
        ({"derive": {"jets": {"x": "ptt"}}}, InputError, "convert.derive.jets/x"),
        ({"derive": {"tracks": {"x": "pt"}}}, CampaignError, "convert.derive.tracks"),
        ({"derive": {"jets": {"pt": "mass"}}}, CampaignError, "convert.derive"),
        ({"derive": {"jets": {"x": "y", "y": "x"}}}, CampaignError, "convert.derive"),
        ({"derive": {"jets": {"x": "1 / (pt - pt)"}}}, InputError, "jets/x"),
        ({"derive": {"constituents": {"x": "sum(constituents.pt)"}}}, InputError, "convert.derive.constituents/x"),
        ({"derive": {"jets": {"x": "sum(pt)"}}}, InputError, "convert.derive.jets/x"),
        ({"select": {"hits": "x > 1"}}, CampaignError, "convert.select.hits"),
        ({"systematics": {"up": {"jets": {"x": "pt"}}}}, CampaignError, "convert.systematics.up.jets"),
    ],
)
def test_what_cannot_be_computed_names_its_place_and_writes_nothing(tmp_path, path, asked, error, key):
    with pytest.raises(error) as caught:
        convert(tmp_path, [path], columns=asked)
    assert caught.value.details["key"] == key
    assert not list((tmp_path / "out1").glob("*")) if (tmp_path / "out1").exists() else True


@settings(max_examples=15, deadline=None)
@given(counts=st.lists(st.integers(0, 6), min_size=1, max_size=30), of=st.integers(1, 5))
def test_the_parts_of_a_file_are_the_whole(tmp_path_factory, counts, of):
    folder = tmp_path_factory.mktemp("parts")
    path = write(folder / "a.root", columns(counts, 1))
    parts = [convert(folder, [path], part=(number, of)) for number in range(1, of + 1)]
    (folder / "out1/a.h5").unlink()
    whole, about, manifest = convert(folder, [path])
    for name in whole:
        if not name.endswith("offsets"):
            np.testing.assert_array_equal(np.concatenate([found[name] for found, _, _ in parts]), whole[name])
    assert sum(one["sum_of_weights"] for _, one, _ in parts) == pytest.approx(about["sum_of_weights"])
    ranges = [json.loads(one["source_files"])[0]["entries"] for _, one, _ in parts]
    assert ranges[0][0] == 0 and ranges[-1][1] == len(counts) == manifest["inputs"][0]["entries"]
    assert all(a[1] == b[0] for a, b in itertools.pairwise(ranges))


@pytest.mark.parametrize("text", ["0/2", "3/2", "x", "1/", "-1/2"])
def test_what_is_no_part_is_refused(text):
    with pytest.raises(CampaignError, match="part"):
        stage.parse_part(text)


def test_sizes_are_read():
    assert [size_in_bytes(text) for text in ("7 B", "64 MB", "2GB", "1 TB", "3 kB")] == [7, 64e6, 2e9, 1e12, 3e3]


def test_an_rntuple_is_read_as_a_ttree_is(tmp_path):
    branches = columns(COUNTS, 3)
    write(tmp_path / "a.root", branches)
    with uproot.recreate(tmp_path / "b.root") as file:
        file.mkrntuple("jets", branches)
    tree, ntuple = (convert(tmp_path, [tmp_path / name], part=(1, 1))[0] for name in ("a.root", "b.root"))
    for name in tree:
        np.testing.assert_array_equal(tree[name], ntuple[name])


REPEATED = [
    ("jet_pt", lambda b: b["jet_pt"] * 2e4, "mean jets/pt"),
    ("jet_phi", lambda b: b["jet_phi"] * 180, "in degrees"),
    ("weight", lambda b: b["weight"] * 0, "0 everywhere"),
    ("event_number", lambda b: np.array([1, 9, 2, 1, 3, 2, 4], "u8"), "2 of 6 events come back"),
    ("jet_eta", lambda b: b["jet_eta"] + 7, "differs by more than 0.5"),
]


@pytest.mark.parametrize(("branch", "spoil", "warning"), REPEATED, ids=[name for name, _, _ in REPEATED])
def test_what_looks_wrong_is_told(tmp_path, capsys, branch, spoil, warning):
    branches = columns(COUNTS, 3)
    branches[branch] = spoil(branches).astype(branches[branch].dtype)
    _, _, manifest = convert(tmp_path, [write(tmp_path / "a.root", branches)])
    assert any(warning in one for one in manifest["inputs"][0]["warnings"])
    assert warning in capsys.readouterr().out


def test_what_looks_right_is_not_told(tmp_path):
    branches = columns(COUNTS, 3)
    sums = {name: ak.to_numpy(ak.sum(branches[f"part_{name}"], axis=1)) for name in ("px", "py", "pz", "energy")}
    branches["jet_pt"] = np.maximum(np.hypot(sums["px"], sums["py"]), 1e-3).astype("f4")
    branches["jet_eta"] = np.arcsinh(sums["pz"] / branches["jet_pt"]).astype("f4").clip(-15, 15)
    branches["jet_phi"] = np.arctan2(sums["py"], sums["px"]).astype("f4")
    _, _, manifest = convert(tmp_path, [write(tmp_path / "a.root", branches)])
    assert manifest["inputs"][0]["warnings"] == []


@pytest.fixture
def tiny(tmp_path):
    """A disk of one megabyte."""
    place = tmp_path / "tiny"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("no right to mount a disk here")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


@pytest.mark.parametrize("kept", [0, 1 << 28])
def test_a_disk_that_fills_up_leaves_nothing(tmp_path, tiny, monkeypatch, kept):
    monkeypatch.setattr("bunchtrain.events.writer.KEPT", kept)
    path = write(tmp_path / "a.root", columns([40] * 3000))
    with pytest.raises(BunchtrainError, match="full") as caught:
        convert(tiny, [path])
    assert "make room" in caught.value.details["mend"]
    assert not list((tiny / "out1").iterdir())


def test_two_writers_of_one_output_end_with_a_whole_one(tmp_path, path):
    out = tmp_path / "both.h5"
    command = [sys.executable, "-m", "bunchtrain", "convert", "--spec", as_text(spec()), "--out", str(out)]
    command += ["--manifest", str(tmp_path / "both.json"), str(path)]
    both = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [one.wait(timeout=60) for one in both] == [0, 0]
    assert check(out) == 6
    assert not [*tmp_path.glob(".*.tmp")]


@pytest.mark.parametrize(("name", "x"), [("split_fullsplit.root", "SliceF32"), ("split_nosplit.root", "evt.SliceF32")])
def test_split_and_unsplit_branches_give_the_same(tmp_path, name, x):
    mapped = {"px": f"{x} + 1", "py": x, "pz": x, "energy": f"2 * {x} + 2"}
    plain = {"jets": {}, "run": None, "event": None, "weight": None, "metadata": None}
    found, _, _ = convert(tmp_path, [foreign(name)], tree="tree", **plain, constituents=mapped)
    sizes = np.arange(100) % 10
    np.testing.assert_array_equal(np.diff(found["constituents/offsets"]), sizes[sizes > 0])
    np.testing.assert_array_equal(found["constituents/py"], np.repeat(np.arange(100), sizes))


NARROW = {"u1": np.array([250, 2, 7], "u1"), "i1": np.array([-100, 90, 5], "i1"), "u8": np.array([3, 2**40, 9], "u8")}


@pytest.mark.parametrize(
    "text",
    [
        "u1 - 255",
        "u1 * 1000",
        "u1 * u1 * u1",
        "where(u1 > 3, 300, u1)",
        "u8 - 10",
        "-u1",
        "abs(i1 - 100)",
        "u1 + (u1 > 3)",
    ],
)
def test_narrow_whole_numbers_do_not_wrap(text):
    wide = {name: values.astype("i8").astype(object) for name, values in NARROW.items()}
    known = {
        **wide,
        "where": lambda one, x, y: np.array([x if c else b for c, b in zip(one, y, strict=True)]),
        "abs": abs,
    }
    expected = eval(text.replace("(u1 > 3)", "(u1 > 3).astype(int)") if "+" in text else text, known)
    np.testing.assert_array_equal(evaluate(parse(text), NARROW.__getitem__), np.array(expected, "i8"))


def test_functions_of_narrow_numbers_have_full_precision():
    np.testing.assert_allclose(
        evaluate(parse("sin(u1)"), NARROW.__getitem__), np.sin(NARROW["u1"].astype("f8")), rtol=1e-15
    )
    np.testing.assert_array_equal(evaluate(parse("sign(u1 > 3)"), NARROW.__getitem__), [1, 0, 1])


def test_a_whole_number_that_runs_over_is_an_error():
    with pytest.raises(InputError, match="runs over"):
        evaluate(parse("u8 * u8 * u8"), NARROW.__getitem__)
    with pytest.raises(InputError, match="too large"):
        evaluate(parse("x - 1"), {"x": np.array([2**63], "u8")}.__getitem__)


@pytest.mark.parametrize(
    ("mapped", "asked", "match"),
    [
        ({"jets": {"event_number": "weight"}}, {}, "replace one of the contract"),
        ({"jets": {"label": "weight"}}, {}, "replace one of the contract"),
        ({"constituents": {"pt": "part_px"}}, {}, "replace one of the contract"),
        ({}, {"derive": {"constituents": {"pt": "px"}}}, "replace one of the contract"),
        ({"jets": {"x": {"branch": "weight", "dtype": "i4"}}}, {}, "not a whole number"),
        ({"jets": {"x": {"branch": "jet_pt * 1e12", "dtype": "i4"}}}, {}, "not a whole number"),
        ({"jets": {"x": {"branch": "-1 * event_number", "dtype": "u8"}}}, {}, "not a whole number"),
        ({}, {"select": {"jets": "sqrt(pt)"}}, "no condition"),
        ({}, {"systematics": {"up": {"jets": {"event_number": "event_number + 1"}}}}, "what a row is"),
    ],
)
def test_columns_that_would_give_wrong_numbers_are_refused(tmp_path, path, mapped, asked, match):
    with pytest.raises(BunchtrainError, match=match):
        convert(tmp_path, [path], mapped=mapped, columns=asked)


@pytest.mark.parametrize("event", ["event_number * 1.0", "event_number / 2", "event_number - 3"])
def test_event_numbers_that_would_merge_are_refused(tmp_path, path, event):
    with pytest.raises(BunchtrainError):
        convert(tmp_path, [path], event=event)


def test_labels_need_conditions(tmp_path, path):
    with pytest.raises(InputError, match="no condition"):
        convert(tmp_path, [path], labels=[(0, "pt")])


def test_what_stands_for_nan_is_not_scaled(tmp_path):
    branches = columns([2, 1], 1)
    branches["tau"] = np.array([np.nan, 500], "f4")
    mapped = {"jets": {"tau": {"branch": "tau", "units": "GeV", "missing": -999}}}
    found, _, _ = convert(tmp_path, [write(tmp_path / "a.root", branches)], mapped=mapped, units="MeV")
    np.testing.assert_allclose(found["jets/tau"], [-999, 0.5])


def test_nothing_left_is_told(tmp_path, path):
    _, _, manifest = convert(tmp_path, [path], columns={"select": {"jets": "pt > 1000"}})
    assert any("nothing is left of 7 entries" in text for text in manifest["inputs"][0]["warnings"])


@pytest.mark.parametrize("column", [{"split": "1"}, {"valid": "1"}, {"x": {"formula": "1", "units": "gev"}}])
def test_names_and_units_of_the_project_are_its_own(column):
    with pytest.raises(ValidationError):
        Columns(derive={"jets": column})
