"""What the last layer alone knows of its uncertainty: nothing but it is looked at again, and no network trained anew.

Three ways, fitted on what the layer sees of training jets: the curvature of the loss (Laplace), a variance of the
logits that is learnt, and how far a jet lies from those of the training.

M: item, W: feature that the last layer sees, the last of them 1, C: class, K: draw.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from bunchtrain.levels import Logits
from bunchtrain.posterior import Posterior, Summary

#: Draws of logits for one answer, and how many are computed side by side.
_DRAWS, _CHUNK = 100, 10

#: Steps and rate in which the learnt variance is fitted.
_STEPS, _RATE = 300, 0.02


class Seen(NamedTuple):
    """What the last layer sees of training jets, and answers."""

    features_MW: Tensor
    logits_MC: Tensor
    labels_M: Tensor
    weights_M: Tensor


def find(model: nn.Module) -> nn.Linear | None:
    """Return the layer that gives a network's logits of whole jets, if it is linear."""
    head = getattr(model, "head", None)
    last = head[-1] if isinstance(head, nn.Sequential) and len(head) else None
    return last if isinstance(last, nn.Linear) else None


def watched(model: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Logits, Tensor | None]:
    """Return a network's answers, and what its last layer saw, shape [M, W - 1], if there is such a layer."""
    layer, seen = find(model), []
    hook = layer.register_forward_pre_hook(lambda _, given: seen.append(given[0])) if layer is not None else None
    try:
        logits = model(*inputs)
    finally:
        if hook is not None:
            hook.remove()
    return logits, seen[0] if seen else None


def with_one(features_MW: Tensor) -> Tensor:
    """Return features in double precision with a further one, 1, for the bias."""
    return torch.cat([features_MW.double(), torch.ones(len(features_MW), 1, dtype=torch.float64)], -1)


class Laplace:
    """A normal posterior of the last layer's weights around the trained ones (Daxberger et al., arXiv:2106.14806).

    Its precision is the generalised Gauss-Newton matrix of the cross entropy plus that of a normal prior, which is
    chosen by the evidence (MacKay, Neural Computation 4 (1992) 448).

    Parameters
    ----------
    seen : Seen
    layer : nn.Linear
        The trained layer.
    items : float
        Training jets that those seen stand for.
    """

    def __init__(self, seen: Seen, layer: nn.Linear, items: float) -> None:
        weights_M = seen.weights_M.double() * items / seen.weights_M.double().sum()
        curvature = _gauss_newton(seen.features_MW, torch.softmax(seen.logits_MC.double(), -1), weights_M)
        values, vectors = torch.linalg.eigh(curvature)
        values = values.clamp(min=0)
        size = sum(float(p.detach().double().square().sum()) for p in layer.parameters())
        self.prior = _prior(values, size)
        covariance = (vectors / (values + self.prior)) @ vectors.T
        classes, width = seen.logits_MC.shape[1], seen.features_MW.shape[1]
        self._covariance_CWCW = covariance.reshape(classes, width, classes, width)

    def covariance(self, features_MW: Tensor) -> Tensor:
        """Return the covariance of the logits of each jet, shape [M, C, C]."""
        half_MCCW = torch.einsum("mw,cwdv->mcdv", features_MW, self._covariance_CWCW)
        return torch.einsum("mcdv,mv->mcd", half_MCCW, features_MW)


def _gauss_newton(features_MW: Tensor, probabilities_MC: Tensor, weights_M: Tensor) -> Tensor:
    """Return the sum over jets of w (diag p - p pᵀ) ⊗ φ φᵀ, shape [C·W, C·W]."""
    classes, width = probabilities_MC.shape[1], features_MW.shape[1]
    found = features_MW.new_empty(classes, width, classes, width)
    for one in range(classes):
        for other in range(classes):
            p_M, q_M = probabilities_MC[:, one], probabilities_MC[:, other]
            factor_M = weights_M * p_M * (float(one == other) - q_M)
            found[one, :, other] = (features_MW * factor_M[:, None]).T @ features_MW
    return found.reshape(classes * width, classes * width)


def _prior(curvature: Tensor, size: float) -> float:
    """Return the precision of the prior with the largest evidence: well determined weights over their squares."""
    prior = 1.0
    for _ in range(100):
        determined = float((curvature / (curvature + prior)).sum())
        prior = max(determined / max(size, 1e-12), 1e-6)
    return prior


