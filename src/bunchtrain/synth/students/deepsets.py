"""DeepSets (arXiv:1703.06114), a particle flow network: the sum over constituents of what one network says of each.

N: constituent, H: hidden width.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from bunchtrain.synth.quantize import Dense, Rounded
from bunchtrain.synth.students.base import Layout, Student, rectified
from bunchtrain.synth.wires import Wires, joined


class Config(BaseModel):
    """Sizes of the network."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    each: list[PositiveInt] = Field([12, 8], min_length=1, max_length=4, description="hidden widths on a constituent")
    hidden: list[PositiveInt] = Field([12], min_length=1, max_length=4, description="hidden widths on the sum")


class Network(Student):
    """Constituents that are absent say what their encoding says, too: the sum needs no mask."""

    def __init__(self, config: Config, layout: Layout, outputs: int) -> None:
        super().__init__()
        self.layout, self.inputs = layout, layout.inputs
        self.each = rectified(layout.of_constituent, config.each)
        self.sum = Rounded()
        self.whole = rectified(config.each[-1] + layout.of_jet, config.hidden)
        self.last = Dense(config.hidden[-1], outputs)

    def forward(self, x_BI: Wires) -> Wires:
        """Return the answers; `x_BI` holds values of the input format."""
        x_BNF, jet_BG = self.layout.split(x_BI)
        sum_BH = self.sum(self.each(x_BNF).sum(-2))
        return self.last(self.whole(joined([sum_BH, jet_BG])))
