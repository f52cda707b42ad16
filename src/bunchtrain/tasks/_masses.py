"""What the removal of pile-up makes of a jet's mass and transverse momentum, beside simpler ways to remove it.

B: batch, P: constituent, N: jet.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bunchtrain.levels import GraphTargets, Hits, Logits, Targets
from bunchtrain.panels import Curve, Panel, Plot
from bunchtrain.tasks import _puppi
from bunchtrain.tasks.base import Merit

#: Ways to remove pile-up, by what they weigh a constituent with.
NETWORK, SHAPE, CHARGED, NOTHING = "network", "local shape (PUPPI-like)", "charged alone", "nothing removed"

_TEXT = (
    "Each jet's constituents, weighed with what is taken for their chance to be of the hard collision, make its mass "
    "anew. It is compared with the mass of the constituents that are of the hard collision. The vertex of charged ones "
    "is known to all but the last row. Resolution: half the width of the central 68 %."
)

_DRAWS = 200


class Masses(Merit):
    """Masses and transverse momenta (GeV) of jets by each way to remove pile-up, and those without pile-up."""

    def __init__(self) -> None:
        self._found: dict[str, list[NDArray[np.float64]]] = {}
        self._shapes: list[Tensor] = []
        self._true: list[NDArray[np.float64]] = []
        self._weights: list[NDArray[np.float64]] = []

    def add(self, seen: Tensor | Hits, logits: Logits, targets: Targets | GraphTargets) -> None:
        """Add a batch of jets."""
        if not (isinstance(seen, Tensor) and isinstance(targets, Targets)):
            raise TypeError("events have no jet mass")
        momenta_BP4 = seen
        vertex_BP, charge_BP = targets.truth_BPT.unbind(-1)
        mask_BP = targets.mask_BP
        charged_BP, hard_BP = mask_BP & (charge_BP != 0), mask_BP & (vertex_BP == 0)
        neutral_BP = mask_BP & (charge_BP == 0)
        collisions_B = _different(vertex_BP * (charged_BP & ~hard_BP))
        shape_BP = _puppi.weights(momenta_BP4, charged_BP, hard_BP, collisions_B)
        known_BP = (charged_BP & hard_BP).to(momenta_BP4.dtype)
        chances = {
            NETWORK: known_BP + neutral_BP * torch.softmax(logits.nodes_BPC, -1)[..., 1],
            SHAPE: known_BP + neutral_BP * shape_BP,
            CHARGED: known_BP + neutral_BP,
            NOTHING: mask_BP.to(momenta_BP4.dtype),
        }
        for name, chance_BP in chances.items():
            self._found.setdefault(name, []).append(_mass_and_pt(momenta_BP4, chance_BP))
        self._shapes.append(shape_BP[neutral_BP])
        self._true.append(_mass_and_pt(momenta_BP4, hard_BP.to(momenta_BP4.dtype)))
        self._weights.append(targets.weights_B.double().numpy())

    def rivals(self) -> dict[str, Tensor]:
        """Return the local shape's weights."""
        return {SHAPE: torch.cat(self._shapes)}

    def panels(self) -> list[Panel]:
        """Return the resolutions, and the distributions of the mass's error."""
        true_N2, weights_N = np.concatenate(self._true), np.concatenate(self._weights)
        rows, curves, figures = [], [], {}
        for name, parts in self._found.items():
            mass_N, pt_N = (np.concatenate(parts) - true_N2).T
            percent_N = 100 * pt_N / np.maximum(true_N2[:, 1], 1e-6)
            rows.append([name])
            for values_N in (mass_N, percent_N):
                width, error = resolution(values_N, weights_N)
                rows[-1] += [f"{quantile(values_N, weights_N, 0.5):+.2f}", f"{width:.2f} ± {error:.2f}"]
            curves.append(_histogram(name, mass_N, weights_N, dashed=name != NETWORK))
            figures[f"mass resolution, {name} (GeV)"] = resolution(mass_N, weights_N)[0]
        columns = ["pile-up removed by", "mass, shift (GeV)", "resolution (GeV)", "pT, shift (%)", "resolution (%)"]
        plot = Plot("jet mass less that without pile-up (GeV)", "jets, normalised", curves)
        return [Panel("The jet mass after removal", _TEXT, columns, rows, [plot], figures)]


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
    running = np.cumsum(weights_N[order])
    return float(values_N[order[min(int(np.searchsorted(running, share * running[-1])), len(order) - 1)]])


def resolution(values_N: NDArray[np.float64], weights_N: NDArray[np.float64]) -> tuple[float, float]:
    """Return half the width of the central 68 %, and its error by resampling."""

    def half(chosen: NDArray[np.int64] | slice) -> float:
        low, high = (quantile(values_N[chosen], weights_N[chosen], share) for share in (0.16, 0.84))
        return (high - low) / 2

    random = np.random.default_rng(len(values_N))
    draws = [half(random.integers(0, len(values_N), len(values_N))) for _ in range(_DRAWS)]
    return half(slice(None)), float(np.std(draws))


def _histogram(name: str, values_N: NDArray[np.float64], weights_N: NDArray[np.float64], *, dashed: bool) -> Curve:
    heights, edges = np.histogram(values_N, np.linspace(-60, 120, 91), weights=weights_N)
    middles = (edges[1:] + edges[:-1]) / 2
    return Curve(name, middles.tolist(), (heights / max(weights_N.sum(), 1e-12)).tolist(), dashed)
