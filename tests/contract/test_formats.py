"""Every format of ROOT files keeps the protocol of `convert.formats.base`: a new module there is tested at once.

A format is tried on a file of its own kind when `EXAMPLES` has a function that writes one from jets.
"""

import json

import awkward as ak
import h5py
import numpy as np
import pytest
import uproot

from bunchtrain import registry
from bunchtrain.config.specs import ConvertSpec
from bunchtrain.convert import VERSION
from bunchtrain.convert.run import convert
from bunchtrain.errors import InputError
from bunchtrain.events.layout import CONSTITUENTS, check, required
from bunchtrain.simulate.jets import Jets
from bunchtrain.simulate.rootfile import jet_file

KINDS = registry.kinds("convert.formats")


def example_ntuple(path, jets):
    """Write jets as the embedded generator does."""
    with jet_file(path, run=5) as file:
        file.write(jets)
        file.describe({"generator": "none"})


EXAMPLES = {"ntuple": example_ntuple}

BROKEN = {
    "empty": b"",
    "text": b"pt,eta,phi\n1,2,3\n",
    "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    "header": b"root",
    "truncated": b"root\x00\x00\xf6\xff\x00\x00\x00d\x00\x00\xff\xff" + b"\x00" * 80,
    "nonsense": b"root\x00\x00\xf6\xff\x00\x00\x00d\x00\x00\x00\xd8" + b"\x01" * 200,
}


def example_jets(seed=1):
    random = np.random.default_rng(seed)
    counts = random.integers(1, 9, 20)
    px, py, pz = random.normal(0, 30, (3, counts.sum()))
    energy = np.sqrt(px**2 + py**2 + pz**2)
    columns = {"px": px, "py": py, "pz": pz, "energy": energy}
    parts = ak.zip({name: ak.unflatten(values.astype("f4"), counts) for name, values in columns.items()})
    parts["id"] = ak.values_astype(ak.full_like(parts.px, 211), np.int32)
    parts["vertex"] = ak.zeros_like(parts.id)
    parts["charge"] = ak.values_astype(ak.ones_like(parts.id), np.int8)
    parts = parts[ak.argsort(np.hypot(parts.px, parts.py), ascending=False)]
    numbers = random.random((5, 20)).astype("f4")
    return Jets(np.arange(20) // 2, *numbers, parts=parts)


def modules():
    return [(kind, registry.load("convert.formats", kind)) for kind in KINDS]


@pytest.mark.parametrize(("kind", "module"), modules(), ids=KINDS)
def test_the_options_can_be_read_without_importing_the_format(kind, module):
    declared = registry.declared("convert.formats", kind)
    assert declared.model_json_schema() == module.Config.model_json_schema()
    assert declared().model_dump() == module.Config().model_dump()
    assert all(field.description for field in declared.model_fields.values())


@pytest.mark.parametrize(("kind", "module"), modules(), ids=KINDS)
def test_the_layout_has_what_the_contract_requires_and_says_what_it_is(kind, module):
    rows, columns = module.layout(module.Config())
    assert rows == module.ROWS == registry.constant("convert.formats", kind, "ROWS")
    assert required(rows).keys() <= columns.keys()
    for name, column in columns.items():
        assert name.endswith(f"/{column.name}") and column.units, name
        assert column.description or column.source, name


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize(("kind", "module"), modules(), ids=KINDS)
def test_a_broken_file_is_an_input_error_that_names_it(tmp_path, kind, module, broken):
    path = tmp_path / "broken.root"
    path.write_bytes(BROKEN[broken])
    with pytest.raises(InputError) as caught, module.opened(path, module.Config()) as source:
        list(source.batches("1 MB", 0, source.entries))
    assert caught.value.details["file"] == str(path)


@pytest.mark.parametrize(("kind", "module"), modules(), ids=KINDS)
def test_a_root_file_of_something_else_is_an_input_error_that_names_it(tmp_path, kind, module):
    path = tmp_path / "histogram.root"
    with uproot.recreate(path) as file:
        file["something"] = np.histogram([1.0, 2.0], bins=4)
    with pytest.raises(InputError) as caught, module.opened(path, module.Config()) as source:
        list(source.batches("1 MB", 0, source.entries))
    assert caught.value.details["file"] == str(path)


@pytest.mark.parametrize("kind", EXAMPLES)
def test_a_file_of_the_kind_is_converted_whole(tmp_path, kind):
    jets = example_jets()
    EXAMPLES[kind](tmp_path / "a.root", jets)
    spec = ConvertSpec(
        version=VERSION,
        sample="a",
        label=1,
        classes=["x", "y"],
        format={"kind": kind},
        step_size="1 kB",
        on_bad_file="fail",
    )
    convert(spec, [tmp_path / "a.root"], tmp_path / "a.h5", tmp_path / "a.json")
    assert check(tmp_path / "a.h5") == len(jets.event)
    with h5py.File(tmp_path / "a.h5") as file:
        for name in ("pt", "eta", "phi", "mass", "weight"):
            np.testing.assert_array_equal(file[f"jets/{name}"][:], getattr(jets, name))
        np.testing.assert_array_equal(file["jets/event_number"][:], jets.event)
        np.testing.assert_array_equal(file["jets/label"][:], 1)
        assert file.attrs["sum_of_weights"] == pytest.approx(jets.weight.sum(dtype="f8"))
        for column in CONSTITUENTS:
            np.testing.assert_array_equal(file[f"constituents/{column.name}"][:], ak.flatten(jets.parts[column.name]))
        assert json.loads(file.attrs["generator"]) == [{"generator": "none"}]