class LearntVariance:
    """A standard deviation of each logit, linear in what the last layer sees (Kendall and Gal, arXiv:1703.04977).

    It is fitted to the labels with the network as it is: what a jet's features say of how noisy its label is.
    """

    def __init__(self, seen: Seen, seed: int) -> None:
        width, classes = seen.features_MW.shape[1], seen.logits_MC.shape[1]
        self._weights_WC = nn.Parameter(torch.zeros(width, classes, dtype=torch.float64))
        with torch.no_grad():
            self._weights_WC[-1] = -2.0
        optimiser = torch.optim.Adam([self._weights_WC], lr=_RATE)
        logits_MC, weights_M = seen.logits_MC.double(), seen.weights_M.double() / seen.weights_M.double().sum()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for _ in range(_STEPS):
                noise_KMC = torch.randn(_CHUNK, *logits_MC.shape, dtype=torch.float64)
                drawn_KMC = torch.softmax(logits_MC + self.std(seen.features_MW) * noise_KMC, -1)
                true_M = drawn_KMC.mean(0).gather(1, seen.labels_M[:, None])[:, 0]
                loss = -(weights_M * true_M.clamp(min=1e-12).log()).sum()
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
        self._weights_WC.requires_grad_(False)

    def std(self, features_MW: Tensor) -> Tensor:
        """Return the standard deviation of the logits, shape [M, C]."""
        return nn.functional.softplus(features_MW @ self._weights_WC)


class Distance:
    """The squared Mahalanobis distance to the nearest class, with one covariance (Lee et al., arXiv:1807.03888)."""

    def __init__(self, seen: Seen) -> None:
        features_MW, weights_M = seen.features_MW[:, :-1], seen.weights_M.double().clamp(min=0)
        means, spread = [], features_MW.new_zeros(features_MW.shape[1], features_MW.shape[1])
        there = [label for label in torch.unique(seen.labels_M) if weights_M[seen.labels_M == label].sum() > 0]
        for label in there:
            here = seen.labels_M == label
            weights = weights_M[here] / weights_M[here].sum()
            means.append(weights @ features_MW[here])
            apart = features_MW[here] - means[-1]
            spread += (apart * weights[:, None]).T @ apart / len(there)
        # Features that are 0 for all jets, or copies of others, have no say of their own.
        self._precision = torch.linalg.pinv(spread, rtol=1e-8, hermitian=True)
        self._means = torch.stack(means)

    def __call__(self, features_MW: Tensor) -> Tensor:
        """Return it for each jet, shape [M]."""
        apart = features_MW[:, None, :-1] - self._means
        return torch.einsum("mcw,wv,mcv->mc", apart, self._precision, apart).amin(1)


class LastLayer:
    """All three, fitted.

    Parameters
    ----------
    seen : Seen
        Of training jets.
    layer : nn.Linear
    items : float
        Training jets that those seen stand for.
    seed : int
    """

    def __init__(self, seen: Seen, layer: nn.Linear, items: float, seed: int) -> None:
        self.layer, self._seed = layer, seed
        self.laplace, self.variance = Laplace(seen, layer, items), LearntVariance(seen, seed)
        self.distance = Distance(seen)

    def columns(
        self, features_MW: Tensor, logits_MC: Tensor, score: Callable[[Tensor], Tensor], seed: int
    ) -> dict[str, Tensor]:
        """Return what they say of a batch: probabilities [M, C], mutual informations and the distance [M]."""
        features_MW, logits_MC = with_one(features_MW), logits_MC.double()
        covariance_MCC = self.laplace.covariance(features_MW)
        room = 1e-9 * (1 + covariance_MCC.diagonal(dim1=-2, dim2=-1).amax(-1))
        factors_MCC = torch.linalg.cholesky(covariance_MCC + room[:, None, None] * torch.eye(logits_MC.shape[1]))
        laplace = _drawn(logits_MC, factors_MCC, score, seed)
        noise = _drawn(logits_MC, torch.diag_embed(self.variance.std(features_MW)), score, seed)
        return {
            "laplace": laplace.mean_MC,
            "laplace_mutual_information": laplace.mutual_information_M,
            "learnt_variance": noise.mean_MC,
            "distance": self.distance(features_MW),
        }


def _drawn(logits_MC: Tensor, factors_MCC: Tensor, score: Callable[[Tensor], Tensor], seed: int) -> Posterior:
    """Return what normal logits of a mean, and of a covariance by its factor, say."""
    summary = Summary(score)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for _ in range(_DRAWS // _CHUNK):
            noise_KMC = torch.randn(_CHUNK, *logits_MC.shape, dtype=torch.float64)
            drawn_KMC = logits_MC + torch.einsum("mcd,kmd->kmc", factors_MCC, noise_KMC)
            summary.add(torch.softmax(drawn_KMC, -1))
    return summary.posterior()
