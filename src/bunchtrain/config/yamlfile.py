"""Reading a campaign's YAML: a key that is given twice is an error, not a silent choice of the last one."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from bunchtrain.errors import CampaignError


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: dict[Any, int] = {}
        for key_node, _ in node.value:
            key, line = key_node.value, key_node.start_mark.line + 1
            if isinstance(key_node, yaml.ScalarNode) and key in seen and key != "<<":
                raise CampaignError(
                    "a key is given twice", key=key, found=f"lines {seen[key]} and {line}", mend="join the two into one"
                )
            seen[key if isinstance(key_node, yaml.ScalarNode) else id(key_node)] = line
        return super().construct_mapping(node, deep)


def read_yaml(file: str | Path) -> dict[str, Any]:
    """Read a YAML file of keys and values.

    Raises
    ------
    CampaignError
        If the file is missing, is not YAML, holds no keys, or holds one twice.
    """
    try:
        values = yaml.load(Path(file).read_text(encoding="utf-8"), Loader=_Loader)
    except (OSError, UnicodeDecodeError) as error:
        raise CampaignError("the campaign file cannot be read", file=file, found=error) from None
    except yaml.YAMLError as error:
        raise CampaignError("the campaign file is not YAML", file=file, found=error) from None
    except CampaignError as error:
        error.details = {"file": str(file), **error.details}
        raise
    if not isinstance(values, dict):
        raise CampaignError(
            "the campaign file holds no sections", file=file, found=type(values).__name__, expected="keys and values"
        )
    return values
