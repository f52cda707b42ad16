"""A surrogate of a static magnetic field without currents: the gradient of a scalar potential that is harmonic.

The potential is a network of one hidden layer, φ(x) = Re Σ_k a_k exp(w_k·x) + b·x, whose complex vectors are null:
w·w = 0. Then ∇²φ = Re Σ a (w·w) exp(w·x) = 0, and the field ∇φ has neither divergence nor curl, whatever is learned:
in exact arithmetic, and to rounding in practice. Sums of such waves come as close as one likes to any field of that
kind (Whittaker, Math. Ann. 57 (1903) 333, in three dimensions). A wave falls off from one side of the volume to the
other, as the field of a source beyond that side does.

The null vectors are random, and stay as the seed drew them, as with random features (Rahimi and Recht 2007): the field
is linear in what is learned. So most of the learning is done before the first step: the amplitudes are found by ridge
regression, and how steep waves are, how large amplitudes, and how noisy probes, is taken where the probes are most
likely (the evidence, MacKay 1992). The steps that follow refine noise and amplitudes, the latter in units of what is
not known of them, about the minimum where they are. Their covariance says how far the field is known at a place.

B: batch, K: wave, P: amplitude, 2 K + 3 of them.
"""

import math

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from bunchtrain.models._evidence import Posterior, posterior
from bunchtrain.models._surrogate import Surrogate, normal_loss
from bunchtrain.models.base import ResponseShape

#: See `models.base`.
ROWS = "responses"
ANSWERS = "response"
LEVELS = ("graph",)
MAXWELL = ("construction",)
#: What it answers with and nothing else.
OF = "field"

#: What is tried where the amplitudes are found: mean steepness of waves, over the largest width of the volume; width of
#: the amplitudes and noise of the probes, over the field.
_STEEPNESS = tuple(2.0 ** (exponent / 2) for exponent in range(-4, 6))
_PRIORS = tuple(10 ** (exponent / 2) for exponent in range(-6, 1))
_NOISES = tuple(2.0 ** (exponent / 2) for exponent in range(-44, -5))

#: Width of the prior of the uniform part of the field, over that of waves: it is the largest by far.
_UNIFORM = 100.0

#: Probes whose waves are in memory at once.
_AT_ONCE = 1024


