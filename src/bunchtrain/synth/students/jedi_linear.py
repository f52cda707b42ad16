"""JEDI-linear (arXiv:2508.15468): each constituent hears the sum of all, so the cost grows with their number alone.

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

    each: PositiveInt = Field(8, description="hidden width of a constituent's state")
    hidden: list[PositiveInt] = Field([12], min_length=1, max_length=4, description="hidden widths on the sum")


class Network(Student):
    """The new state of a constituent is relu(A h_i + B Σ_j h_j): the matrix of all pairs is never made."""

    def __init__(self, config: Config, layout: Layout, outputs: int) -> None:
        super().__init__()
        self.layout, self.inputs = layout, layout.inputs
        self.embed = rectified(layout.of_constituent, [config.each])
        self.all = Rounded()
        self.own, self.others = (Dense(config.each, config.each) for _ in range(2))
        self.state, self.sum = Relu(), Rounded()
        self.whole = rectified(config.each + layout.of_jet, config.hidden)
        self.last = Dense(config.hidden[-1], outputs)

    def forward(self, x_BI: Wires) -> Wires:
        """Return the answers; `x_BI` holds values of the input format."""
        x_BNF, jet_BG = self.layout.split(x_BI)
        each_BNH = self.embed(x_BNF)
        all_BH = self.all(each_BNH.sum(-2))
        state_BNH = self.state(self.own(each_BNH) + self.others(all_BH)[..., None, :])
        sum_BH = self.sum(state_BNH.sum(-2))
        return self.last(self.whole(joined([sum_BH, jet_BG])))
