"""The core's description in IP-XACT (IEEE 1685-2014): ports, streams, files and parameters, for integrating tools.

Elements stand in the order that the schema of the standard asks for.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bunchtrain.errors import SynthesisError

NAMESPACE = "http://www.accellera.org/XMLSchema/IPXACT/1685-2014"

_SCHEMA_INSTANCE = "http://www.w3.org/2001/XMLSchema-instance"

#: The stream as Arm publishes it for IP-XACT; the core has no TREADY, which the protocol lets out.
_STREAM = {"vendor": "amba.com", "library": "AMBA4", "version": "r0p0_1"}

_FILE_TYPES = {".v": "verilogSource", ".vhd": "vhdlSource", ".cpp": "cppSource", ".h": "cppSource", ".tcl": "tclSource"}

Element = ElementTree.Element


@dataclass(frozen=True)
class Signal:
    """A port of the top module: name, `in` or `out`, and width in bits; width 0 is a single wire without a range."""

    name: str
    direction: str
    width: int


@dataclass(frozen=True)
class Description:
    """What the description says.

    Parameters
    ----------
    vendor, library, name, version : str
        The core's identity (VLNV).
    text : str
        One sentence.
    top : str
        Name of the top module.
    signals : list of Signal
        Its ports.
    files : mapping of str to list of str
        Sets of files by name, paths relative to the description; the set `rtl` holds the core.
    parameters : mapping of str to str
        Facts that an integrator needs.
    """

    vendor: str
    library: str
    name: str
    version: str
    text: str
    top: str
    signals: list[Signal]
    files: Mapping[str, list[str]]
    parameters: Mapping[str, str]


def signals_of(verilog: str, top: str) -> list[Signal]:
    """Return the ports of the module `top` as its Verilog declares them.

    Raises
    ------
    SynthesisError
        If the module is not there or has no ports.
    """
    match = re.search(rf"\bmodule\s+{re.escape(top)}\s*\((.*?)\);", verilog, re.DOTALL)
    header = re.sub(r"//[^\n]*", "", match.group(1)) if match else ""
    found = re.findall(r"\b(input|output)\s+(?:wire|reg)?\s*(?:\[\s*(\d+)\s*:\s*0\s*\])?\s*(\w+)", header)
    if not found:
        raise SynthesisError("the top module and its ports are not in the Verilog", key=top)
    return [Signal(name, way.removesuffix("put"), int(high) + 1 if high else 0) for way, high, name in found]


def component(about: Description) -> str:
    """Return the description as XML text."""
    ElementTree.register_namespace("ipxact", NAMESPACE)
    ElementTree.register_namespace("xsi", _SCHEMA_INSTANCE)
    root = Element(_tag("component"))
    root.set(f"{{{_SCHEMA_INSTANCE}}}schemaLocation", f"{NAMESPACE} {NAMESPACE}/index.xsd")
    for name in ("vendor", "library", "name", "version"):
        _leaf(root, name, getattr(about, name))
    interfaces = _leaf(root, "busInterfaces")
    _stream(interfaces, "s_axis", "slave")
    _stream(interfaces, "m_axis", "master")
    _model(root, about)
    _file_sets(root, about.files)
    _leaf(root, "description", about.text)
    parameters = _leaf(root, "parameters")
    for name, value in about.parameters.items():
        _parameter(parameters, name, value)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def check(text: str, about: Description, present: Iterable[str]) -> None:
    """Check a description against the Verilog's ports and the files that are there.

    Raises
    ------
    SynthesisError
        If a port, a mapped port or a file is missing, unknown, or of another width.
    """
    root = ElementTree.fromstring(text)
    described = [_described(port) for port in root.iterfind(f".//{_tag('port')}")]
    if described != about.signals:
        raise SynthesisError("the IP-XACT ports are not those of the Verilog", found=described, expected=about.signals)
    names = {signal.name for signal in about.signals}
    mapped = {port.findtext(_tag("name"), "") for port in root.iterfind(f".//{_tag('physicalPort')}")}
    if not mapped <= names:
        raise SynthesisError("IP-XACT maps a port that is not there", found=sorted(mapped - names), choices=names)
    files = {file.findtext(_tag("name"), "") for file in root.iterfind(f".//{_tag('file')}")}
    if missing := sorted(files - set(present)):
        raise SynthesisError("IP-XACT names a file that is not in the core", found=missing[0])


def _described(port: Element) -> Signal:
    left = port.findtext(f".//{_tag('left')}")
    direction = port.findtext(f".//{_tag('direction')}", "")
    return Signal(port.findtext(_tag("name"), ""), direction, int(left) + 1 if left else 0)


def _tag(name: str) -> str:
    return f"{{{NAMESPACE}}}{name}"


def _leaf(parent: Element, name: str, text: str | None = None, /, **attributes: str) -> Element:
    child = ElementTree.SubElement(parent, _tag(name), attributes)
    child.text = text
    return child


def _parameter(parent: Element, name: str, value: str) -> None:
    parameter = _leaf(parent, "parameter", None, parameterId=name, type="string")
    _leaf(parameter, "name", name)
    _leaf(parameter, "value", value)


def _stream(parent: Element, name: str, mode: str) -> None:
    interface = _leaf(parent, "busInterface")
    _leaf(interface, "name", name)
    _leaf(interface, "busType", None, name="AXI4Stream", **_STREAM)
    kind = _leaf(_leaf(interface, "abstractionTypes"), "abstractionType")
    _leaf(kind, "abstractionRef", None, name="AXI4Stream_rtl", **_STREAM)
    maps = _leaf(kind, "portMaps")
    pairs = {"ACLK": "aclk", "ARESETn": "aresetn", "TVALID": f"{name}_tvalid", "TDATA": f"{name}_tdata"}
    for logical, physical in pairs.items():
        both = _leaf(maps, "portMap")
        _leaf(_leaf(both, "logicalPort"), "name", logical)
        _leaf(_leaf(both, "physicalPort"), "name", physical)
    _leaf(interface, mode)


def _model(root: Element, about: Description) -> None:
    model = _leaf(root, "model")
    view = _leaf(_leaf(model, "views"), "view")
    _leaf(view, "name", "rtl")
    _leaf(view, "envIdentifier", "Verilog::Synthesis")
    _leaf(view, "componentInstantiationRef", "verilog")
    instantiation = _leaf(_leaf(model, "instantiations"), "componentInstantiation")
    _leaf(instantiation, "name", "verilog")
    _leaf(instantiation, "language", "verilog")
    _leaf(instantiation, "moduleName", about.top)
    _leaf(_leaf(instantiation, "fileSetRef"), "localName", "rtl")
    ports = _leaf(model, "ports")
    for signal in about.signals:
        port = _leaf(ports, "port")
        _leaf(port, "name", signal.name)
        wire = _leaf(port, "wire")
        _leaf(wire, "direction", signal.direction)
        if signal.width:
            vector = _leaf(_leaf(wire, "vectors"), "vector")
            _leaf(vector, "left", str(signal.width - 1))
            _leaf(vector, "right", "0")


def _file_sets(root: Element, sets: Mapping[str, list[str]]) -> None:
    parent = _leaf(root, "fileSets")
    for name, files in sets.items():
        group = _leaf(parent, "fileSet")
        _leaf(group, "name", name)
        for path in files:
            file = _leaf(group, "file")
            _leaf(file, "name", path)
            kind = _FILE_TYPES.get(path[path.rfind(".") :])
            if kind:
                _leaf(file, "fileType", kind)
            else:
                _leaf(file, "fileType", "user", user=path.rpartition(".")[2])
