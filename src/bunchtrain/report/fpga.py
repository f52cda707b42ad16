"""The page's part on the FPGA core, from the synthesis report."""

from __future__ import annotations

from typing import Any

from bunchtrain.discrimination import told

_NAMES = {
    "torch": "quantised network in torch",
    "c_simulation": "C simulation of the HLS project",
    "rtl": "RTL in Verilator",
    "icarus": "RTL in Icarus, driven by cocotb",
    "vhdl": "VHDL in GHDL",
    "netlist": "mapped netlist in Verilator",
}


def cards(synthesis: dict[str, Any]) -> list[dict[str, str]]:
    """Return the figures at the top of the page: first what the core knows, then what it costs."""
    timing, resources, agreement = synthesis["timing"], synthesis["resources"], synthesis["agreement"]
    areas = synthesis["auc"]
    return [
        {
            "name": "AUC of the core",
            "value": f"{areas['rtl']:.3f}",
            "unit": "",
            "note": f"network: {areas['teacher']:.3f}",
        },
        {
            "name": "FPGA core",
            "value": f"{resources['lut']:,}",
            "unit": "LUT",
            "note": f"{resources['ff']:,} FF, {resources['dsp']} DSP",
        },
        {
            "name": "latency",
            "value": str(timing["latency_cycles"]),
            "unit": "cycles",
            "note": f"a new jet every {_cycles(timing['initiation_interval']).removeprefix('1 ')}",
        },
        {
            "name": "bits that differ",
            "value": str(agreement["mismatches"]),
            "unit": "",
            "note": f"torch, C and RTL on {agreement['vectors']:,} vectors",
        },
    ]


def _cycles(count: int) -> str:
    return f"{count} cycle" if count == 1 else f"{count} cycles"


def ladder(metrics: dict[str, Any], synthesis: dict[str, Any]) -> list[tuple[str, float]]:
    """Return the AUC of each step from the full network to the circuit."""
    areas = synthesis["auc"]
    return [
        ("network, MC dropout", metrics["auc"]["value"]),
        ("network, one pass", areas["teacher"]),
        ("student, floating point", areas["float_student"]),
        ("student, quantised", areas["quantised_student"]),
        ("C simulation", areas["c_simulation"]),
        ("RTL", areas["rtl"]),
        *((row["name"], row["auc"]["value"]) for row in metrics["baselines"][:1]),
    ]


def section(synthesis: dict[str, Any]) -> dict[str, Any]:
    """Return the texts and tables of the section."""
    agreement = synthesis["agreement"]
    comparisons = [
        {
            "name": " = ".join(_NAMES.get(name, name) for name in row["between"]),
            "vectors": f"{row['vectors']:,}",
            "mismatches": row["mismatches"],
        }
        for row in agreement["comparisons"]
    ]
    return {
        "text": _text(synthesis),
        "rows": _rows(synthesis),
        "proof": comparisons,
        "tools": _tools(synthesis),
        "cuts": [_cut(row) for row in synthesis["working_points"]],
        "cuts_text": _cuts_text(synthesis),
    }


def _cut(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "threshold": row["threshold"],
        "efficiency": f"{row['efficiency']:.1%} ± {row['efficiency_error']:.1%}",
        "rejection": told(row),
        "passing": f"{row['background_passing']} of {row['background_total']}",
    }


def _cuts_text(synthesis: dict[str, Any]) -> str:
    classes, task = synthesis["classes"], synthesis["task"]
    signal, background = (classes.index(task[name]) for name in ("signal", "background"))
    return (
        f"A jet passes if output {signal} less output {background} of the core, as whole numbers, reaches the "
        "threshold. Shares of the test jets; all thresholds are in the core's reports/thresholds.csv."
    )


def _text(synthesis: dict[str, Any]) -> str:
    student, areas = synthesis["student"], synthesis["auc"]
    steps = {"the network": "teacher", "the student in floating point": "float_student"}
    changes = [f"{areas['rtl'] - areas[key]:+.4f} from {name}" for name, key in steps.items()]
    return (
        f"A student of the kind {student['described']} learnt the network's answers on the "
        f"{student['constituents']} hardest "
        f"constituents, with {student['weights_described']} and {student['activation_bits']}-bit activations, "
        f"{student['sparsity']:.0%} of the weights pruned. The core's AUC changes by {' and by '.join(changes)}."
    )


def _rows(synthesis: dict[str, Any]) -> list[tuple[str, str]]:
    timing, resources, student = synthesis["timing"], synthesis["resources"], synthesis["student"]
    share = synthesis["utilisation"]

    def used(name: str) -> str:
        part = f"  ({share[name]:.2%} of the part)" if share.get(name) else ""
        return f"{resources[name]:,.0f}{part}"

    return [
        ("part", resources["part"]),
        ("LUT", used("lut")),
        ("flip-flops", used("ff")),
        ("DSP", used("dsp")),
        ("block RAM", used("bram")),
        ("latency, measured in simulation", f"{timing['latency_cycles']} cycles"),
        ("initiation interval, measured", _cycles(timing["initiation_interval"])),
        ("clock period asked for", f"{timing['clock_ns_asked']:g} ns (not a routed timing)"),
        ("weights left", f"{student['nonzero_weights']:,} of {student['weights']:,}"),
        *_routed(synthesis),
        ("input and output format", f"{student['input_format']}, {student['output_format']}"),
        ("IP-XACT identity", synthesis["core"]["vlnv"]),
    ]


def _routed(synthesis: dict[str, Any]) -> list[tuple[str, str]]:
    """Return rows on the routed clock, of the chosen tool and of those beside it; none where nothing routed."""
    timing, rows = synthesis["timing"], []
    if "clock_mhz_routed" in timing:
        able = "yes" if timing["event_every_25_ns"] else "no"
        rows = [
            ("clock after place and route", f"{timing['clock_mhz_routed']:.1f} MHz ({timing['routed_by']})"),
            ("latency at that clock", f"{timing['latency_ns_routed']:.1f} ns"),
            ("an event every 25 ns at that clock", able),
        ]
    for run in synthesis["vendor_runs"]:
        found = run.get("resources", {})
        if clock := found.get("clock_mhz_routed"):
            rows.append((f"clock after place and route by {run['backend']}", f"{clock:.1f} MHz ({found['part']})"))
    return rows


def _called(name: str, version: str) -> str:
    """Return a tool's name with its version, which may begin with the name."""
    return version if version.lower().startswith(name.lower()) else f"{name} {version}"


def _tools(synthesis: dict[str, Any]) -> str:
    made = "; ".join(f"{_called(name, row['version'])}: {row['made']}" for name, row in synthesis["tools"].items())
    found = [name for name, place in synthesis["vendor_tools"].items() if place]
    vendor = ", ".join(found) if found else "none of " + ", ".join(synthesis["vendor_tools"])
    return f"{made}. Vendor tools on PATH: {vendor}."
