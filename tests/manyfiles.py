"""Many small ROOT files of jets, each with events of its own, made in microseconds: one is written, the others are its
bytes with other numbers in them."""

from pathlib import Path

import awkward as ak
import numpy as np
import uproot

from toys import toy_jets

_P4 = ("px", "py", "pz", "energy")


def many_files(folder: Path, label: int, count: int, jets: int = 10) -> list[Path]:
    """Write `count` files `00000.root`, ... of toy jets of a class; file N holds run N, all momenta scaled."""
    folder.mkdir(parents=True, exist_ok=True)
    branches = _written(folder / "template", label, jets)
    template = (folder / "template").read_bytes()
    (folder / "template").unlink()
    places = {name: template.index(_stored(values)) for name, values in branches.items()}
    scales = np.random.default_rng(label).uniform(0.8, 1.25, count)
    paths = [folder / f"{number:05d}.root" for number in range(count)]
    for number, path in enumerate(paths):
        content = bytearray(template)
        for name, values in branches.items():
            own = np.full(jets, number) if name == "run_number" else values * values.dtype.type(scales[number])
            content[places[name] : places[name] + values.nbytes] = _stored(own.astype(values.dtype))
        path.write_bytes(content)
    return paths


def _written(path: Path, label: int, jets: int) -> dict[str, np.ndarray]:
    """Write one file, uncompressed; return the values of the branches that others have otherwise."""
    columns, constituents, counts = toy_jets(label, jets, 0)
    columns["run_number"] = np.full(jets, 0x5EED + label, "u8")  # found again by its bytes
    names = {"run_number": "run_number", **{f"jet_{name}": name for name in ("pt", "eta", "phi", "mass")}}
    branches = {branch: columns[name] for branch, name in names.items()}
    own = {"event_number": columns["event_number"], "weight": columns["weight"], **branches}
    kinds = {name: values.dtype for name, values in own.items()}
    part = ak.zip({name: ak.unflatten(constituents[name], counts) for name in _P4})
    with uproot.recreate(path, compression=None) as file:
        of_part = ", ".join(f"{name}: float32" for name in _P4)
        file.mktree("jets", {**kinds, "part": f"var * {{{of_part}}}"}).extend({**own, "part": part})
    scaled = {name: branches[name] for name in ("run_number", "jet_pt", "jet_mass")}
    return scaled | {f"part_{name}": constituents[name] for name in _P4}


def _stored(values: np.ndarray) -> bytes:
    """Return an array as it stands in a ROOT file."""
    return values.astype(values.dtype.newbyteorder(">")).tobytes()
