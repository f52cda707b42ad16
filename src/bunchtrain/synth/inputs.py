"""What the core sees of a jet: small integers with a declared meaning.

Each input is one physical quantity, counted in a unit that is a power of two, from an offset of whole units. A trigger
board gets there by cutting bits and subtracting a constant; no multiplication is needed in front of the core.

B: batch, N: constituents the student sees, I: input.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunchtrain.events.features import GLOBALS, NODES, Features
from bunchtrain.synth.fixedpoint import Fixed

#: Standard deviations on either side of the mean that the inputs can hold at least.
REACH = 3.0

#: Smallest pt fraction that is told from none.
LEAST_FRACTION = 2.0**-8

_ANGLES = ("delta_eta", "delta_phi")

#: What every quantity is and its physical unit, for whoever feeds the core.
_MEANINGS = {
    "log_pt_fraction": ("ln(pt of constituent {n} / pt of the jet), not below ln(1/256)", "1"),
    "delta_eta": ("(eta of constituent {n} - eta of the jet), times -1 if eta of the jet is below 0", "1"),
    "delta_phi": ("phi of constituent {n} - phi of the jet, folded into [-pi, pi)", "rad"),
    "log_mass": ("ln(max(mass of the jet, 1 GeV) / GeV)", "ln GeV"),
    "log_pt": ("ln(pt of the jet / GeV)", "ln GeV"),
    "log_multiplicity": ("ln(number of all constituents of the jet, those the core does not see included)", "1"),
}


#: Numbers of the jet among the inputs.
OF_JET = len(GLOBALS)

#: Numbers of each constituent.
OF_CONSTITUENT = 1 + len(_ANGLES)


def names(constituents: int) -> list[str]:
    """Return the names of the inputs: three of each constituent, hardest first, then those of the jet."""
    nodes = [f"{name}_{n}" for n in range(1, constituents + 1) for name in ("log_pt_fraction", *_ANGLES)]
    return [*nodes, *GLOBALS]


def angle_columns(names: list[str]) -> tuple[list[int], list[int]]:
    """Return the places of the constituents' Δη and of their Δφ, in the same order of constituents."""
    eta, phi = ([place for place, name in enumerate(names) if _base(name) == angle] for angle in _ANGLES)
    return eta, phi


def quantities(features: Features, constituents: int) -> NDArray[np.float64]:
    """Return the physical quantities behind the inputs, shape [B, I].

    The logarithm of a constituent's share of the jet's pt stops at `LEAST_FRACTION`, where absent constituents stand;
    their angles are zero.

    Parameters
    ----------
    features : Features
        Unscaled features of the jets, at least `constituents` wide.
    constituents : int
        Hardest constituents that are seen.
    """
    nodes_BNF = features.nodes_BPF[:, :constituents].astype(np.float64)
    mask_BN = features.mask_BP[:, :constituents]
    floor = math.log(LEAST_FRACTION)
    pt_BN = np.maximum(np.where(mask_BN, nodes_BNF[..., NODES.index("log_pt_fraction")], floor), floor)
    eta_BN, phi_BN = (nodes_BNF[..., NODES.index(name)] * mask_BN for name in _ANGLES)
    flat = np.stack([pt_BN, eta_BN, phi_BN], -1).reshape(len(nodes_BNF), -1)
    return np.concatenate([flat, features.of_width(len(GLOBALS)).globals_BG.astype(np.float64)], 1)


@dataclass(frozen=True)
class Encoding:
    """How quantities become codes: `code = clip(floor(quantity / 2**exponent + 1/2) - offset)`.

    Parameters
    ----------
    names : list of str, [I]
    exponents : list of int, [I]
        Base-2 logarithm of each input's unit.
    offsets : list of int, [I]
        Units to subtract.
    bits : int
        Width of a code, sign included.
    """

    names: list[str]
    exponents: list[int]
    offsets: list[int]
    bits: int

    @property
    def format(self) -> Fixed:
        """How the network reads a code: as a number from -4 to 4."""
        return Fixed(self.bits, 3, True, "RND", "SAT")

    @classmethod
    def fit(cls, quantities_BI: NDArray[np.float64], names: list[str], bits: int) -> Encoding:
        """Choose units and offsets so that `REACH` standard deviations fit on either side of the mean.

        The angles of a constituent share their unit and have no offset: a jet may then be turned and reflected.
        """
        mean, spread = quantities_BI.mean(0), quantities_BI.std(0)
        eta_I, phi_I = angle_columns(names)
        angles = eta_I + phi_I
        spread[angles], mean[angles] = np.hypot(spread[angles], mean[angles]), 0.0
        spread[eta_I] = spread[phi_I] = np.maximum(spread[eta_I], spread[phi_I])
        half = 1 << (bits - 1)
        exponents = [math.ceil(math.log2(max(REACH * value, 1e-6) / half)) for value in spread]
        offsets = [round(value / 2.0**exponent) for value, exponent in zip(mean, exponents, strict=True)]
        return cls(list(names), exponents, offsets, bits)

    def codes(self, quantities_BI: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the codes of quantities, shape [B, I]."""
        low, high = self.format.code_range
        counted = np.floor(quantities_BI / 2.0 ** np.array(self.exponents, np.float64) + 0.5)
        codes: NDArray[np.int64] = np.clip(counted - np.array(self.offsets), low, high).astype(np.int64)
        return codes

    def values(self, codes_BI: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the numbers that the network computes with, shape [B, I]."""
        return np.asarray(codes_BI * self.format.step, np.float64)

    def rows(self) -> list[dict[str, Any]]:
        """Return a row per input: name, definition, physical unit, unit of a code, and offset."""
        rows = []
        for place, (name, exponent, offset) in enumerate(zip(self.names, self.exponents, self.offsets, strict=True)):
            definition, unit = _meaning(name)
            rows.append(
                {
                    "input": place,
                    "name": name,
                    "definition": definition,
                    "physical_unit": unit,
                    "log2_unit": exponent,
                    "offset": offset,
                }
            )
        return rows

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Encoding:
        """Build from what `as_dict` gave."""
        return cls(**fields)


def _base(name: str) -> str:
    head, _, tail = name.rpartition("_")
    return head if tail.isdigit() else name


def _meaning(name: str) -> tuple[str, str]:
    """Return what the quantity behind an input is, and its physical unit."""
    definition, unit = _MEANINGS[_base(name)]
    return definition.format(n=name.rpartition("_")[2]), unit
