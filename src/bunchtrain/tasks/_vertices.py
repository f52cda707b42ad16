"""How well the decay vertices of heavy hadrons are found, and the origins of tracks.

Tracks that hang together by pairs with a chance above one half to share a vertex are a found vertex. It counts as one
of a heavy hadron if its tracks are, on average, more likely than not to come from one. It is matched to a true one, of
two tracks at least, if the tracks that they share are more than half of either.

B: batch, P: track, C: class.
"""

import torch
from torch import Tensor

from bunchtrain.levels import GraphTargets, Hits, Logits, Targets
from bunchtrain.panels import Headline, Panel
from bunchtrain.rounding import alone, together
from bunchtrain.tasks.base import Merit

#: Where a track comes from, by number.
ORIGINS = ("pile-up", "fake", "primary", "b hadron", "c hadron of a b", "c hadron", "other secondary")
_HEAVY = (3, 4, 5)

#: A share of fewer vertices or tracks is not told.
_FEWEST = 5

_VERTICES = (
    "Tracks whose pairs are more likely than not to share a vertex make one. Found: of the true vertices of heavy "
    "hadrons with two tracks at least, those that a found one shares more than half of its tracks with, and it with "
    "that. Right: of the found vertices, those that are matched so. A dash: of fewer than five."
)
_ORIGINS = "Each track is said to be what it most likely is. Found: of the true tracks; right: of those said to be."


class Vertices(Merit):
    """Counts of vertices by the class of the jet, and of tracks by true and stated origin."""

    def __init__(self, classes: list[str]) -> None:
        self._classes = classes
        self._jets = torch.zeros(len(classes), dtype=torch.long)
        #: True, found, and matched ones.
        self._counts = torch.zeros(len(classes), 3, dtype=torch.long)
        self._origins = torch.zeros(len(ORIGINS), len(ORIGINS), dtype=torch.long)

    def add(self, seen: Tensor | Hits, logits: Logits, targets: Targets | GraphTargets) -> None:
        """Add a batch of jets."""
        if not isinstance(targets, Targets):
            raise TypeError("events have no vertices of jets")
        mask_BP = targets.mask_BP
        origin_BP, vertex_BP = targets.truth_BPT.long().unbind(-1)
        heavy_BP = mask_BP & (vertex_BP >= 0) & _any(origin_BP, _HEAVY)
        true_BPP = heavy_BP[:, :, None] & (vertex_BP[:, :, None] == vertex_BP[:, None]) & heavy_BP[:, None]
        found_BPP = self._found(logits, mask_BP)
        for row, counts_B in enumerate((_groups(true_BPP), _groups(found_BPP), _matched(true_BPP, found_BPP))):
            self._counts[:, row] += torch.bincount(targets.labels_B, counts_B, len(self._classes)).long()
        self._jets += torch.bincount(targets.labels_B, minlength=len(self._classes))
        stated_BP = logits.nodes_BPC.argmax(-1)
        place = (origin_BP * len(ORIGINS) + stated_BP)[mask_BP]
        self._origins += torch.bincount(place, minlength=len(ORIGINS) ** 2).view_as(self._origins)

    @staticmethod
    def _found(logits: Logits, mask_BP: Tensor) -> Tensor:
        """Return which tracks are in one found vertex of a heavy hadron, bool [B, P, P]."""
        joined_BPP = (logits.edges_BPPC[..., 0] > 0) & mask_BP[:, :, None] & mask_BP[:, None]
        together_BPP = connected(joined_BPP, mask_BP)
        chance_BP = torch.softmax(logits.nodes_BPC, -1)[..., list(_HEAVY)].sum(-1)
        mean_BP = (together_BPP * chance_BP[:, None]).sum(-1) / together_BPP.sum(-1).clamp(min=1)
        heavy_BP = (mean_BP > 0.5) & (together_BPP.sum(-1) > 1)
        return together_BPP & heavy_BP[:, :, None]

    def panels(self) -> list[Panel]:
        """Return vertices by class of jets, and origins of tracks."""
        rows = []
        for name, jets, (true, found, matched) in zip(
            self._classes, self._jets.tolist(), self._counts.tolist(), strict=True
        ):
            cells = (
                f"{jets:,}",
                f"{true:,}",
                _share(matched, true),
                _share(matched, found),
                together(found / jets, max(found, 1) ** 0.5 / jets) if jets else "-",
            )
            rows.append([name, *cells])
        true, found, matched = self._counts.sum(0).tolist()
        shares = {"vertices found": (matched, true), "vertices right": (matched, found)}
        figures = {name: part / whole for name, (part, whole) in shares.items() if whole}
        columns = ["jets of class", "jets", "true vertices", "found", "right", "found in a jet"]
        table = self._origins
        tracks = [
            [name, f"{table[i].sum():,}", _share(table[i, i], table[i].sum()), _share(table[i, i], table[:, i].sum())]
            for i, name in enumerate(ORIGINS)
        ]
        return [
            Panel("Vertices of heavy hadrons", _VERTICES, columns, rows, figures=figures, headlines=self._headlines()),
            Panel("Origins of tracks", _ORIGINS, ["origin", "tracks", "found", "right"], tracks),
        ]

    def _headlines(self) -> list[Headline]:
        """Return how many of the vertices are found; none where there are a few alone."""
        true, found, matched = self._counts.sum(0).tolist()
        if true < _FEWEST:
            return []
        right = f"{alone(100 * matched / found)} % of those found are right" if found else "none is found"
        share, error = _binomial(matched, true)
        return [Headline("vertices of heavy hadrons found", 100 * share, 100 * error, "%", right)]


