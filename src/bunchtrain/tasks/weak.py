"""Weak supervision: classification without labels (Metodiev, Nachman and Thaler, arXiv:1708.02949).

A network learns to tell rows in a window of a column, which may be rich in signal, from rows beside it. The best that
it can do is a function of the likelihood ratio of signal and background, though it has seen no label. What it sees
must not follow the column: else it tells the regions apart by that. The labels of the samples judge it, and no more.
"""

from bunchtrain.config.regions import Regions
from bunchtrain.tasks._regions import RegionTask

#: See `tasks.base`.
ROWS = "jets"
LEVELS = ("graph",)
ITEMS = "jets"
JUDGED = ("signal", "background", "variables")
SECRET = ("column",)
UNLABELLED = True


class Config(Regions):
    """The column, its regions, and the classes of the truth by which the network is judged."""


class Task(RegionTask):
    """Cross entropy of the regions."""
