"""What the removal of pile-up makes of a jet's mass and transverse momentum, beside simpler ways to remove it.

B: batch, P: constituent, N: jet.
"""

from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bunchtrain.levels import GraphTargets, Hits, Logits, Targets
from bunchtrain.panels import Curve, Headline, Panel, Plot
from bunchtrain.rounding import alone, together
from bunchtrain.tasks import _puppi
from bunchtrain.tasks.base import Merit

#: Ways to remove pile-up, by what they weigh a constituent with.
NETWORK, SHAPE = "network", "local shape (PUPPI-like)"
CHARGED, NOTHING = "charged-hadron subtraction", "nothing removed"

_TEXT = (
    "Each jet's constituents, weighed with what is taken for their chance to be of the hard collision, make its mass "
    "anew. It is compared with the mass of those constituents, of the ones that are kept, that are of the hard "
    "collision. The vertex of charged ones is known to all but the last row; charged-hadron subtraction takes away "
    "those of pile-up and keeps all neutral ones. The local shape sees the jet's own constituents alone, not its "
    "surroundings, as the network does. Shift: the median of the difference. Resolution: half the width of its central "
    "68 %. Errors are those of resampled jets."
)

_DRAWS = 200

#: What the figure shows of the difference in mass, GeV.
_RANGE = (-60, 120)
_DRAWN = f"Jets from {_RANGE[0]} to {_RANGE[1]} GeV are drawn; the others count in the norm and in the table."


class _Jets(NamedTuple):
    """What the local shape needs of a batch, once the spread of pile-up in all of them is known."""

    momenta_BP4: Tensor
    alpha_BP: Tensor
    neutral_BP: Tensor
    known_BP: Tensor
    pileup_BP: Tensor
    collisions_B: Tensor


class Masses(Merit):
    """Masses and transverse momenta (GeV) of jets by each way to remove pile-up, and those without pile-up."""

    def __init__(self) -> None:
        self._found: dict[str, list[NDArray[np.float64]]] = {NETWORK: [], SHAPE: [], CHARGED: [], NOTHING: []}
        self._jets: list[_Jets] = []
        self._true: list[NDArray[np.float64]] = []
        self._weights: list[NDArray[np.float64]] = []

    def add(self, seen: Tensor | Hits, logits: Logits, targets: Targets | GraphTargets) -> None:
        """Add a batch of jets."""
        if not (isinstance(seen, Tensor) and isinstance(targets, Targets)):
            raise TypeError("events have no jet mass")
        vertex_BP, charge_BP = targets.truth_BPT.unbind(-1)
        charged_BP, hard_BP = targets.mask_BP & (charge_BP != 0), targets.mask_BP & (vertex_BP == 0)
        neutral_BP, pileup_BP = targets.mask_BP & (charge_BP == 0), charged_BP & ~hard_BP
        known_BP = charged_BP & hard_BP
        alpha_BP, collisions_B = _puppi.shape(seen, known_BP), _different(vertex_BP * pileup_BP)
        self._jets.append(_Jets(seen, alpha_BP, neutral_BP, known_BP, pileup_BP, collisions_B))
        chance_BP = torch.softmax(logits.nodes_BPC, -1)[..., 1].where(neutral_BP, 0.0)
        self._found[NETWORK].append(_mass_and_pt(seen, known_BP + chance_BP))
        self._found[CHARGED].append(_mass_and_pt(seen, known_BP | neutral_BP))
        self._found[NOTHING].append(_mass_and_pt(seen, targets.mask_BP))
        self._true.append(_mass_and_pt(seen, hard_BP))
        self._weights.append(targets.weights_B.double().numpy())

    @cached_property
    def _shapes(self) -> list[Tensor]:
        """Weights by the local shape, [B, P] of each batch: by the spread of pile-up in all of them."""
        found = _puppi.spread(torch.cat([one.alpha_BP[one.pileup_BP] for one in self._jets]))
        return [
            _puppi.weights(one.alpha_BP, one.momenta_BP4[..., :2].norm(dim=-1), one.collisions_B, found)
            for one in self._jets
        ]

    def rivals(self) -> dict[str, Tensor]:
        """Return the local shape's weights."""
        pairs = zip(self._shapes, self._jets, strict=True)
        return {SHAPE: torch.cat([weight_BP[one.neutral_BP] for weight_BP, one in pairs])}

    def panels(self) -> list[Panel]:
        """Return the resolutions, and the distributions of the mass's error."""
        true_N2, weights_N = np.concatenate(self._true), np.concatenate(self._weights)
        self._found[SHAPE] = [
            _mass_and_pt(one.momenta_BP4, one.known_BP + weight_BP * one.neutral_BP)
            for weight_BP, one in zip(self._shapes, self._jets, strict=True)
        ]
        some_N = true_N2[:, 1] > 0  # there is a pt to compare with
        rows, curves, found = [], [], {}
        for name, parts in self._found.items():
            mass_N, pt_N = (np.concatenate(parts) - true_N2).T
            percent = (100 * pt_N[some_N] / true_N2[some_N, 1], weights_N[some_N])
            found[name] = resolutions(mass_N, weights_N)
            rows.append([name, *_told(*found[name]), *(_told(*resolutions(*percent)) if some_N.any() else "--")])
            curves.append(_histogram(name, mass_N, weights_N, dashed=name != NETWORK))
        columns = ["pile-up removed by", "mass, shift (GeV)", "resolution (GeV)", "pT, shift (%)", "resolution (%)"]
        plot = Plot("jet mass less that without pile-up (GeV)", "jets, normalised", curves, _DRAWN)
        figures = {f"mass resolution, {name} (GeV)": width[0] for name, (_, width) in found.items()}
        title = "The jet mass after removal"
        return [Panel(title, _TEXT, columns, rows, [plot], figures, [_headline(found)])]