def _any(values: Tensor, wanted: tuple[int, ...]) -> Tensor:
    return torch.isin(values, torch.tensor(wanted, device=values.device))


def connected(joined_BPP: Tensor, mask_BP: Tensor) -> Tensor:
    """Return which tracks hang together by joined pairs, themselves included, bool [B, P, P].

    Squaring the relation doubles the length of the chains that it sees, until nothing changes.
    """
    own_PP = torch.eye(mask_BP.shape[1], dtype=torch.bool, device=mask_BP.device)
    reach_BPP = (joined_BPP | joined_BPP.mT | own_PP) & mask_BP[:, :, None] & mask_BP[:, None]
    while True:
        further_BPP = reach_BPP.float() @ reach_BPP.float() > 0
        if torch.equal(further_BPP, reach_BPP):
            return reach_BPP
        reach_BPP = further_BPP


def _groups(together_BPP: Tensor) -> Tensor:
    """Return how many groups of two or more tracks each jet has, shape [B]: those of which a track is the first."""
    size_BP = together_BPP.sum(-1)
    first_BP = (together_BPP.long().argmax(-1) == torch.arange(size_BP.shape[1], device=size_BP.device)) & (size_BP > 1)
    return first_BP.sum(1).double()


def _matched(true_BPP: Tensor, found_BPP: Tensor) -> Tensor:
    """Return how many true groups share more than half of their tracks with a found one, and it with them, [B].

    A track in both says that its groups share it; a pair of groups is counted at the first track that they share.
    """
    both_BPP = true_BPP & found_BPP
    shared_BP = both_BPP.sum(-1)
    true_BP, found_BP = true_BPP.sum(-1), found_BPP.sum(-1)
    good_BP = (2 * shared_BP > true_BP) & (2 * shared_BP > found_BP) & (true_BP > 1) & (found_BP > 1)
    first_BP = both_BPP.long().argmax(-1) == torch.arange(good_BP.shape[1], device=good_BP.device)
    return (good_BP & first_BP & (shared_BP > 0)).sum(1).double()


def _share(part: float | Tensor, whole: float | Tensor) -> str:
    """Return a share with its binomial error; a dash of a few, which say nothing."""
    part, whole = float(part), float(whole)
    if whole < _FEWEST:
        return "-"
    share, error = _binomial(part, whole)
    return f"{together(100 * share, 100 * error)} %"


def _binomial(part: float, whole: float) -> tuple[float, float]:
    share = part / whole
    return share, (max(share * (1 - share), 0.25 / whole) / whole) ** 0.5
