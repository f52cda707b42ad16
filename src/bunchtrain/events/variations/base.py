"""How the jets of an index are read as a variation has them.

A module of a kind has a `Config` and a `Variation(path, config, seed)`, a `Dataset` that gives the varied jets. A
literal is read without importing it: `PAIRED`, whether it varies the very jets of the test split; else it has samples
of its own.

B: batch, P: constituent, I: further node feature, V: further global feature.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from bunchtrain import registry
from bunchtrain.config.systematics import FAMILY
from bunchtrain.events.chance import Keys, keys, seeded
from bunchtrain.events.features import Raw
from bunchtrain.events.reader import Dataset

#: Powers of an energy that a unit holds: a scaled column is multiplied by its factor to this power.
_POWERS = {"GeV": 1, "1/GeV": -1}


class Varied(Dataset):
    """The jets of an index, of which a variation changes what a network sees; what the jets are stays as it is.

    Parameters
    ----------
    path : path
        The index.
    config : BaseModel
        Options of the kind.
    seed : int
        Of what is random: the jets of another order, or of other batches, are changed in the same way.
    """

    def __init__(self, path: str | Path, config: BaseModel, seed: int = 0) -> None:
        super().__init__(path)
        self._start = seeded("variation", seed)

    def keys(self, indices: NDArray[np.int64]) -> Keys:
        """Return a key for what is random about each jet, uint64 [B]: of its event, and of its place therein."""
        names = ("run_number", "event_number", "pt", "eta", "phi")
        return keys(self._start, *(Dataset.column(self, name, indices) for name in names))


class Scaled(Varied):
    """Jets whose energies and momenta are multiplied by a factor each."""

    def factors(self, indices: NDArray[np.int64]) -> NDArray[Any]:
        """Return the factor of each jet, shape [B]."""
        raise NotImplementedError

    def raw(self, indices: NDArray[np.int64], particles: int) -> Raw:
        """Return what the features of the given jets are computed from."""
        return self._scaled(super().raw(indices, particles), self.factors(indices))

    def _powers(self, axis: str, names: Sequence[str]) -> NDArray[np.float32]:
        """Return the powers of an energy that columns hold by their units, float32 [names]."""
        with h5py.File(self.path) as file:
            units = [str(file[f"{axis}/{name}"].attrs.get("units", "")) for name in names]
        return np.array([_POWERS.get(one, 0) for one in units], np.float32)

    def _scaled(self, raw: Raw, factors_B: NDArray[Any]) -> Raw:
        """Return jets whose energies and momenta are multiplied by a factor each; angles stay as they are.

        Further columns follow where their unit is GeV or 1/GeV.
        """
        factors = factors_B.astype(np.float32)
        jets_B4 = raw.jets_B4 * np.stack([factors, np.ones_like(factors), np.ones_like(factors), factors], -1)
        inputs = factors[:, None, None] ** self._powers("constituents", self.inputs)
        variables = factors[:, None] ** self._powers("jets", self.variables)
        return raw._replace(
            p4_BP4=raw.p4_BP4 * factors[:, None, None],
            jets_B4=jets_B4,
            inputs_BPI=raw.inputs_BPI * inputs,
            variables_BV=raw.variables_BV * variables,
        )


def opened(section: Mapping[str, Any], path: str | Path, seed: int = 0) -> Dataset:
    """Return the jets of an index as a variation (kind and options) has them.

    Raises
    ------
    CampaignError
        If there is no such kind.
    InputError
        If the index has not the columns that it names.
    """
    options = dict(section)
    module = registry.load(FAMILY, options.pop("kind"), "systematics")
    found: Dataset = module.Variation(path, module.Config.model_validate(options), seed)
    return found
