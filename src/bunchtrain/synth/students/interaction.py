"""An interaction network (arXiv:1612.00222, of jets arXiv:1908.05318): every pair of constituents, then each, then all.

N: constituent, H: hidden width.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from bunchtrain.synth.quantize import Dense, Relu, Rounded
from bunchtrain.synth.students.base import Layout, Student, rectified
from bunchtrain.synth.wires import Wires, joined


class Config(BaseModel):
    """Sizes of the network."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    edge: PositiveInt = Field(6, description="width of what a pair says")
    node: list[PositiveInt] = Field([8], min_length=1, max_length=4, description="hidden widths on a constituent")
    hidden: list[PositiveInt] = Field([12], min_length=1, max_length=4, description="hidden widths on the sum")


class Network(Student):
    """The first layer on (x_i, x_j) is linear in both, so each constituent goes through it once in either role.

    A constituent also hears itself: leaving it out would cost a subtraction and tell nothing.
    """

    def __init__(self, config: Config, layout: Layout, outputs: int) -> None:
        super().__init__()
        self.layout, self.inputs = layout, layout.inputs
        self.hears, self.says = (Dense(layout.of_constituent, config.edge) for _ in range(2))
        self.edge, self.heard = Relu(), Rounded()
        self.node = rectified(layout.of_constituent + config.edge, config.node)
        self.sum = Rounded()
        self.whole = rectified(config.node[-1] + layout.of_jet, config.hidden)
        self.last = Dense(config.hidden[-1], outputs)

    def forward(self, x_BI: Wires) -> Wires:
        """Return the answers; `x_BI` holds values of the input format."""
        x_BNF, jet_BG = self.layout.split(x_BI)
        hears_BNH, says_BNH = self.hears(x_BNF), self.says(x_BNF)
        pairs_BNNH = self.edge(hears_BNH[..., :, None, :] + says_BNH[..., None, :, :])
        heard_BNH = self.heard(pairs_BNNH.sum(-2))
        sum_BH = self.sum(self.node(joined([x_BNF, heard_BNH])).sum(-2))
        return self.last(self.whole(joined([sum_BH, jet_BG])))
