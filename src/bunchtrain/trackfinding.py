"""From scores of edges to track candidates, and how good these are: efficiency, fakes, duplicates, purity, with errors.

Arrays may hold several events at once, if hits, candidates and particles are numbered through; see `joined`.

N: hits, E: edges, C: candidates, P: particles.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bunchtrain.errors import CampaignError, ContractError

Floats = NDArray[np.float64]
Places = NDArray[np.int64]

#: Weight of a hit by the pt of its particle: the first up to the first momentum, then linearly to the second; GeV.
_LOW, _HIGH = (0.2, 0.5), (1.0, 3.0)


def candidates(
    scores: NDArray[Any], edges: Places, hits: int, threshold: float = 0.5, min_hits: int = 3
) -> NDArray[np.int64]:
    """Return the track candidate of each hit, int64 [N]; -1: none.

    Edges are taken by falling score, each if its inner hit has no edge outwards yet and its outer hit none inwards, as
    long as they pass the threshold. Candidates are what then hangs together. Of equal scores the first edge goes first.

    Parameters
    ----------
    scores : [E]
        Larger is more like a true edge.
    edges : int64 [2, E]
        Inner and outer hits; no chain of edges may lead back to its first hit.
    hits : int
        How many there are.
    threshold : float
        Lowest score that is taken.
    min_hits : int
        Hits of the shortest candidate.

    Raises
    ------
    ContractError
        If scores and edges do not fit each other or the hits, a score is NaN, or edges make a ring.
    CampaignError
        If `min_hits` is below 1.
    """
    _check_edges(scores, edges, hits, min_hits)
    passing = np.flatnonzero(scores >= threshold)
    chosen = edges[:, passing[np.argsort(-np.asarray(scores)[passing], kind="stable")]]
    chosen = chosen[:, _greedy(chosen, hits)]
    own, place, lengths = np.unique(_first_hits(chosen, hits), return_inverse=True, return_counts=True)
    if len(own) != hits - chosen.shape[1]:
        raise ContractError(
            "edges make a ring", key="edges", expected="every edge to lead from a layer to an outer one"
        )
    long = lengths >= min_hits
    number = np.where(long, np.cumsum(long) - 1, -1)
    return number[place]


def _check_edges(scores: NDArray[Any], edges: Places, hits: int, min_hits: int) -> None:
    if edges.shape != (2, len(scores)):
        expected = f"(2, {len(scores)}), one edge for each score"
        raise ContractError("scores and edges do not fit", key="edges", found=edges.shape, expected=expected)
    if edges.size and (edges.min() < 0 or edges.max() >= hits):
        found = f"{edges.min()} to {edges.max()}"
        raise ContractError("an edge names a hit that is not there", key="edges", found=found, expected=f"below {hits}")
    if np.isnan(scores).any():
        raise ContractError("a score is no number", key="scores", found=f"NaN at edge {np.isnan(scores).argmax()}")
    if min_hits < 1:
        raise CampaignError("a candidate has hits", key="min_hits", found=min_hits, expected="at least 1")


def _greedy(edges: Places, hits: int) -> NDArray[np.bool_]:
    """Return which edges are taken, first ones first, so that no hit has two edges outwards or two inwards, bool [E].

    In each round an edge is taken that is the first left at both of its hits: that is what taking them one by one
    would come to, in a few rounds.
    """
    taken = np.zeros(edges.shape[1], np.bool_)
    left = np.arange(edges.shape[1])
    while len(left):
        inner, outer = edges[:, left]
        first_out, first_in = np.full(hits, edges.shape[1]), np.full(hits, edges.shape[1])
        np.minimum.at(first_out, inner, left)
        np.minimum.at(first_in, outer, left)
        won = (first_out[inner] == left) & (first_in[outer] == left)
        taken[left[won]] = True
        used_out, used_in = np.zeros(hits, np.bool_), np.zeros(hits, np.bool_)
        used_out[inner[won]] = used_in[outer[won]] = True
        left = left[~(used_out[inner] | used_in[outer])]
    return taken


def _first_hits(edges: Places, hits: int) -> Places:
    """Return the innermost hit of each hit's chain: each hit has one edge inwards at most, followed ever further."""
    first = np.arange(hits)
    first[edges[1]] = edges[0]
    for _ in range(int(hits).bit_length()):  # each round doubles the way that is known
        first = first[first]
    return first


