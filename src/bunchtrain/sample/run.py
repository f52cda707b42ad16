"""One file of parameters through a surrogate into one file of quantities.

B: row, A: parameter, Q: quantity.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import torch
from numpy.typing import NDArray

from bunchtrain import provenance
from bunchtrain.calorimeter import readout
from bunchtrain.errors import InputError
from bunchtrain.files import atomic, disk_errors
from bunchtrain.models import base as models
from bunchtrain.sample import Outside
from bunchtrain.sample import parameters as files
from bunchtrain.sampling import Surrogate

Floats = NDArray[np.float64]


def sample(
    model: Path, parameters: Path, out: Path, *, seed: int, outside: Outside = Outside.REFUSE, threads: int = 1
) -> int:
    """Draw quantities for each row of a file of parameters; return how many rows there were.

    `out` holds `quantities` float32 [B, Q], with their names as an attribute; the parameters; `outside` bool [B], true
    where a parameter lies outside of what was learned; and, of a calorimeter whose task has a readout and whose columns
    are in the file, `cells` float32 [B, cells], what is read out.

    Raises
    ------
    InputError
        If the network is no surrogate, a parameter is missing, means nothing, or, unless `outside` is to be flagged,
        lies outside of what was learned.
    """
    torch.set_num_threads(threads)
    surrogate = Surrogate(model)
    total = [] if surrogate.total in (None, *surrogate.parameters) else [str(surrogate.total)]
    columns = files.read(parameters, [*surrogate.parameters, *total])
    given_BA = np.stack([columns[name] for name in surrogate.parameters], -1)
    totals_B = columns[total[0]] if total else None
    with _named(parameters):
        surrogate.inputs(given_BA, totals_B)  # what means nothing is said before anything is drawn
    beyond_B = _beyond(surrogate, given_BA, parameters, outside)
    read = _readout(surrogate, parameters, len(given_BA))
    with disk_errors(out), atomic(out) as temporary, h5py.File(temporary, "w") as file:
        _write(file, surrogate, given_BA, totals_B, seed, read)
        file["outside"] = beyond_B
        file.attrs["quantities"], file.attrs["seed"] = surrogate.quantities, seed
        file.attrs["weights_sha256"] = surrogate.card["weights_sha256"]
    inputs = [parameters, surrogate.folder / models.WEIGHTS, surrogate.folder / models.CARD]
    asked = {"seed": seed, "outside": str(outside)}
    provenance.record([out], stage="sample", spec=asked, inputs=inputs, facts={"rows": len(given_BA)})
    return len(given_BA)


@contextlib.contextmanager
def _named(file: Path) -> Iterator[None]:
    """Say of a problem with parameters which file they came from."""
    try:
        yield
    except InputError as error:
        error.details = {**error.details, "file": str(file)}
        raise


def _beyond(surrogate: Surrogate, given_BA: Floats, file: Path, outside: Outside) -> NDArray[np.bool_]:
    """Return which rows are an extrapolation, or refuse them."""
    beyond_BA = surrogate.outside(given_BA)
    if beyond_BA.any() and outside is Outside.REFUSE:
        row, place = map(int, np.argwhere(beyond_BA)[0])
        scaler = surrogate.scaler
        raise InputError(
            "parameters lie outside of what the surrogate has learned",
            file=file,
            key=surrogate.parameters[place],
            found=f"{given_BA[row, place]:g} in row {row}; {int(beyond_BA.any(1).sum())} such rows in all",
            expected=f"{scaler.lowest[place]:g} to {scaler.highest[place]:g}",
            mend="leave them out, train on a wider range, or let them be flagged with --outside flag",
        )
    return np.asarray(beyond_BA.any(1))


def _readout(surrogate: Surrogate, file: Path, rows: int) -> tuple[Floats, Floats] | None:
    """Return sampling term and noise of each row, where the task goes through a readout."""
    task = surrogate.card["task"]
    if task["kind"] != "calorimeter":
        return None
    with h5py.File(file) as opened:
        names = [name for name in ("stochastic_term", "noise") if name in opened or f"showers/{name}" in opened]
    if len(names) < 2:
        return None
    columns = files.read(file, names)
    for name, values in columns.items():
        if len(values) != rows or not (np.isfinite(values) & (values >= 0)).all():
            problem, expected = "a column of the readout means nothing", "a number for each row, none below 0"
            raise InputError(problem, file=file, key=name, expected=expected)
    return columns["stochastic_term"], columns["noise"]


def _write(
    file: h5py.File,
    surrogate: Surrogate,
    given_BA: Floats,
    totals_B: Floats | None,
    seed: int,
    read: tuple[Floats, Floats] | None,
) -> None:
    """Write what is drawn, a batch at a time."""
    rows, width = len(given_BA), len(surrogate.quantities)
    quantities = file.create_dataset("quantities", (rows, width), "f4")
    cells = sum(name.startswith("cells[") for name in surrogate.quantities)
    seen = file.create_dataset("cells", (rows, cells), "f4") if read else None
    random = np.random.default_rng([seed, 1])
    start = 0
    for part in surrogate.drawn(given_BA, totals_B, seed=seed):
        stop = start + len(part)
        quantities[start:stop] = part.numpy()
        if seen is not None and read is not None:
            term, noise = (one[start:stop] for one in read)
            seen[start:stop] = readout(part[:, :cells].double().clamp(min=0).numpy(), term, noise, random)
        start = stop
    for name, values in zip(surrogate.parameters, given_BA.T, strict=True):
        file[f"parameters/{name}"] = values
