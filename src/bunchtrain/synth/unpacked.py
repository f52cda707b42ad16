"""The files of a core that someone else may have made: read into memory, named as they should be, as certified."""

from __future__ import annotations

import json
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bunchtrain.errors import SynthesisError
from bunchtrain.synth import agreement
from bunchtrain.zips import DAMAGED

#: Bytes that a core may unpack to; those of the demo's take 4 MB.
MOST_BYTES = 1 << 30

CERTIFICATE = "certificate.json"

#: Names that files may have, by folder; `{top}` stands for the name of the core.
_NAMES = {
    "": r"README\.md|certificate\.json|provenance\.json|component\.xml|{top}\.core",
    "rtl": r"{top}\w*\.v",
    "vhdl": r"{top}\w*\.vhd",
    "sim": r"testbench\.(v|vhd)|test_core\.py|core\.json|(inputs|expected)\.hex",
    "model": r"student\.safetensors",
    "reports": r"(figures|student)\.json|thresholds\.csv",
    "constraints": r"{top}\.(xdc|sdc)",
    "hls": r"\w[\w.+-]*(/\w[\w.+-]*)*",
    "syn": r"\w+/\w[\w.-]*",
}

#: What makes a tool read another text than the simulators do.
_TWO_FACED = re.compile(rb"`(?!timescale\b)\w+|translate_o(?:n|ff)|\bsynthesis\b|\bpragma\b", re.IGNORECASE)


@dataclass(frozen=True)
class Unpacked:
    """The files of a core by name, what it says of itself, and what it is called."""

    path: Path
    files: dict[str, bytes]
    top: str

    def json(self, name: str) -> dict[str, Any]:
        """Return a JSON file of the core."""
        if name not in self.files:
            raise SynthesisError("a core lacks a file", file=self.path, key=name, mend="make it again with synthesize")
        try:
            found = json.loads(self.files[name])
        except (ValueError, RecursionError) as error:
            raise SynthesisError("a file of a core is damaged", file=self.path, key=name, found=error) from None
        if not isinstance(found, dict):
            raise SynthesisError("a file of a core is damaged", file=self.path, key=name, found=type(found).__name__)
        return found


def unpack(path: Path) -> Unpacked:
    """Read a core into memory.

    Raises
    ------
    SynthesisError
        If it is no zip, is damaged, would unpack to more than `MOST_BYTES`, names a place outside of its one folder, or
        holds a file that no core has.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            if (total := sum(entry.file_size for entry in entries)) > MOST_BYTES:
                raise SynthesisError(
                    "a core is too large", file=path, found=f"{total} bytes", expected=f"{MOST_BYTES} at most"
                )
            top, names = _inside(path, [entry.filename for entry in entries])
            files = {name: archive.read(entry) for name, entry in zip(names, entries, strict=True)}
    except (*DAMAGED, OSError) as error:
        raise SynthesisError("a core cannot be read", file=path, found=error, expected="core.zip") from None
    return Unpacked(path, files, top)


def _inside(path: Path, names: list[str]) -> tuple[str, list[str]]:
    """Return the core's one folder, and the names below it."""
    roots = {name.partition("/")[0] for name in names}
    if len(roots) != 1 or not re.fullmatch(r"[a-z][a-z0-9_]*", top := next(iter(roots))):
        raise SynthesisError("a core is not one folder", file=path, found=sorted(roots)[:5], expected="its name")
    below = [name.partition("/")[2] for name in names]
    for name in below:
        folder, rest = name.split("/", 1) if "/" in name else ("", name)
        pattern = _NAMES.get(folder)
        if pattern is None or not re.fullmatch(pattern.replace("{top}", top), rest, re.ASCII) or ".." in name:
            raise SynthesisError("a core holds a file that no core has", file=path, found=f"{top}/{name}")
    plain = [name.lower() for name in below]
    if twice := next((name for name in below if plain.count(name.lower()) > 1), None):
        raise SynthesisError("a core holds a file twice", file=path, found=f"{top}/{twice}")
    return top, below


def check_sources(core: Unpacked) -> None:
    """Refuse sources that say one thing to a simulator and another to a synthesiser.

    Raises
    ------
    SynthesisError
        Naming the first such file, and the word.
    """
    for name, content in sorted(core.files.items()):
        if name.split("/")[0] in ("rtl", "vhdl") and (found := _TWO_FACED.search(content)):
            problem = "a source may mean another thing to a synthesiser than to a simulator"
            raise SynthesisError(problem, file=core.path, key=name, found=found[0].decode("ascii", "replace"))


def check_digests(core: Unpacked) -> int:
    """Compare the files with the digests in the certificate; return how many there are.

    Raises
    ------
    SynthesisError
        If a file is missing, differs, or is none that the certificate knows.
    """
    stated = core.json(CERTIFICATE).get("files")
    if not isinstance(stated, dict) or not stated:
        raise SynthesisError("a certificate names no files", file=core.path, key=CERTIFICATE)
    found = agreement.digests({name: content for name, content in core.files.items() if name != CERTIFICATE})
    for name in sorted({*stated, *found}):
        if stated.get(name) != found.get(name):
            problem = "a file of a core is not the one that was certified"
            if name not in found:
                problem = "a file that was certified is not in the core"
            if name not in stated:
                problem = "a file of a core was never certified"
            raise SynthesisError(problem, file=core.path, key=name, found=found.get(name), expected=stated.get(name))
    return len(found)
