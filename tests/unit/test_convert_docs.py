"""What docs/samples.md tells people to write is accepted."""

import re
from pathlib import Path

import pytest
import yaml

from bunchtrain import registry
from bunchtrain.config.campaign import parse_campaign
from bunchtrain.config.simulate import Simulate

PAGE = Path(__file__).parents[2] / "docs" / "samples.md"
BLOCKS = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)]


def test_the_page_has_its_examples():
    assert [next(iter(block)) for block in BLOCKS] == ["samples", "convert", "simulate"]


def test_the_examples_together_make_a_campaign():
    values = {"name": "a", "output": "results", **{key: value for block in BLOCKS for key, value in block.items()}}
    campaign = parse_campaign(values, PAGE)
    assert campaign.classes == ["qcd", "top"]
    assert campaign.simulate == Simulate()
    assert campaign.convert.format.checked("convert.formats", "convert.format")["jets"]["mass"] is None


@pytest.mark.parametrize("name", registry.declared("convert.formats", "ntuple").model_fields)
def test_every_option_is_explained(name):
    assert f"| `{name}` |" in PAGE.read_text()
