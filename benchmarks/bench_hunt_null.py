"""Global p-values of whole hunts where there is nothing: trainings, cuts, fits and pseudo-experiments, box after box.

Masses follow a power law and features no mass, so that all that is found is chance. BUNCHTRAIN_BENCH_HUNTS (100) says
how many; each takes some seconds.
"""

from __future__ import annotations

import os

import numpy as np
from scipy import stats

from bunchtrain.config.hunt import Hunt
from bunchtrain.hunt import classify
from bunchtrain.hunt.peak import Template
from bunchtrain.hunt.search import Events, hunt
from marks import Mark, conclude, table

HUNTS = int(os.environ.get("BUNCHTRAIN_BENCH_HUNTS", "100"))

#: A search with few classifiers: what is asked is whether chance is accounted for, not how well they learn.
SETTINGS = Hunt(
    low=1484, high=4000, fewest=50, cuts=[0.1, 0.03], step=0.12, folds=3, ensemble=1, trees=8, pseudo_experiments=100
)
EVENTS, FEATURES, ENERGY = 6000, 4, 13000.0

#: Share of boxes in which an honest p-value may be below 0.1, at a confidence of 95 %.
_CONFIDENCE = 0.95


def p_value(number: int) -> float:
    """Return the global p-value of one hunt in a box without a signal."""
    random = np.random.default_rng([7, number])
    mass = 1400 * np.exp(random.exponential(1 / 7, EVENTS))
    mass = mass[mass < 4000]
    events = Events(mass, random.normal(size=(len(mass), FEATURES)), ENERGY)
    template = Template(np.random.default_rng(1).normal(1, 0.04, 500))
    found = hunt(events, SETTINGS, template, number).overall
    assert found is not None
    return found.p


def main() -> None:
    with classify.threads(1):
        p = np.array([p_value(number) for number in range(HUNTS)])
    rows = []
    for limit in (0.01, 0.05, 0.1, 0.5):
        below = int((p < limit).sum())
        low, high = stats.binomtest(below, len(p)).proportion_ci(_CONFIDENCE)
        rows.append([f"{limit:g}", f"{below} of {len(p)}", f"{low:.3f} to {high:.3f}"])
    table(["p below", "boxes", "share, 95 %"], rows)
    low = stats.binomtest(int((p < 0.1).sum()), len(p)).proportion_ci(_CONFIDENCE).low
    print(
        f"mean p {p.mean():.3f}; Kolmogorov and Smirnov against even ones: p = {stats.kstest(p, 'uniform').pvalue:.3f}"
    )
    conclude(
        [
            Mark("least_share_of_boxes_with_p_below_0.1", float(low), 0.1, at_least=False),
            Mark("kolmogorov_smirnov_p", float(stats.kstest(p, "uniform").pvalue), 0.01),
        ]
    )


if __name__ == "__main__":
    main()