@dataclass(frozen=True)
class Truth:
    """The true particles.

    Attributes
    ----------
    particle : int64 [N]
        Particle of each hit, -1 for noise.
    pt, eta : [P]
        GeV, 1.
    """

    particle: Places
    pt: NDArray[Any]
    eta: NDArray[Any]

    def __post_init__(self) -> None:
        if len(self.particle) and self.particle.max() >= len(self.pt):
            found, expected = int(self.particle.max()), f"below {len(self.pt)}"
            raise ContractError(
                "a hit names a particle that is not there", key="particle", found=found, expected=expected
            )

    @property
    def hits(self) -> Places:
        """Hits of each particle, int64 [P]."""
        return np.bincount(self.particle[self.particle >= 0], minlength=len(self.pt)).astype(np.int64)


class Match(NamedTuple):
    """Candidates and their particles.

    Attributes
    ----------
    particle : int64 [C]
        The particle with most of a candidate's hits (of equals the first one); -1 if all are noise.
    common, size : int64 [C]
        Hits of it that the candidate has, and all hits of the candidate.
    majority : bool [C]
        Whether these are more than half of the candidate's hits.
    double : bool [C]
        Whether they are more than half of the particle's hits, too: the double majority, which at most one candidate
        of a particle has (arXiv:1904.06778).
    duplicate : bool [C]
        Whether they are a majority, but another candidate has more hits of the particle, or as many and comes first.
    """

    particle: Places
    common: Places
    size: Places
    majority: NDArray[np.bool_]
    double: NDArray[np.bool_]
    duplicate: NDArray[np.bool_]


def match(found: NDArray[np.int64], truth: Truth) -> Match:
    """Return the match of candidates, as `candidates` gives them, to particles."""
    if found.shape != truth.particle.shape:
        lengths = f"{len(found)} and {len(truth.particle)} hits"
        raise ContractError("candidates and truth are of other hits", key="candidates", found=lengths)
    number = int(found.max(initial=-1)) + 1
    size = np.bincount(found[found >= 0], minlength=number).astype(np.int64)
    both = (found >= 0) & (truth.particle >= 0)
    pairs, shared = np.unique(found[both] * len(truth.pt) + truth.particle[both], return_counts=True)
    owner, of = np.divmod(pairs, max(len(truth.pt), 1))
    particle, common = np.full(number, -1), np.zeros(number, np.int64)
    order = np.lexsort((-of, shared))  # the last one written stays: most hits, then the first particle
    particle[owner[order]], common[owner[order]] = of[order], shared[order]
    majority = 2 * common > size
    own = np.where(particle >= 0, np.append(truth.hits, 0)[particle], 0)
    duplicate = majority.copy()
    order = np.lexsort((-np.arange(number), common))
    best = np.full(len(truth.pt) + 1, -1)
    best[particle[order][majority[order]]] = order[majority[order]]
    duplicate[best[best >= 0]] = False
    return Match(particle, common, size, majority, majority & (2 * common > own), duplicate)


class Rate(NamedTuple):
    """A share, its error, and how many it is a share of; a share of nothing is NaN."""

    value: float
    error: float
    total: int


def rate(passing: int, total: int) -> Rate:
    """Return the share of `total` that passes, with its binomial error.

    The error is the standard deviation of the share's posterior with a flat prior, which is not 0 where none or all
    pass (Ullrich and Xu, arXiv:physics/0701199).
    """
    if total == 0:
        return Rate(float("nan"), float("nan"), 0)
    k, n = passing, total
    variance = (k + 1) * (k + 2) / ((n + 2) * (n + 3)) - ((k + 1) / (n + 2)) ** 2
    return Rate(k / n, float(np.sqrt(variance)), n)


class Sought(NamedTuple):
    """Which particles are to be found: at least so many hits, pt above (GeV), |η| below."""

    min_hits: int = 5
    pt_min: float = 0.5
    eta_max: float = 4.0

    def among(self, truth: Truth) -> NDArray[np.bool_]:
        """Return which particles these are, bool [P]."""
        inside = (truth.pt > self.pt_min) & (np.abs(truth.eta) < self.eta_max)
        return np.asarray((truth.hits >= self.min_hits) & inside, np.bool_)


def figures(found: NDArray[np.int64], truth: Truth, sought: Sought | None = None) -> dict[str, Rate]:
    """Return the figures of merit of track candidates.

    Parameters
    ----------
    found : int64 [N]
        Candidate of each hit; -1: none.
    truth : Truth
        The particles.
    sought : Sought, optional
        Which of them count for the efficiency.

    Returns
    -------
    dict
        efficiency: sought particles with a candidate by double majority. fake: candidates of which no particle has more
        than half. duplicate: candidates of a particle beyond its best one. purity: hits of the candidates with a
        majority that are of its particle, with the error of a ratio of sums over candidates: hits of one are alike.
    """
    matched = match(found, truth)
    wanted, good = (sought or Sought()).among(truth), matched.majority
    return {
        "efficiency": rate(int(np.sum(wanted & reconstructed(matched, truth))), int(wanted.sum())),
        "fake": rate(int(np.sum(~matched.majority)), len(matched.size)),
        "duplicate": rate(int(np.sum(matched.duplicate)), len(matched.size)),
        "purity": ratio(matched.common[good], matched.size[good]),
    }