#: A number and its error.
_Value = tuple[float, float]


def _headline(found: dict[str, tuple[_Value, _Value]]) -> Headline:
    """Return the network's resolution, beside that of the local shape."""
    shape = f"{SHAPE}: {alone(found[SHAPE][1][0])} GeV"
    return Headline("jet mass resolution", *found[NETWORK][1], "GeV", shape)


def _told(shift: _Value, width: _Value) -> list[str]:
    """Return shift and resolution in words."""
    return [together(*shift, sign=True), together(*width)]


def _mass_and_pt(momenta_BP4: Tensor, chance_BP: Tensor) -> NDArray[np.float64]:
    """Return mass and pt (GeV) of the weighed constituents' sum, float64 [B, 2]."""
    px, py, pz, energy = (momenta_BP4.double() * chance_BP.double()[..., None]).sum(1).unbind(-1)
    mass = (energy.square() - px.square() - py.square() - pz.square()).clamp(min=0).sqrt()
    found: NDArray[np.float64] = torch.stack([mass, torch.hypot(px, py)], -1).numpy()
    return found


def _different(vertex_BP: Tensor) -> Tensor:
    """Return how many different numbers above 0 each row holds, shape [B]."""
    ordered_BP = vertex_BP.sort(1).values
    return ((ordered_BP[:, 1:] != ordered_BP[:, :-1]).sum(1) + (ordered_BP[:, 0] > 0)).clamp(min=0)


def quantile(values_N: NDArray[np.float64], weights_N: NDArray[np.float64], share: float) -> float:
    """Return the value below which a share of the weight lies."""
    order = np.argsort(values_N)
    running = np.maximum.accumulate(np.cumsum(weights_N[order]))  # weights may be negative
    return float(values_N[order[min(int(np.searchsorted(running, share * running[-1])), len(order) - 1)]])


def resolutions(values_N: NDArray[np.float64], weights_N: NDArray[np.float64]) -> tuple[_Value, _Value]:
    """Return the median, and half the width of the central 68 %, each with its error by resampling."""

    def measured(chosen: NDArray[np.int64] | slice) -> _Value:
        low, middle, high = (quantile(values_N[chosen], weights_N[chosen], share) for share in (0.16, 0.5, 0.84))
        return middle, (high - low) / 2

    random = np.random.default_rng(len(values_N))
    draws = [measured(random.integers(0, len(values_N), len(values_N))) for _ in range(_DRAWS)]
    (middle, half), (middle_error, half_error) = measured(slice(None)), np.std(draws, axis=0).tolist()
    return (middle, middle_error), (half, half_error)


def _histogram(name: str, values_N: NDArray[np.float64], weights_N: NDArray[np.float64], *, dashed: bool) -> Curve:
    heights, edges = np.histogram(values_N, np.linspace(*_RANGE, 91), weights=weights_N)
    middles = (edges[1:] + edges[:-1]) / 2
    return Curve(name, middles.tolist(), (heights / max(weights_N.sum(), 1e-12)).tolist(), dashed)
