"""The scaler: centre and width of each feature, from the training split alone.

Both kinds of statistics merge: what is told of two parts is what would be told of both at once, whoever looked at them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunchtrain.errors import InputError
from bunchtrain.events.features import GLOBALS, NODES, UNITS, Features, Floats
from bunchtrain.files import read_json, write_json


@dataclass
class Moments:
    """Count, mean and summed squared deviation of each feature, merged exactly (Chan, Golub and LeVeque 1983)."""

    width: int
    count: int = 0
    mean: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    squares: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        self.mean = np.zeros(self.width)
        self.squares = np.zeros(self.width)

    def add(self, rows: NDArray[Any]) -> None:
        """Add rows, shape [n, width]."""
        if len(rows) == 0:
            return
        rows = rows.astype(np.float64)
        part = Moments(self.width)
        part.count, part.mean = len(rows), rows.mean(0)
        part.squares = ((rows - part.mean) ** 2).sum(0)
        self.merge(part)

    def merge(self, other: Moments) -> None:
        """Add what another one has seen."""
        total = self.count + other.count
        if other.count == 0:
            return
        delta = other.mean - self.mean
        self.mean = self.mean + delta * (other.count / total)
        self.squares = self.squares + other.squares + delta**2 * (self.count * other.count / total)
        self.count = total

    def centre(self) -> NDArray[np.float64]:
        """Return the means."""
        return self.mean

    def spread(self) -> NDArray[np.float64]:
        """Return the standard deviations; 1 where a feature never varies, so that scaling leaves it finite."""
        std = np.sqrt(self.squares / max(self.count, 1))
        return np.where(std > 1e-9, std, 1.0)


#: Bits of a float32 that a histogram of it keeps: sign, exponent and seven of the mantissa.
_BITS = 16


@dataclass
class Quantiles:
    """A histogram of each feature over the upper bits of its float32: counts merge exactly.

    Bins are 1/128 of their value wide and values are shared out evenly inside, so a quantile is off by less than that.
    """

    width: int
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 0), np.int64))

    def __post_init__(self) -> None:
        self.counts = np.zeros((self.width, 1 << _BITS), np.int64)

    def add(self, rows: NDArray[Any]) -> None:
        """Add rows, shape [n, width]."""
        bits = np.ascontiguousarray(rows, np.float32).view(np.uint32)
        # Ordered as the numbers are: negative ones have all bits turned, positive ones the sign alone.
        ordered = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31)) >> np.uint32(32 - _BITS)
        for column in range(self.width):
            self.counts[column] += np.bincount(ordered[:, column], minlength=1 << _BITS)

    def merge(self, other: Quantiles) -> None:
        """Add what another one has seen."""
        self.counts = self.counts + other.counts

    def at(self, share: float) -> NDArray[np.float64]:
        """Return the value below which a share of each feature lies, shape [width]."""
        return np.array([_quantile(counts, share) for counts in self.counts])

    def centre(self) -> NDArray[np.float64]:
        """Return the medians."""
        return self.at(0.5)

    def spread(self) -> NDArray[np.float64]:
        """Return half the width of the central 68 %; 1 where there is none."""
        half = (self.at(0.8413447) - self.at(0.1586553)) / 2
        return np.where(half > 1e-9, half, 1.0)


def _quantile(counts: NDArray[np.int64], share: float) -> float:
    running = np.cumsum(counts)
    if running[-1] == 0:
        return 0.0
    place = share * running[-1]
    number = int(np.searchsorted(running, place, side="left"))
    number = max(number, int(np.flatnonzero(counts)[0]))
    inside = (place - (running[number] - counts[number])) / counts[number]
    low, high = (_edge(one) for one in (number, number + 1))
    return low + (high - low) * min(max(float(inside), 0.0), 1.0)


def _edge(number: int) -> float:
    """Return the lower edge of a bin."""
    ordered = np.uint32(min(number << (32 - _BITS), 0xFFFFFFFF))
    bits = ordered & np.uint32(0x7FFFFFFF) if ordered >> 31 else ~ordered
    value = float(np.array(bits, np.uint32).view(np.float32))
    return value if np.isfinite(value) else 0.0


Statistics = Moments | Quantiles


def are_numbers(values: Any, width: int) -> bool:
    """Return whether `values` is a list of so many finite numbers."""
    numbers = isinstance(values, list) and all(isinstance(one, int | float) for one in values)
    return numbers and len(values) == width and bool(np.isfinite(values).all())


def float32(values: list[float]) -> Floats:
    """Return numbers of a scaler in the precision of features."""
    return np.asarray(values, dtype=np.float32)


@dataclass(frozen=True)
class Scaler:
    """Maps features to centre 0 and width 1."""

    nodes_mean: list[float]
    nodes_std: list[float]
    globals_mean: list[float]
    globals_std: list[float]
    inputs: list[str] = field(default_factory=list)
    variables: list[str] = field(default_factory=list)

    @classmethod
    def fitted(
        cls, nodes: Statistics, jets: Statistics, inputs: Sequence[str] = (), variables: Sequence[str] = ()
    ) -> Scaler:
        """Build from the statistics of node and of global features, `inputs` and `variables` the last of them."""
        widths = [(one.centre().tolist(), one.spread().tolist()) for one in (nodes, jets)]
        return cls(*widths[0], *widths[1], inputs=list(inputs), variables=list(variables))

    def require(self, inputs: Sequence[str], variables: Sequence[str], file: str | Path) -> None:
        """Refuse jets of `file` that have other inputs or variables than those that this was fitted to.

        Raises
        ------
        InputError
            Naming both.
        """
        for key, found, expected in (("inputs", inputs, self.inputs), ("variables", variables, self.variables)):
            if list(found) != expected:
                told = [", ".join(names) or "none" for names in (found, expected)]
                raise InputError(
                    f"the jets have other {key} than a scaler or a network was made for",
                    file=file,
                    key=f"prepare.{key}",
                    found=told[0],
                    expected=told[1],
                    mend="train again with what prepare wrote last",
                )

    def __call__(self, features: Features) -> Features:
        """Return scaled features; the momenta stay in GeV and padding stays zero."""
        nodes = (features.nodes_BPF - float32(self.nodes_mean)) / float32(self.nodes_std)
        jets = (features.globals_BG - float32(self.globals_mean)) / float32(self.globals_std)
        return features._replace(nodes_BPF=nodes * features.mask_BP[..., None], globals_BG=jets)

    def save(self, path: str | Path) -> None:
        """Write as JSON, with the names and units of the features."""
        names = {"nodes": [*NODES, *self.inputs], "globals": [*GLOBALS, *self.variables]}
        write_json(path, {**asdict(self), **names, "units": UNITS})

    @classmethod
    def load(cls, path: str | Path) -> Scaler:
        """Read what `save` wrote.

        Raises
        ------
        InputError
            If the file is no scaler, is damaged, or was written for other features.
        """
        values = read_json(path)
        if not isinstance(values, dict) or not {"nodes", "globals"} <= values.keys():
            raise InputError("a file is no scaler", file=path, expected="scaler.json", mend="name what prepare wrote")
        values.pop("units", None)
        for key in ("inputs", "variables"):
            names = values.setdefault(key, [])
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise InputError("a scaler is damaged", file=path, key=key, found=names, mend="run prepare again")
        nodes, jets = [*NODES, *values["inputs"]], [*GLOBALS, *values["variables"]]
        if values.pop("nodes") != nodes or values.pop("globals") != jets:
            raise InputError("a scaler was fitted to other features", file=path, mend="run prepare again")
        for item in fields(cls)[:4]:
            width = len(nodes) if item.name.startswith("nodes") else len(jets)
            if not are_numbers(values.get(item.name), width):
                expected = f"{width} numbers"
                mend, found = "run prepare again", values.get(item.name)
                raise InputError(
                    "a scaler is damaged", file=path, key=item.name, found=found, expected=expected, mend=mend
                )
        return cls(**{item.name: values[item.name] for item in fields(cls)})
