"""The IP core as one zip: RTL, IP-XACT, HLS project, test vectors, reports, certificate and provenance.

Equal content gives equal bytes: names are sorted, times are fixed, nothing in it depends on when or where it was made.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from bunchtrain import zips
from bunchtrain.errors import SynthesisError
from bunchtrain.files import atomic
from bunchtrain.synth import ipxact
from bunchtrain.synth.rtl import Core

VENDOR = "bunchtrain"
LIBRARY = "taggers"

#: Folders that the IP-XACT description lists.
_FILE_SETS = ("rtl", "vhdl", "sim", "constraints", "hls")


def module_name(campaign: str) -> str:
    """Return a name for the top module: a Verilog identifier made of the campaign's name."""
    plain = re.sub(r"[\W_]+", "_", campaign).strip("_").lower() or "jet"  # VHDL has no two underscores in a row
    return f"{plain if plain[0].isalpha() else f'c{plain}'}_tagger"


def as_text(value: Any) -> bytes:
    """Return a JSON-like value as the bytes of a JSON file, the same for the same value."""
    return (json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def collect(folder: Path, prefix: str) -> dict[str, bytes]:
    """Return the files below `folder` by the name that they get in the zip."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            found[str(PurePosixPath(prefix, path.relative_to(folder).as_posix()))] = path.read_bytes()
    return found


def describe(core: Core, files: Mapping[str, bytes], version: str, parameters: Mapping[str, str]) -> bytes:
    """Return the IP-XACT description of the core, checked against its Verilog and its files.

    Parameters
    ----------
    core : Core
        The RTL; its files stand under `rtl/` in `files`.
    files : mapping
        Everything else that goes into the zip.
    version : str
        Version of the core.
    parameters : mapping
        Facts for an integrator, e.g. the latency.

    Raises
    ------
    SynthesisError
        If description, Verilog and files do not agree.
    """
    sets = {name: sorted(path for path in files if path.startswith(f"{name}/")) for name in _FILE_SETS}
    verilog = files[f"rtl/{core.top}.v"].decode()
    about = ipxact.Description(
        vendor=VENDOR,
        library=LIBRARY,
        name=core.top,
        version=version,
        text=f"Jet tagger: {core.source.size} fixed-point inputs, {core.result.size} logits, fully pipelined.",
        top=core.top,
        signals=ipxact.signals_of(verilog, core.top),
        files={name: paths for name, paths in sets.items() if paths},
        parameters=parameters,
    )
    text = ipxact.component(about)
    ipxact.check(text, about, files)
    return text.encode()


def pack(target: Path, files: Mapping[str, bytes], root: str) -> None:
    """Write `files` into the zip `target`, atomically, below one folder `root`.

    Raises
    ------
    SynthesisError
        If a name would leave that folder.
    """
    if wrong := next((name for name in sorted(files) if not zips.is_inside(name)), None):
        raise SynthesisError("a file would leave the core's folder", file=target, found=wrong)
    with atomic(target) as temporary:
        zips.write(temporary, {f"{root}/{name}": content for name, content in files.items()})
