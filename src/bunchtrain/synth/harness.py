"""Verilog around a core, so that place and route can time it: registers on every side, and few or no pins.

A core has more port bits than a package has pins, and its first stage of logic begins at its ports. With registers of
the harness before and after it, all paths of the core are paths from register to register, which is what tools count.
"""

from __future__ import annotations

from bunchtrain.errors import SynthesisError
from bunchtrain.synth.backends.base import Design
from bunchtrain.synth.ipxact import Signal, signals_of

CLOCK, RESET = "aclk", "aresetn"


def name(design: Design) -> str:
    """Return the name of the harness's module."""
    return f"{design.top}_harness"


def serial(design: Design) -> str:
    """Return a harness of three pins: clock, a bit in, a bit out.

    Bits are shifted in, and after as many as a counter counts the core gets them all at once; what it answers is
    caught in a register at every edge and now and then loaded into the register that is shifted out.
    """
    ins, outs = ports(design)
    bits_in, bits_out = bits(ins), bits(outs)
    width = max(bits_in, bits_out).bit_length()
    return f"""// For place and route alone: a vector is shifted in bit by bit, and an answer out.
module {name(design)} (
    input wire {CLOCK},
    input wire serial_in,
    output wire serial_out
);

    reg [{width - 1}:0] count = {width}'d0;
    reg load = 1'b0;
    reg [1:0] running = 2'd0;
    reg [{bits_in - 1}:0] shift_in;
    reg [{bits_in - 1}:0] held;
    wire [{bits_out - 1}:0] result;
    reg [{bits_out - 1}:0] caught;
    reg [{bits_out - 1}:0] shift_out;

    always @(posedge {CLOCK}) begin
        count <= count + {width}'d1;
        load <= &count;
        running <= {{running[0], 1'b1}};
        shift_in <= {{shift_in, serial_in}};
        if (load) held <= shift_in;
        caught <= result;
        shift_out <= load ? caught : shift_out << 1;
    end

    assign serial_out = shift_out[{bits_out - 1}];

{_instance(design, ins, outs, ("held", "result", "running[1]"))}

endmodule
"""


def registered(design: Design, keep: str) -> str:
    """Return a harness that has the core's ports, each behind a register of its own.

    Parameters
    ----------
    design : Design
    keep : str
        The attribute by which a tool leaves a register alone: then `bits` of them are known to be the harness's.
    """
    ins, outs = ports(design)
    bits_in, bits_out = bits(ins), bits(outs)
    return f"""// For place and route alone: the core between registers.
module {name(design)} (
    input wire {CLOCK},
    input wire {RESET},
    input wire [{bits_in - 1}:0] vector,
    output wire [{bits_out - 1}:0] answer
);

    (* {keep} *) reg running;
    (* {keep} *) reg [{bits_in - 1}:0] held;
    (* {keep} *) reg [{bits_out - 1}:0] caught;
    wire [{bits_out - 1}:0] result;

    always @(posedge {CLOCK}) begin
        running <= {RESET};
        held <= vector;
        caught <= result;
    end

    assign answer = caught;

{_instance(design, ins, outs, ("held", "result", "running"))}

endmodule
"""


def registers(design: Design) -> int:
    """Return how many registers `registered` puts around the core."""
    ins, outs = ports(design)
    return bits(ins) + bits(outs) + 1


def ports(design: Design) -> tuple[list[Signal], list[Signal]]:
    """Return the core's inputs and outputs but for clock and reset.

    Raises
    ------
    SynthesisError
        If there is no clock, or nothing goes in or out.
    """
    found = _signals(design)
    ins = [one for one in found if one.direction == "in" and one.name not in (CLOCK, RESET)]
    outs = [one for one in found if one.direction == "out"]
    if not (ins and outs and any(one.name == CLOCK for one in found)):
        raise SynthesisError(
            "the top module cannot be put between registers",
            key=design.top,
            found=[one.name for one in found],
            expected=f"{CLOCK}, inputs and outputs",
        )
    return ins, outs


def _signals(design: Design) -> list[Signal]:
    return signals_of("\n".join(path.read_text(encoding="utf-8") for path in design.rtl), design.top)


def bits(signals: list[Signal]) -> int:
    """Return the number of bits of some ports together."""
    return sum(max(one.width, 1) for one in signals)


def _instance(design: Design, ins: list[Signal], outs: list[Signal], wires: tuple[str, str, str]) -> str:
    """Return the core with its ports on slices of the vectors `wires`: in, out, reset."""
    source, result, reset = wires
    rows = [f".{CLOCK}({CLOCK})"]
    if any(one.name == RESET for one in _signals(design)):
        rows.append(f".{RESET}({reset})")
    for vector, signals in ((source, ins), (result, outs)):
        low = 0
        for one in signals:
            rows.append(f".{one.name}({vector}[{low} +: {max(one.width, 1)}])")
            low += max(one.width, 1)
    inside = ",\n".join(f"        {row}" for row in rows)
    return f"    {design.top} core (\n{inside}\n    );"
