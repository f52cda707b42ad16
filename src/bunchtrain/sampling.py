"""Trained surrogates at work: parameters in, draws of quantities out.

B: batch, A: parameter, Q: quantity.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bunchtrain.errors import InputError
from bunchtrain.events.responses import ParameterScaler, require_sane
from bunchtrain.models import base as models

Floats = NDArray[np.float64]

#: Rows that are drawn at once.
_AT_ONCE = 4096


class Surrogate:
    """A trained network that answers for parameters with quantities.

    Parameters
    ----------
    folder : path
        Of the training.

    Attributes
    ----------
    parameters, quantities : list of str
        Their names, in the order of columns.
    total : str or None
        The parameter, or further column, that quantities are shares of.

    Raises
    ------
    InputError
        If there is no network, it is damaged, or no surrogate.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.model, self.card = models.load_model(self.folder)
        if "quantities" not in self.card or "physics" not in self.card:
            problem, found = "the network is no surrogate", self.card["model"].get("kind")
            expected = "a network that answers with quantities: regression, cvae, flow, flow_matching, harmonic"
            raise InputError(problem, file=self.folder / models.CARD, key="model", found=found, expected=expected)
        self.scaler = ParameterScaler.of(self.card["scaler"], self.folder / models.CARD)
        self.parameters, self.quantities = list(self.scaler.scales), list(self.card["quantities"])
        self.total: str | None = self.card["physics"]["total"]

    def outside(self, parameters_BA: Floats) -> NDArray[np.bool_]:
        """Return which parameters lie outside of what was learned, bool [B, A]."""
        return self.scaler.outside(parameters_BA)

    def inputs(self, parameters_BA: Floats, totals_B: Floats | None = None) -> tuple[Tensor, Tensor]:
        """Return what the network sees: features and totals.

        Parameters
        ----------
        parameters_BA : float64 [B, A]
            In the order of `parameters`.
        totals_B : float64 [B], optional
            What quantities are shares of; the parameter of that name without.

        Raises
        ------
        InputError
            If there are more or fewer parameters, one means nothing, or a total is missing or not above 0.
        """
        if parameters_BA.ndim != 2 or parameters_BA.shape[1] != len(self.parameters):
            expected = f"[rows, {len(self.parameters)}]: {', '.join(self.parameters)}"
            problem = "parameters of another shape"
            raise InputError(problem, key="parameters", found=list(parameters_BA.shape), expected=expected)
        require_sane(self.scaler.scales, parameters_BA, self.folder)
        totals_B = self._totals(parameters_BA) if totals_B is None else totals_B
        if not (np.isfinite(totals_B) & (totals_B > 0)).all():
            row = int(np.argmin(np.isfinite(totals_B) & (totals_B > 0)))
            found = f"{totals_B[row]} in row {row}"
            raise InputError("a total is not above 0", key=str(self.total), found=found, expected="a number above 0")
        dtype = next(self.model.parameters()).dtype
        return torch.from_numpy(self.scaler(parameters_BA)).to(dtype), torch.from_numpy(totals_B).to(dtype)

    def _totals(self, parameters_BA: Floats) -> Floats:
        if self.total is None:
            return np.ones(len(parameters_BA))
        if self.total not in self.parameters:
            problem, mend = "the total is no parameter", "give totals_B"
            raise InputError(problem, key=self.total, choices=self.parameters, mend=mend)
        return parameters_BA[:, self.parameters.index(self.total)]

    def draw(self, parameters_BA: Floats, totals_B: Floats | None = None, *, seed: int = 0) -> Floats:
        """Return one draw of the quantities for each row of parameters, float64 [B, Q]; see `inputs`.

        The same seed gives the same draws for the same rows.
        """
        parts = [part.double().numpy() for part in self.drawn(parameters_BA, totals_B, seed=seed)]
        return np.concatenate(parts) if parts else np.zeros((0, len(self.quantities)))

    def drawn(self, parameters_BA: Floats, totals_B: Floats | None = None, *, seed: int = 0) -> Iterator[Tensor]:
        """Yield the same in batches, as the network has them."""
        features_BU, totals = self.inputs(parameters_BA, totals_B)
        for start in range(0, len(features_BU), _AT_ONCE):
            rows = slice(start, start + _AT_ONCE)
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                torch.manual_seed(int(np.random.SeedSequence([seed, start]).generate_state(1, np.uint64)[0] >> 1))
                found = cast(Any, self.model).draw(features_BU[rows], totals[rows])
            yield found
