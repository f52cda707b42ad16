"""The core in VHDL: alkaid's pipeline of the same stages, and the same stream around it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

from bunchtrain.synth.ports import Port, taken

_LIBRARY = "library ieee;\nuse ieee.std_logic_1164.all;\n"


def write(
    pipeline: Any, folder: Path, top: str, ports: tuple[Port, Port], fields: list[list[Any]], stages: int
) -> list[Path]:
    """Write the VHDL of a pipeline into `folder`, every entity under a name that begins with `top`; return the files.

    Parameters
    ----------
    pipeline : alkaid's FSM
        What the Verilog was written of: equal stages give equal latency.
    folder : Path
    top : str
        Name of the top entity.
    ports, fields, stages
        As for the Verilog wrapper; see `rtl.wrapper`.
    """
    from alkaid.codegen.rtl.rtl_model import RTLModel

    folder.mkdir(parents=True, exist_ok=True)
    work = folder / "alkaid"
    RTLModel(pipeline, work, f"{top}_core", flavor="vhdl", print_latency=False, ternary_fuse=False).write()
    top_file = folder / f"{top}.vhd"
    top_file.write_text(wrapper(top, ports, fields, stages), encoding="utf-8")
    files = [top_file, *_collect(work / "src", folder, top)]
    shutil.rmtree(work)
    return files


def wrapper(top: str, ports: tuple[Port, Port], fields: list[list[Any]], stages: int) -> str:
    """Return the VHDL of the top entity; it does what `rtl.wrapper` does in Verilog."""
    source, result = ports
    into, out_of = taken(source, fields[0]), taken(result, fields[1])
    used, made = (sum(place.width for place in places) for places in (into, out_of))
    lines = "\n".join(f"    {line}" for line in [*_unpack(source, fields[0]), *_pack(result, fields[1])])
    return f"""{_LIBRARY}
-- {source.size} numbers of format {source.form.hls} in, {result.size} of format {result.form.hls} out.
-- Number 0 has the lowest bits; each takes {source.lane} bits of s_axis_tdata and {result.lane} of m_axis_tdata.
-- A vector is taken at every clock edge with s_axis_tvalid high; there is no back-pressure.
entity {top} is
    port (
        aclk : in std_logic;
        aresetn : in std_logic;
        s_axis_tvalid : in std_logic;
        s_axis_tdata : in std_logic_vector({source.bits - 1} downto 0);
        m_axis_tvalid : out std_logic;
        m_axis_tdata : out std_logic_vector({result.bits - 1} downto 0)
    );
end entity {top};

architecture rtl of {top} is
    constant STAGES : positive := {stages};
    signal valid : std_logic_vector(STAGES downto 1);
    signal valid_next : std_logic_vector(STAGES downto 0);
    signal network_in : std_logic_vector({used - 1} downto 0);
    signal network_out : std_logic_vector({made - 1} downto 0);
begin
    valid_next <= valid & s_axis_tvalid;

    mark : process (aclk)
    begin
        if rising_edge(aclk) then
            if aresetn = '1' then
                valid <= valid_next(STAGES - 1 downto 0);
            else
                valid <= (others => '0');
            end if;
        end if;
    end process mark;

    m_axis_tvalid <= valid(STAGES);
{lines}

    network : entity work.{top}_core port map (clk => aclk, model_inp => network_in, model_out => network_out);
end architecture rtl;
"""


def _unpack(port: Port, fields: list[Any]) -> list[str]:
    return [
        f"network_in({_bits(place.start, place.width)}) <= s_axis_tdata({_bits(place.low, place.width)});"
        for place in taken(port, fields)
        if place.width
    ]


def _pack(port: Port, fields: list[Any]) -> list[str]:
    """Return the assignments to every lane: zeros below the bits of the pipeline, the sign or zeros above them."""
    lines = []
    for number, place in enumerate(taken(port, fields)):
        lane = number * port.lane
        if place.pad:
            lines.append(f"m_axis_tdata({_bits(lane, place.pad)}) <= (others => '0');")
        if place.width:
            pieces = _bits(place.low, place.width), _bits(place.start, place.width)
            lines.append(f"m_axis_tdata({pieces[0]}) <= network_out({pieces[1]});")
        if missing := port.lane - place.width - place.pad:
            sign = f"network_out({place.start + place.width - 1})" if place.signed and place.width else "'0'"
            lines.append(f"m_axis_tdata({_bits(lane + port.lane - missing, missing)}) <= (others => {sign});")
    return lines


def _bits(low: int, width: int) -> str:
    return f"{low + width - 1} downto {low}"


def _collect(source: Path, folder: Path, top: str) -> list[Path]:
    """Copy the pipeline and the primitives it uses, every entity under a name that begins with `top`."""
    own = [path for path in sorted(source.glob("*.vhd")) if not path.stem.endswith("_wrapper")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in own)
    used = [path for path in sorted((source / "static").glob("*.vhd")) if f"entity work.{path.stem} " in text]
    names = {name: _renamed(name, top) for path in (*own, *used) for name in _entities(path)}
    pattern = re.compile(rf"\b(entity |entity work\.|architecture \w+ of )({'|'.join(sorted(names))})\b")
    files = []
    for path in (*own, *used):
        target = folder / f"{_renamed(path.stem, top)}.vhd"
        code = pattern.sub(lambda match: match.group(1) + names[match.group(2)], path.read_text(encoding="utf-8"))
        target.write_text(code, encoding="utf-8")
        files.append(target)
    return files


def _entities(path: Path) -> list[str]:
    return re.findall(r"^entity (\w+) is", path.read_text(encoding="utf-8"), re.MULTILINE)


def _renamed(name: str, top: str) -> str:
    return name if name.startswith(top) else f"{top}_{re.sub('^logic', 'stage', name)}"
