"""A dense network on what is known of a jet as a whole: the baseline of networks that see its constituents.

It sees the global features and the columns of jets that `prepare.variables` names, or these columns alone, and no
constituent.

B: batch, P: constituent, F: node feature, G: global feature.
"""

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from bunchtrain.errors import CampaignError
from bunchtrain.models.base import Encoded, Shape, Tagger

#: See `models.base`.
LEVELS = ("graph",)
SEES = "variables"

#: Global features before the columns; see `events.features.GLOBALS`.
_GLOBALS = 3


class Config(BaseModel):
    """Sizes of the network."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    hidden: int = Field(64, ge=1, le=4096, description="width of the first hidden layer")
    globals: bool = Field(True, description="false: it sees the columns that prepare.variables names alone")
    head: int = Field(64, ge=1, le=4096, description="width of the heads' hidden layers")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout in the heads; MC dropout needs it above 0")


class Model(Tagger):
    """A hidden layer, and the head with two more."""

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        self.first = 0 if config.globals else _GLOBALS
        if shape.globals <= self.first:
            problem, mend = "a network that sees columns alone is given none", "name them in prepare.variables"
            raise CampaignError(problem, key="model.globals", found=False, mend=mend)
        self.embed = nn.Sequential(nn.Linear(shape.globals - self.first, config.hidden), nn.ReLU())
        self.add_heads(shape, config, graph=config.hidden, nodes=shape.nodes)

    def encode(self, nodes_BPF: Tensor, momenta_BP4: Tensor, globals_BG: Tensor, mask_BP: Tensor) -> Encoded:
        """Return what the heads see; no dropout acts before it."""
        return Encoded(self.embed(globals_BG[:, self.first :]), nodes_BPF)
