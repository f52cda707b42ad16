"""What docs/samples.md and docs/formats.md tell people to write is accepted."""

import re
from pathlib import Path

import pytest
import yaml
from test_formats_delphes import shower_branches, write

from bunchtrain import registry
from bunchtrain.config.campaign import parse_campaign
from bunchtrain.config.expression import FUNCTIONS, REDUCTIONS
from bunchtrain.config.simulate import Simulate
from bunchtrain.config.specs import ConvertSpec, parse_spec
from bunchtrain.convert import VERSION, run
from bunchtrain.events.layout import check

PAGE = Path(__file__).parents[2] / "docs" / "samples.md"
BLOCKS = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)]


def test_the_page_has_its_examples():
    assert [next(iter(block)) for block in BLOCKS] == ["samples", "convert", "samples", "simulate"]


def test_the_examples_together_make_a_campaign():
    own = [block for number, block in enumerate(BLOCKS) if number != 2]
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
