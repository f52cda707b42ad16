"""What docs/samples.md and docs/formats.md tell people to write is accepted."""

import re
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml
from test_formats_delphes import shower_branches, write

from bunchtrain import registry, simulate
from bunchtrain.config.campaign import parse_campaign
from bunchtrain.config.expression import FUNCTIONS, REDUCTIONS
from bunchtrain.config.simulate import Simulate
from bunchtrain.config.specs import ConvertSpec, SimulateSpec, parse_spec
from bunchtrain.convert import VERSION, run
from bunchtrain.events.layout import check
from bunchtrain.simulate import run as generator

PAGE = Path(__file__).parents[2] / "docs" / "samples.md"
BLOCKS = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)]


def test_the_page_has_its_examples():
    own = ["samples", "convert", "samples", "simulate", "convert"]
    by_hand = ["samples", "version", "version"]
    assert [next(iter(block)) for block in BLOCKS] == [*own, *by_hand, *by_hand, "kind"]


def test_the_examples_together_make_a_campaign():
    own = [BLOCKS[number] for number in (0, 1, 3)]
    values = {"name": "a", "output": "results", **{key: value for block in own for key, value in block.items()}}
    campaign = parse_campaign(values, PAGE)
    assert campaign.classes == ["qcd", "top"]
    assert campaign.simulate == Simulate()
    assert campaign.convert.format.checked("convert.formats", "convert.format")["jets"]["mass"] is None


def test_the_example_of_labels_and_columns_is_a_campaign():
    task = {"kind": "jet_tagging", "signal": "b", "background": "light"}
    campaign = parse_campaign({"name": "a", "output": "results", "task": task, **BLOCKS[2]}, PAGE)
    assert campaign.classes == ["b", "c", "light"] and "distance" in campaign.convert.derive["constituents"]
    assert all(f" {name}" in PAGE.read_text().replace("`", " ") for name in (*FUNCTIONS, *REDUCTIONS))


def test_the_truth_of_the_pileup_is_kept_as_the_page_says(tmp_path):
    made = SimulateSpec(
        version=simulate.VERSION,
        sample="top",
        process="top",
        shard=0,
        jets=20,
        seed=1,
        settings={"pileup": 20, "pileup_pool": 50},
    )
    generator.simulate(made, tmp_path / "a.root")
    values = {"name": "a", "output": "results", "samples": BLOCKS[0]["samples"], **BLOCKS[4]}
    section = parse_campaign(values, PAGE).convert
    spec = ConvertSpec(
        version=VERSION,
        sample="top",
        classes=["top"],
        label=0,
        format=BLOCKS[4]["convert"]["format"],
        columns={"derive": section.derive},
        step_size=section.step_size,
        on_bad_file="fail",
    )
    run.convert(spec, [tmp_path / "a.root"], tmp_path / "a.h5", tmp_path / "a.json")
    with h5py.File(tmp_path / "a.h5") as file:
        constituents = {name: column[:] for name, column in file["constituents"].items()}
        hard, whole = file["jets/hard_pt"][:], file["jets/pt"][:]
    table = {
        (charge, crowd): seen
        for charge, crowd, seen in zip(
            abs(constituents["charge"]), constituents["is_pileup"], constituents["seen_vertex"], strict=True
        )
    }
    assert table == {(0, 0): 0, (0, 1): 0, (1, 0): 1, (1, 1): 2}
    assert 0.02 < np.median(1 - hard / whole) < 0.3


@pytest.mark.parametrize("name", registry.declared("convert.formats", "ntuple").model_fields)
def test_every_option_is_explained(name):
    assert f"| `{name}` |" in PAGE.read_text()


def test_showers_are_converted_by_hand_as_the_page_says(tmp_path):
    page = PAGE.with_name("formats.md").read_text()
    text = next(block for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if block.startswith("version"))
    (tmp_path / "showers.yaml").write_text(text)
    spec = parse_spec(ConvertSpec, str(tmp_path / "showers.yaml"))
    assert spec.version == VERSION
    path = write(tmp_path / "a.root", "showers", shower_branches())
    run.convert(spec, [path], tmp_path / "a.h5", tmp_path / "a.json")
    assert check(tmp_path / "a.h5") == 25
