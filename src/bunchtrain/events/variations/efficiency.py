"""The efficiency of finding constituents, or tracks where these are the rows: each is lost by chance.

B: batch, P: constituent, C: column.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from bunchtrain.errors import InputError
from bunchtrain.events.chance import of_items, uniform
from bunchtrain.events.features import Raw
from bunchtrain.events.shard import P4
from bunchtrain.events.variations.base import Varied

#: See `variations.base`.
PAIRED = True


class Config(BaseModel):
    """Which constituents are lost, and what else of the jet goes with them."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    lost: float = Field(ge=0, lt=1, description="share of constituents that are lost: 0.03")
    column: str | None = Field(
        None, description="column of constituents that is not 0 for those that may be lost: charge; null: all may"
    )
    jet: bool = Field(False, description="whether pt, η, φ and mass of the jet lose their momenta too")


class Variation(Varied):
    """Jets of fewer constituents: the next ones come up, and what is beyond the kept ones is not lost to sight."""

    def __init__(self, path: str, config: Config, seed: int = 0) -> None:
        super().__init__(path, config, seed)
        self._config = config
        known = [one.removeprefix("constituents/") for one in self.columns if one.startswith("constituents/")]
        if config.column is not None and config.column not in known:
            problem = "there is no such column of constituents"
            raise InputError(problem, file=path, key="column", found=config.column, choices=known)

    def _kept(self, indices: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which of all constituents of the given jets are left, bool [B, most of them]."""
        width = max(int(self._multiplicity[indices].max(initial=0)), 1)
        name = f"constituents/{self._config.column}" if self._config.column else P4[0]
        values_BP1, mask_BP = super().padded([name], indices, width)
        exposed = values_BP1[..., 0] != 0 if self._config.column else mask_BP
        lost = exposed & (uniform(of_items(self.keys(indices), width)) < self._config.lost)
        kept: NDArray[np.bool_] = mask_BP & ~lost
        return kept

    def padded(
        self, names: Sequence[str], indices: NDArray[np.int64], width: int
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return the first items that are left of the given jets."""
        if not all(name.startswith("constituents/") for name in names):
            return super().padded(names, indices, width)
        kept_BW = self._kept(indices)
        values_BWC, _ = super().padded(names, indices, max(kept_BW.shape[1], width))
        kept_BW = np.pad(kept_BW, ((0, 0), (0, values_BWC.shape[1] - kept_BW.shape[1])))
        order = np.argsort(~kept_BW, axis=1, kind="stable")[:, :width]
        mask_BP = np.take_along_axis(kept_BW, order, 1)
        return np.take_along_axis(values_BWC, order[..., None], 1) * mask_BP[..., None], mask_BP

    def counts(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how many constituents are left of the given jets, among the `particles` that are kept."""
        found: NDArray[np.int64] = np.minimum(self._kept(indices).sum(1), self.particles)
        return found

    def raw(self, indices: NDArray[np.int64], particles: int) -> Raw:
        """Return what the features of the given jets are computed from."""
        raw, kept = super().raw(indices, particles), self._kept(indices)
        raw = raw._replace(multiplicity_B=kept.sum(1))
        if not self._config.jet:
            return raw
        p4_BW4, mask_BW = super().padded(P4, indices, kept.shape[1])
        lost_B4 = (p4_BW4.astype(np.float64) * (mask_BW & ~kept)[..., None]).sum(1)
        return raw._replace(jets_B4=np.where((lost_B4 != 0).any(1)[:, None], _less(raw.jets_B4, lost_B4), raw.jets_B4))


def _less(jets_B4: NDArray[np.float32], lost_B4: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return pt, eta, phi and mass of jets less some momenta (px, py, pz, energy)."""
    pt, eta, phi, mass = jets_B4.astype(np.float64).T
    energy = np.hypot(pt * np.cosh(eta), mass)
    px, py, pz, energy = (np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), energy]).T - lost_B4).T
    left = np.hypot(px, py)
    squared = (energy - np.hypot(left, pz)) * (energy + np.hypot(left, pz))
    eta = np.arcsinh(pz / np.maximum(left, 1e-6))
    return np.stack([left, eta, np.arctan2(py, px), np.sqrt(np.maximum(squared, 0))], -1).astype(np.float32)
