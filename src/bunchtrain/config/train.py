"""Section `train`: one training."""

from pydantic import Field, field_validator

from bunchtrain import registry
from bunchtrain.config.base import Fraction, Positive, Section


class Train(Section):
    """The optimisation and how it is spread over ranks."""

    backend: str = Field("auto", description="kind of parallelism; auto: horovod for more than one rank, else serial")
    ranks: Positive = Field(2, description="processes of the final training")
    seeds: Positive = Field(1, description="trainings of the best configuration, each with its own seed")
    epochs: Positive = Field(12, description="at most")
    patience: Positive = Field(4, description="epochs without a better validation loss before it stops")
    batch_size: Positive = Field(256, description="jets per rank and step")
    learning_rate: float = Field(1e-3, gt=0, description="for one rank; multiplied by the number of ranks")
    warmup_epochs: float = Field(1.0, ge=0, description="epochs of linear rise from the unscaled rate")
    weight_decay: float = Field(1e-4, ge=0)
    max_jets: Positive | None = Field(None, description="train on at most so many jets")
    validate_fraction: Fraction = Field(1.0, gt=0, description="share of the validation split used after an epoch")

    @field_validator("backend")
    @classmethod
    def _known(cls, backend: str) -> str:
        known = ["auto", *registry.kinds("parallel")]
        if backend not in known:
            raise ValueError(f"use one of {', '.join(known)}")
        return backend
