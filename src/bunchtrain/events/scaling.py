"""The scaler: mean and standard deviation of each feature, from the training split alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunchtrain.errors import InputError
from bunchtrain.events.features import GLOBALS, NODES, Features, Floats
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
        mean = rows.mean(0)
        squares = ((rows - mean) ** 2).sum(0)
        total = self.count + len(rows)
        delta = mean - self.mean
        self.mean = self.mean + delta * (len(rows) / total)
        self.squares = self.squares + squares + delta**2 * (self.count * len(rows) / total)
        self.count = total

    @property
    def std(self) -> NDArray[np.float64]:
        """Standard deviation; 1 where a feature never varies, so that scaling leaves it finite."""
        std = np.sqrt(self.squares / max(self.count, 1))
        return np.where(std > 1e-9, std, 1.0)


def _are_numbers(values: Any, width: int) -> bool:
    numbers = isinstance(values, list) and all(isinstance(one, int | float) for one in values)
    return numbers and len(values) == width and bool(np.isfinite(values).all())


def _float32(values: list[float]) -> Floats:
    return np.asarray(values, dtype=np.float32)


@dataclass(frozen=True)
class Scaler:
    """Maps features to mean 0 and standard deviation 1."""

    nodes_mean: list[float]
    nodes_std: list[float]
    globals_mean: list[float]
    globals_std: list[float]

    @classmethod
    def from_moments(cls, nodes: Moments, jets: Moments) -> Scaler:
        """Build from the moments of node and global features."""
        return cls(nodes.mean.tolist(), nodes.std.tolist(), jets.mean.tolist(), jets.std.tolist())

    def __call__(self, features: Features) -> Features:
        """Return scaled features; the points stay in their natural units and padding stays zero."""
        nodes = (features.nodes_BPF - _float32(self.nodes_mean)) / _float32(self.nodes_std)
        jets = (features.globals_BG - _float32(self.globals_mean)) / _float32(self.globals_std)
        return features._replace(nodes_BPF=nodes * features.mask_BP[..., None], globals_BG=jets)

    def save(self, path: str | Path) -> None:
        """Write as JSON, with the names of the features."""
        write_json(path, {**asdict(self), "nodes": NODES, "globals": GLOBALS})

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
        if values.pop("nodes") != list(NODES) or values.pop("globals") != list(GLOBALS):
            raise InputError("a scaler was fitted to other features", file=path, mend="run prepare again")
        for item in fields(cls):
            width = len(NODES if item.name.startswith("nodes") else GLOBALS)
            if not _are_numbers(values.get(item.name), width):
                expected = f"{width} numbers"
                mend, found = "run prepare again", values.get(item.name)
                raise InputError(
                    "a scaler is damaged", file=path, key=item.name, found=found, expected=expected, mend=mend
                )
        return cls(**{item.name: values[item.name] for item in fields(cls)})
