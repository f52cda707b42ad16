"""A dense network on what is known of a jet as a whole: the baseline of networks that see its constituents.

It sees the global features and the columns of jets that `prepare.variables` names, and no constituent.

B: batch, P: constituent, F: node feature, G: global feature.
"""

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from bunchtrain.models.base import Encoded, Shape, Tagger

#: See `models.base`.
LEVELS = ("graph",)
SEES = "variables"


class Config(BaseModel):
    """Sizes of the network."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    hidden: int = Field(64, ge=1, le=4096, description="width of the first hidden layer")
    head: int = Field(64, ge=1, le=4096, description="width of the heads' hidden layers")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout in the heads; MC dropout needs it above 0")


class Model(Tagger):
    """A hidden layer, and the head with two more."""

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(shape.globals, config.hidden), nn.ReLU())
        self.add_heads(shape, config, graph=config.hidden, nodes=shape.nodes)

    def encode(self, nodes_BPF: Tensor, momenta_BP4: Tensor, globals_BG: Tensor, mask_BP: Tensor) -> Encoded:
        """Return what the heads see; no dropout acts before it."""
        return Encoded(self.embed(globals_BG), nodes_BPF)
