"""Conversion and reading beside their peers: CPU seconds in one run, medians of several, on jets of random numbers.

The file has 4 float branches with about 50 constituents for each jet, compressed as ROOT does by default. The peer that
is not in the project's environment (ROOT's wheel) is installed into one of its own, under the cache folder.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import awkward as ak
import h5py
import numpy as np
import uproot
from ftag.hdf5 import H5Reader

from bunchtrain.config.convert import Convert
from bunchtrain.config.specs import ConvertSpec
from bunchtrain.convert.run import convert
from bunchtrain.events.export import export
from bunchtrain.events.shard import P4, Shard
from marks import Mark, conclude, table

JETS = 200_000
MEAN = 50
#: Tracks of the padded layout.
TRACKS = 40
BRANCHES = ("part_px", "part_py", "part_pz", "part_energy")
REPEATS = 3
#: Jets that the slow peers get; their time is scaled up.
FEW = 10_000
SOME = 50_000
BATCH = 2048
STEP = Convert().step_size
CACHE = Path(os.environ.get("BUNCHTRAIN_CACHE") or Path.home() / ".cache/bunchtrain")
FORMAT = {"kind": "ntuple", "jets": {}, "run": None, "event": None, "weight": None, "metadata": None}

RDATAFRAME = """
import sys, time
import ROOT
frame = ROOT.RDataFrame("jets", sys.argv[1]).Range(int(sys.argv[2]))
start = time.process_time()
found = frame.AsNumpy(sys.argv[3:])
print(time.process_time() - start, len(found[sys.argv[3]]))
"""


def write_jets(path: Path, jets: int, compression: uproot.compression.Compression) -> None:
    """Write jets with their constituents by falling pt, as generators and experiments do; after `JETS` they repeat."""
    random = np.random.default_rng(1)
    counts = np.clip(random.poisson(MEAN, JETS), 1, None)
    jet = np.repeat(np.arange(JETS), counts)
    pt = random.exponential(10, len(jet)) + 0.5
    pt = pt[np.lexsort((-pt, jet))]
    phi, eta = random.normal(0, 0.3, len(jet)), random.normal(0, 0.3, len(jet))
    p4 = (pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), pt * np.cosh(eta))
    columns = [ak.unflatten(values.astype("f4"), counts) for values in p4]
    with uproot.recreate(path, compression=compression) as file:
        tree = file.mktree("jets", dict.fromkeys(BRANCHES, "var * float32"), counter_name=lambda name: f"n_{name}")
        step = 20_000
        for start in range(0, jets, step):
            part = slice(start % JETS, start % JETS + step)
            tree.extend({name: values[part] for name, values in zip(BRANCHES, columns, strict=True)})


def seconds(work: Callable[[], object], repeats: int = REPEATS) -> float:
    """Return the median of the CPU seconds of some work, the first go left out."""
    work()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return statistics.median(times)


def ours(path: Path, folder: Path) -> None:
    """Convert as a campaign does: digest, checks, a look at every column, HDF5, manifest, provenance."""
    spec = ConvertSpec(version=1, sample="a", label=0, classes=["a"], format=FORMAT, step_size=STEP, on_bad_file="fail")
    convert(spec, [path], folder / "ours.h5", folder / "ours.json")


def read_alone(path: Path) -> None:
    """Read the branches and nothing else, in the same steps."""
    for _ in uproot.open(path)["jets"].iterate(filter_name=list(BRANCHES), step_size="64 MB", library="ak", how=dict):
        pass


def decompress(path: Path) -> None:
    """Decompress the baskets of the branches and nothing else."""
    tree = uproot.open(path)["jets"]
    for name in BRANCHES:
        branch = tree[name]
        for number in range(branch.num_baskets):
            branch.basket(number)


def pad_none(path: Path, folder: Path, compression: str | None = None) -> None:
    """What scripts do: pad, fill, stack, write."""
    arrays = uproot.open(path)["jets"].arrays(BRANCHES)
    width = int(ak.max(ak.num(arrays[BRANCHES[0]])))  # nothing is lost, as in the ragged file
    padded = [ak.to_numpy(ak.fill_none(ak.pad_none(arrays[name], width, clip=True), 0.0)) for name in BRANCHES]
    with h5py.File(folder / "padded.h5", "w") as file:
        file.create_dataset("x", data=np.stack(padded, -1), compression=compression)


def loop(path: Path, folder: Path) -> None:
    """What first scripts do: one jet after the other."""
    arrays = uproot.open(path)["jets"].arrays(BRANCHES, entry_stop=FEW)
    with h5py.File(folder / "loop.h5", "w") as file:
        out = file.create_dataset("x", (FEW, int(ak.max(ak.num(arrays[BRANCHES[0]]))), 4), "f4")
        for number in range(FEW):
            for column, name in enumerate(BRANCHES):
                values = np.asarray(arrays[name][number])
                out[number, : len(values), column] = values


def rdataframe(path: Path) -> float | None:
    """CPU seconds for all jets of RDataFrame's AsNumpy, scaled up; None where ROOT cannot be had."""
    place = CACHE / "peers" / "root"
    python = place / "bin/python"
    try:
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", place], check=True)
            subprocess.run([python, "-m", "pip", "install", "-q", "root", "numpy"], check=True)
        command = [python, "-c", RDATAFRAME, path, str(SOME), *BRANCHES]
        texts = [subprocess.run(command, check=True, capture_output=True, text=True).stdout for _ in range(REPEATS)]
    except subprocess.CalledProcessError as error:
        print(f"RDataFrame was not measured: {(error.stderr or str(error)).strip().splitlines()[-1]}", file=sys.stderr)
        return None
    found = [line.split() for text in texts for line in text.splitlines()[-1:]]
    return statistics.median(float(time) for time, _ in found) * JETS / SOME


