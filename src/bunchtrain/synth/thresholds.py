"""Where to cut on the core's answers: thresholds in codes, with what passes them on the test jets.

B: jet, C: class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bunchtrain.discrimination import Scores, told
from bunchtrain.synth.material import Jets
from bunchtrain.tasks.base import TaskProtocol

NONE = "The task's score mixes several classes: no threshold of a difference of two outputs stands for it."


class Cuts:
    """Thresholds of the difference of two outputs: a jet passes if `code[signal] - code[background]` reaches one.

    For a score of two classes, p_signal / (p_signal + p_background), the difference of the logits is all that counts,
    so no table of exponentials is needed in the firmware.

    Parameters
    ----------
    task : Task
    jets : Jets
        Test jets.
    codes_BC : int64 [B, C]
        The core's answers to them.
    """

    def __init__(self, task: TaskProtocol, jets: Jets, codes_BC: NDArray[np.int64]) -> None:
        difference_B = codes_BC[:, task.signal] - codes_BC[:, task.background]
        self.stand_for_the_score = _stands_for_score(task)
        sides = [jets.labels_B == one for one in (task.signal, task.background)]
        self._scores = Scores(*(difference_B[side] for side in sides), *(jets.weights_B[side] for side in sides))

    def rows(self, efficiencies: Sequence[float]) -> list[dict[str, Any]]:
        """Return, for each signal efficiency, the strictest threshold that keeps it, with what it really keeps.

        See `Scores.cut`. None where the difference does not stand for the score.
        """
        if not self.stand_for_the_score:
            return []
        rows = [{**self._scores.cut(wanted), "wanted": wanted} for wanted in efficiencies]
        return [{**row, "threshold": int(row["threshold"])} for row in rows]

    def table(self) -> bytes:
        """Return all thresholds with the shares of signal and background that pass, as CSV, the strictest first."""
        lines = ["threshold,signal_efficiency,background_efficiency"]
        if self.stand_for_the_score:
            signal, background = (side[1:] for side in self._scores.efficiencies)
            rows = zip(self._scores.thresholds, signal, background, strict=True)
            lines += [f"{threshold:.0f},{one:.6g},{other:.6g}" for threshold, one, other in rows]
        return ("\n".join(lines) + "\n").encode()


def _stands_for_score(task: TaskProtocol) -> bool:
    """Return whether a task's score follows from the difference of signal's and background's logits alone.

    It is asked for answers that differ in the logits of the other classes, and for growing differences.
    """
    differences_D, others_O = np.linspace(-4, 4, 17), np.linspace(-3, 3, 5)
    logits_DOC = np.zeros((len(differences_D), len(others_O), len(task.classes)))
    logits_DOC[...] = others_O[None, :, None]
    logits_DOC[..., task.background] = 0
    logits_DOC[..., task.signal] = differences_D[:, None]
    score_DO = task.discriminant(torch.softmax(torch.from_numpy(logits_DOC), -1)).numpy()
    return bool(np.ptp(score_DO, axis=1).max() < 1e-9 and np.all(np.diff(score_DO[:, 0]) > 0))


def markdown(rows: Sequence[Mapping[str, Any]], task: TaskProtocol) -> str:
    """Return the README's part on the thresholds."""
    if not rows:
        return NONE
    lines = "\n".join(
        f"| {row['threshold']} | {row['efficiency']:.3f} ± {row['efficiency_error']:.3f} | {told(row)} "
        f"| {row['background_passing']} of {row['background_total']} |"
        for row in rows
    )
    wanted, other = (task.classes[number] for number in (task.signal, task.background))
    return f"""A jet is taken for {wanted}, against {other}, if
`code[{task.signal}] - code[{task.background}] >= threshold`: one subtraction, a bit wider than the codes.
On the test jets, with statistical errors:

| threshold | {wanted} that pass | {other} rejection, 1 over the share that passes | {other} jets that pass |
| --- | --- | --- | --- |
{lines}

All thresholds with both shares are in `reports/thresholds.csv`. Other shares of the classes in the data move the
threshold, not the order of the jets."""
