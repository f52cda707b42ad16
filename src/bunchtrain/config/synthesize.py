"""Section `synthesize`: the compact student and the core made from it."""

from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from bunchtrain.config.base import Kind, Positive, Probability, Section
from bunchtrain.config.scan import MOST_TRIALS, Trials


class Student(Section):
    """A quantised network distilled from the tagger."""

    network: Kind = Field(
        default_factory=lambda: Kind.model_validate({"kind": "dense"}), description="kind of network, and its sizes"
    )

    constituents: int = Field(8, ge=1, le=32, description="hardest constituents it sees")
    weight_bits: int = Field(6, ge=2, le=16, description="width of weights and biases")
    activation_bits: int = Field(8, ge=3, le=16, description="width of inputs and activations")
    sparsity: float = Field(0.6, ge=0, lt=1, description="share of every layer's weights, or inputs, pruned away")
    pruning: Literal["weights", "inputs"] = Field(
        "weights", description="prune weight by weight, or all weights of an input of a layer: whole neurons"
    )
    compression: Kind = Field(
        default_factory=lambda: Kind(kind="straight_through"),
        description="how its weights become narrow and few: a file of synth/compressors",
    )
    epochs: Positive = Field(20, description="in floating point, then as many again in fixed point")
    batch_size: Positive = Field(512, description="jets per step")
    learning_rate: float = Field(1e-2, gt=0, description="of the first epoch; it falls to zero along a cosine")
    distillation: float = Field(0.5, ge=0, le=1, description="weight of the tagger's answer in the loss")
    temperature: float = Field(1.0, gt=0, description="softening of the tagger's answer")
    spread: bool = Field(
        False, description="one answer more: the spread of MC dropout; the class answers learn the mean of its passes"
    )
    passes: int = Field(50, ge=2, description="with spread: stochastic passes of the tagger")

    @model_serializer(mode="wrap")
    def _without_unset(self, usual: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what only a student with a spread has: specs of others stay as they are."""
        return {key: value for key, value in usual(self).items() if self.spread or key not in ("spread", "passes")}


#: Sections of a student that name a kind, with the family it belongs to.
KINDS = {"network": "synth.students", "compression": "synth.compressors"}


class Search(Trials):
    """A search for students that know much and cost little. Keys of `space` are those of `student`."""

    trials: int = Field(20, ge=1, le=MOST_TRIALS, description="students that are trained; their cost is estimated")
    initial: Positive = Field(
        8, description="students before the surrogate model suggests; the first is the campaign's own"
    )
    finalists: Positive = Field(8, description="students of the front that are synthesised in the end, at most")


class Synthesize(Section):
    """Network to IP core."""

    student: Student = Field(default_factory=Student)
    backend: Kind = Field(default_factory=lambda: Kind(kind="open_xilinx"), description="what synthesises the RTL")
    clock_ns: float = Field(5.0, ge=0.5, le=100, description="clock period asked for")
    vectors: Positive = Field(
        20000, description="so many go through C and RTL: test jets first, then extreme and random inputs"
    )
    candidates: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(
        default_factory=dict,
        description="keys of `student`, e.g. `network.hidden`, with values to compare: a student for every combination",
    )
    search: Search | None = Field(None, description="students that DeepHyper proposes")
    working_points: list[Probability] = Field(
        [0.3, 0.5, 0.7], min_length=1, description="signal efficiencies for which thresholds of the core are given"
    )
    auc_loss: Probability = Field(0.02, description="largest AUC loss of the quantised student against its float twin")