def peak_memory(path: Path, folder: Path) -> float:
    """Return the peak memory of a conversion in a process of its own, MB."""
    code = (
        "import sys, pathlib; sys.path.insert(0, sys.argv[1]); from bench_convert import ours\n"
        "ours(pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]))\n"
        "print([int(x.split()[1]) / 1e3 for x in open('/proc/self/status') if x.startswith('VmHWM')][0])"
    )
    command = [sys.executable, "-c", code, str(Path(__file__).parent), str(path), str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def conversion(folder: Path) -> list[Mark]:
    """Compare the ways from a ROOT file to HDF5."""
    path = folder / "jets.root"
    write_jets(path, JETS, uproot.ZLIB(1))
    reading = seconds(lambda: read_alone(path))
    own = seconds(lambda: ours(path, folder))
    times: dict[str, float | None] = {
        "decompression alone, the limit": seconds(lambda: decompress(path)),
        "uproot, reading alone": reading,
        "bunchtrain convert": own,
        "ak.pad_none to h5py": seconds(lambda: pad_none(path, folder)),
        "ak.pad_none to h5py with lzf": seconds(lambda: pad_none(path, folder, "lzf")),
        "RDataFrame AsNumpy, no output": rdataframe(path),
        "a Python loop over jets": seconds(lambda: loop(path, folder), 1) * JETS / FEW,
    }
    size = path.stat().st_size / 1e6
    print(f"{JETS} jets of {MEAN} constituents, 4 branches, {size:.0f} MB of ROOT with zlib level 1\n")
    rows = [
        (name, *(("-",) * 3 if t is None else (f"{t:.2f}", f"{JETS / t / 1e3:.0f}", f"{t / own:.2f}")))
        for name, t in times.items()
    ]
    table(["from ROOT to HDF5", "CPU s", "k jets / CPU s", "of convert's time"], rows)
    padding, limit = times["ak.pad_none to h5py"], times["decompression alone, the limit"]
    print(f"who only decompresses is {padding / limit:.1f} times as fast as ak.pad_none to h5py\n")  # type: ignore[operator]
    marks = [
        Mark("over_python_loop", times["a Python loop over jets"] / own, 100),  # type: ignore[operator]
        Mark("over_pad_none", times["ak.pad_none to h5py"] / own, 3),  # type: ignore[operator]
        Mark("of_uproot_reading", reading / own, 0.6),
    ]
    if (frame := times["RDataFrame AsNumpy, no output"]) is not None:
        marks.append(Mark("over_rdataframe", frame / own, 20))
    return marks


def memory(folder: Path) -> list[Mark]:
    """Compare the peak memory of a file and of one four times as long."""
    lengths = (2 * JETS, 8 * JETS)
    peaks = []
    for length in lengths:
        path = folder / "long.root"
        write_jets(path, length, uproot.LZ4(4))
        peaks.append(peak_memory(path, folder))
    table(["jets in the file", "peak memory, MB"], [(n, f"{peak:.0f}") for n, peak in zip(lengths, peaks, strict=True)])
    return [Mark("memory_of_a_file_four_times_as_long", peaks[1] / peaks[0], 1.15, at_least=False)]


def reading(folder: Path) -> list[Mark]:
    """Compare random batches from the ragged shard with the reader of flavour tagging."""
    shard = Shard(folder / "ours.h5")
    order = np.random.default_rng(2).permutation(JETS)
    batches = [order[start : start + BATCH] for start in range(0, JETS, BATCH)]

    def padded() -> None:
        for rows in batches:
            shard.gather(rows, TRACKS)

    def ragged() -> None:
        for rows in batches:
            shard.ragged(rows, P4)

    export(folder / "ours.h5", folder / "padded.h5", width=TRACKS)
    names = [name.partition("/")[2] for name in P4]

    def ftag() -> None:
        reader = H5Reader(folder / "padded.h5", batch_size=BATCH, shuffle=True)
        for _ in reader.stream({"jets": ["pt"], "tracks": [*names, "valid"]}):
            pass

    times = {
        "bunchtrain, ragged, random": seconds(ragged),
        "bunchtrain, padded, random": seconds(padded),
        "ftag H5Reader, padded, lzf, random chunks": seconds(ftag),
    }
    table(
        [f"batches of {BATCH} jets", "CPU s", "k jets / CPU s"],
        [(name, f"{t:.2f}", f"{JETS / t / 1e3:.0f}") for name, t in times.items()],
    )
    fast, own, peer = times.values()
    best = JETS / min(own, fast) / 1e6
    return [Mark("over_ftag_reader", peer / own, 5), Mark("million_jets_per_cpu_second", best, 1)]


def main() -> None:
    """Measure and judge."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("BUNCHTRAIN_BENCH_DIR")) as name:
        folder = Path(name)
        marks = [*conversion(folder), *reading(folder), *memory(folder)]
    conclude(marks)


if __name__ == "__main__":
    main()