class Config(BaseModel):
    """Size of the network."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    waves: int = Field(256, ge=1, le=4096, description="null vectors, with two amplitudes each")


class Model(Surrogate):
    """Waves, whose sum's gradient is the field.

    Parameters
    ----------
    config : Config
    shape : ResponseShape
        Of three places along axes at right angles, whose widths are its `widths`, to three components of the field.
    """

    along: Tensor
    across: Tensor
    shift: Tensor
    mean: Tensor
    root: Tensor
    ridge: Tensor

    def __init__(self, config: Config, shape: ResponseShape) -> None:
        super().__init__(shape)
        number = 2 * config.waves + 3
        self.chances = number + 3
        self._widths = [one / max(shape.widths) for one in shape.widths] or [1.0] * 3
        along = nn.functional.normalize(torch.randn(config.waves, 3), dim=1) * 2 * torch.rand(config.waves, 1)
        buffers = {"along": along, "across": torch.randn(config.waves, 3)}
        buffers |= {"shift": torch.zeros(config.waves), "mean": torch.zeros(number), "root": torch.eye(number)}
        self.amplitudes, self.log_noise = nn.Parameter(torch.zeros(number)), nn.Parameter(torch.zeros(3))
        for name, values in {**buffers, "ridge": torch.zeros(())}.items():
            self.register_buffer(name, values)

    def adjust(self, totals_B: Tensor, quantities_BQ: Tensor, features_BU: Tensor | None = None) -> None:
        """Find units and the first amplitudes: those of the steepness, the prior and the noise that are most likely."""
        super().adjust(totals_B, quantities_BQ)
        if features_BU is None:
            raise ValueError("amplitudes are found where quantities are known: give the features, too")
        places_B3 = self._places(features_BU.double())
        found_B3 = quantities_BQ.double() / self.coordinates.unit.double()
        tried = [(self._fitted(places_B3, found_B3, steepness), steepness) for steepness in _STEEPNESS]
        best, steepness = max(tried, key=lambda one: one[0].evidence)
        self.along *= steepness
        self.shift.copy_(_highest(places_B3, self.along.double()))
        self.mean.copy_(best.mean_P)
        self.root.copy_(best.root_PP)
        self.ridge.fill_(1 / (best.prior**2 * quantities_BQ.numel()))
        with torch.no_grad():
            self.log_noise.fill_(math.log(best.noise))

    def _fitted(self, places_B3: Tensor, found_B3: Tensor, steepness: float) -> Posterior:
        """Return the amplitudes of waves so many times as steep."""
        along_K3, across_K3 = steepness * self.along.double(), self.across.double()
        shift_K, number = _highest(places_B3, along_K3), len(self.mean)
        gram_PP, right_P = torch.zeros(number, number, dtype=torch.float64), torch.zeros(number, dtype=torch.float64)
        for places, found in zip(*(torch.split(one, _AT_ONCE) for one in (places_B3, found_B3)), strict=True):
            rows = _fields(places, along_K3, across_K3, shift_K).flatten(0, 1)
            gram_PP += rows.T @ rows
            right_P += rows.T @ found.flatten()
        return posterior(gram_PP, right_P, float(found_B3.square().sum()), found_B3.numel(), _PRIORS, _NOISES)

    def _places(self, features_B3: Tensor) -> Tensor:
        """Return places in one unit along all axes, which has to be exact: in the precision that is worked in."""
        return features_B3 * features_B3.new_tensor(self._widths)

    def field(self, features_BU: Tensor, amplitudes_P: Tensor) -> Tensor:
        """Return the field of waves of some amplitudes, those of each row or of all, in its unit, shape [B, 3]."""
        places_B3, number = self._places(features_BU), len(self.along)
        even_P, odd_P = amplitudes_P[..., :number], amplitudes_P[..., number : 2 * number]
        even_BK, odd_BK, along_K3, across_K3 = _waves(places_B3, self.along, self.across, self.shift)
        found_B3 = (even_P * even_BK + odd_P * odd_BK) @ along_K3 + (odd_P * even_BK - even_P * odd_BK) @ across_K3
        return found_B3 + _UNIFORM * amplitudes_P[..., 2 * number :]

    def losses(self, features_BU: Tensor, totals_B: Tensor, quantities_BQ: Tensor) -> Tensor:
        """Return minus the logarithm of the likelihood of each row; in training with its share of the prior."""
        amplitudes_P = self._amplitudes()
        missed_B3 = quantities_BQ / self.coordinates.unit - self.field(features_BU, amplitudes_P)
        log_variance_B3 = (2 * self.log_noise).expand_as(missed_B3)
        if self.training:
            return normal_loss(missed_B3, log_variance_B3) + self.ridge * amplitudes_P.square().sum() / 2
        variance_B3 = log_variance_B3.exp() + self._unknown(features_BU).square()
        return normal_loss(missed_B3, variance_B3.log())

    def _amplitudes(self, noise: Tensor | float = 0.0) -> Tensor:
        return self.mean + (self.amplitudes + noise) @ self.root.T

    def _unknown(self, features_BU: Tensor) -> Tensor:
        fields_B3P = _fields(self._places(features_BU), self.along, self.across, self.shift)
        return (fields_B3P @ self.root).square().sum(-1).sqrt()

    def expect(self, features_BU: Tensor, totals_B: Tensor) -> Tensor:
        """Return the most likely field, shape [B, 3]: it has neither divergence nor curl."""
        return self.field(features_BU, self._amplitudes()) * self.coordinates.unit

    def unknown(self, features_BU: Tensor) -> Tensor:
        """Return how far the field is known, a standard deviation of each component, shape [B, 3]."""
        return self._unknown(features_BU) * self.coordinates.unit

    def draw(self, features_BU: Tensor, totals_B: Tensor) -> Tensor:
        """Return what probes may find, shape [B, 3]: one likely field for all rows, and the noise of each probe."""
        rows, amplitudes = len(features_BU), len(self.mean)
        field_BP = features_BU.new_empty(amplitudes).normal_().expand(rows, amplitudes)
        return self.answer(features_BU, totals_B, torch.cat([field_BP, features_BU.new_empty(rows, 3).normal_()], 1))

    def answer(self, features_BU: Tensor, totals_B: Tensor, chance_BN: Tensor) -> Tensor:
        """Return what probes find, shape [B, 3]: the first normal numbers say in which field, the last three noise."""
        number = len(self.mean)
        found_B3 = self.field(features_BU, self._amplitudes(chance_BN[:, :number]))
        return (found_B3 + chance_BN[:, number:] * self.log_noise.exp()) * self.coordinates.unit


def _waves(
    places_B3: Tensor, along_K3: Tensor, across_K3: Tensor, shift_K: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return real and imaginary part of the waves, [B, K] each, and the unit vectors that they rise and swing along."""
    steepness_K1 = along_K3.norm(dim=1, keepdim=True)
    rise_K3 = along_K3 / steepness_K1
    swing_K3 = nn.functional.normalize(torch.linalg.cross(rise_K3, across_K3), dim=1)
    height_BK = (places_B3 @ along_K3.T - shift_K).exp()
    phase_BK = places_B3 @ (steepness_K1 * swing_K3).T
    return height_BK * phase_BK.cos(), height_BK * phase_BK.sin(), rise_K3, swing_K3


def _fields(places_B3: Tensor, along_K3: Tensor, across_K3: Tensor, shift_K: Tensor) -> Tensor:
    """Return the field of each amplitude alone, shape [B, 3, P]."""
    even_BK, odd_BK, rise_K3, swing_K3 = _waves(places_B3, along_K3, across_K3, shift_K)
    even_B1K, odd_B1K, rise_3K, swing_3K = even_BK[:, None], odd_BK[:, None], rise_K3.T, swing_K3.T
    uniform = _UNIFORM * torch.eye(3, dtype=places_B3.dtype, device=places_B3.device).expand(len(places_B3), 3, 3)
    return torch.cat([even_B1K * rise_3K - odd_B1K * swing_3K, odd_B1K * rise_3K + even_B1K * swing_3K, uniform], -1)


def _highest(places_B3: Tensor, along_K3: Tensor) -> Tensor:
    """Return where each wave is highest among the places, in its exponent, shape [K]."""
    return (places_B3 @ along_K3.T).amax(0)
