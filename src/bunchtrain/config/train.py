"""Section `train`: one training."""

from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer, model_validator

from bunchtrain import registry
from bunchtrain.config.base import Fraction, Name, Positive, Probability, Section


class Train(Section):
    """The optimisation, and how it is spread over ranks."""

    backend: str = Field("auto", description="kind of parallelism; auto: horovod for more than one rank, else serial")
    ranks: Positive = Field(2, description="processes of the final training; a step is dealt out in as many pieces")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="cuda: one GPU a rank; auto: GPUs if all have one"
    )
    seeds: Positive = Field(1, description="trainings of the best configuration, each with its own seed")
    epochs: Positive = Field(12, description="at most")
    patience: Positive = Field(4, description="epochs without a better validation loss before it stops")
    batch_size: Positive = Field(256, description="jets of one step, over all ranks")
    steps_per_epoch: Positive | None = Field(None, description="steps after which an epoch ends; null: after all jets")
    accumulation: Positive = Field(1, description="pieces of a step that a rank takes one after the other: less memory")
    padding: float = Field(0.2, ge=0.05, le=1, description="largest share of padding in what is computed; 1: any")
    learning_rate: float = Field(1e-3, gt=0, description="highest; for reference_batch jets a step where that is given")
    reference_batch: Positive | None = Field(None, description="jets a step for which learning_rate is meant")
    scaling: Literal["linear", "sqrt"] = Field("linear", description="growth of the rate with the batch over it")
    schedule: Literal["cosine", "one_cycle", "plateau", "constant"] = Field("cosine", description="the rate's way down")
    warmup_epochs: float = Field(1.0, ge=0, description="epochs of linear rise, from the unscaled rate or from 0")
    plateau_factor: Probability = Field(0.5, description="schedule plateau: by what the rate falls")
    plateau_patience: Positive = Field(2, description="schedule plateau: epochs without a better loss before it falls")
    weight_decay: float = Field(1e-4, ge=0)
    clip_norm: float | None = Field(None, gt=0, description="largest norm of all gradients together")
    ema: Probability | None = Field(None, description="decay of averaged weights, which are then judged and kept")
    precision: Literal["float32", "float64", "bf16", "fp16"] = Field("float32", description="bf16, fp16: autocast")
    compile: bool = Field(False, description="torch.compile: a slower start, faster steps")
    deterministic: bool = Field(False, description="algorithms that give the same bits on every run, also on GPUs")
    compression: Literal["none", "fp16"] = Field("none", description="of gradients on their way between ranks")
    fusion_mb: float = Field(128.0, ge=0, description="largest message in which gradients travel together, MiB")
    cycle_ms: float = Field(0.3, gt=0, description="how often Horovod looks for messages, ms")
    restarts: int = Field(2, ge=0, description="times that lost ranks are started again without progress between")
    checkpoint_minutes: float = Field(5.0, gt=0, description="between two checkpoints in the middle of an epoch")
    keep: Positive = Field(2, description="newest checkpoints that are kept")
    log_every: Positive = Field(50, description="steps between two rows of steps.csv")
    tensorboard: bool = Field(True, description="write TensorBoard's event files beside the weights")
    max_jets: Positive | None = Field(None, description="train on at most so many jets")
    validate_fraction: Fraction = Field(1.0, gt=0, description="share of the validation split used after an epoch")
    vary: list[Name] = Field(
        default_factory=list, description="sources of `systematics`: in each step a jet is seen as one variation has it"
    )

    @model_serializer(mode="wrap")
    def _without_none(self, usual: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave the sources out where there are none: specs of trainings without stay as they are."""
        return {key: value for key, value in usual(self).items() if key != "vary" or value}

    @field_validator("backend")
    @classmethod
    def _known(cls, backend: str) -> str:
        known = ["auto", *registry.kinds("parallel")]
        if backend not in known:
            raise ValueError(f"use one of {', '.join(known)}")
        return backend

    @model_validator(mode="after")
    def _fits(self) -> "Train":
        if self.pieces > self.batch_size:
            raise ValueError(
                f"a step of batch_size {self.batch_size} jets cannot be dealt out in ranks x accumulation = "
                f"{self.pieces} pieces"
            )
        if self.precision == "fp16" and self.device == "cpu":
            raise ValueError("precision fp16 needs a GPU; on CPUs take bf16")
        return self

    @property
    def pieces(self) -> int:
        """Pieces of a step; each has its own random numbers, so that results do not depend on who computes it."""
        return self.ranks * self.accumulation

    @property
    def peak_rate(self) -> float:
        """The highest learning rate (arXiv:1706.02677 for the linear rule, arXiv:1404.5997 for the root)."""
        if self.reference_batch is None:
            return self.learning_rate
        ratio = self.batch_size / self.reference_batch
        return self.learning_rate * (ratio if self.scaling == "linear" else ratio**0.5)