def ratio(parts: NDArray[Any], wholes: NDArray[Any]) -> Rate:
    """Return the sum of some parts over that of their wholes, with the error that their scatter makes.

    Where nothing scatters, as of perfect candidates, the error is that of a share of which all have passed.
    """
    whole = float(wholes.sum())
    if whole <= 0:
        return Rate(float("nan"), float("nan"), 0)
    share = float(parts.sum()) / whole
    many = int(np.count_nonzero(wholes))
    error = float(np.sqrt(np.sum((parts - share * wholes) ** 2))) / whole
    return Rate(share, error if error > 1e-9 else rate(many, many).error, many)


def reconstructed(matched: Match, truth: Truth) -> NDArray[np.bool_]:
    """Return which particles have a candidate by double majority, bool [P]."""
    done = np.zeros(len(truth.pt), np.bool_)
    done[matched.particle[matched.double]] = True
    return done


def efficiency_in_bins(
    found: NDArray[np.int64], truth: Truth, by: str, bounds: Iterable[float], sought: Sought | None = None
) -> list[Rate]:
    """Return the efficiency in bins of the particles' `by`, pt (GeV) or eta; lower bounds belong to a bin.

    Raises
    ------
    CampaignError
        If `by` is neither, or the bounds do not rise.
    """
    if by not in ("pt", "eta"):
        raise CampaignError("an efficiency is wanted by an unknown column", key="by", found=by, choices=("pt", "eta"))
    edges = np.asarray([*bounds], np.float64)
    if len(edges) < 2 or not np.all(np.diff(edges) > 0):
        raise CampaignError("bounds of bins do not rise", key="bounds", found=edges.tolist(), expected="at least two")
    done = reconstructed(match(found, truth), truth)
    wanted = (sought or Sought()).among(truth)
    place = np.where(wanted, np.searchsorted(edges, getattr(truth, by), side="right") - 1, -1)
    return [rate(int(np.sum(done & (place == i))), int(np.sum(place == i))) for i in range(len(edges) - 1)]


def score(found: NDArray[np.int64], truth: Truth, weights: str = "uniform", min_hits: int = 4) -> Rate:
    """Return the share of the hits' weights that lies in candidates of their own particle, from 0 to 1.

    As in the TrackML challenge (arXiv:1904.06778) a hit counts where its candidate and its particle match by double
    majority, and hits of noise or of particles with less than `min_hits` weigh nothing. Here hits weigh the same, or by
    the pt of their particle: 0.2 up to 0.5 GeV, rising linearly to 1 at 3 GeV. The challenge's weights by the hit's
    place on the track are left out. The error takes particles as independent.

    Raises
    ------
    CampaignError
        If `weights` is neither `uniform` nor `pt`.
    """
    if weights not in ("uniform", "pt"):
        raise CampaignError("hits cannot be weighted so", key="weights", found=weights, choices=("uniform", "pt"))
    matched = match(found, truth)
    (low, begin), (high, end) = _LOW, _HIGH
    worth = np.ones(len(truth.pt)) if weights == "uniform" else np.interp(truth.pt, [begin, end], [low, high])
    worth = np.where(truth.hits >= min_hits, worth, 0.0)
    partner = np.append(np.where(matched.double, matched.particle, -2), -2)  # the last is that of no candidate
    right = truth.particle[partner[found] == truth.particle]
    return ratio(worth * np.bincount(right, minlength=len(worth)), worth * truth.hits)


def joined(events: Iterable[tuple[NDArray[np.int64], Truth]]) -> tuple[NDArray[np.int64], Truth]:
    """Return candidates and truth of several events as if of one: candidates and particles are numbered through."""
    found, truths = zip(*events, strict=True)
    tracks = np.cumsum([0, *(int(one.max(initial=-1)) + 1 for one in found)])
    particles = np.cumsum([0, *(len(one.pt) for one in truths)])
    numbered = [np.where(one >= 0, one + shift, -1) for one, shift in zip(found, tracks[:-1], strict=True)]
    owners = [np.where(t.particle >= 0, t.particle + n, -1) for t, n in zip(truths, particles[:-1], strict=True)]
    kinematics = (np.concatenate([getattr(one, name) for one in truths]) for name in ("pt", "eta"))
    return np.concatenate(numbered), Truth(np.concatenate(owners), *kinematics)
