"""Section `prepare`: splits and scaling."""

from pydantic import Field, model_validator

from bunchtrain.config.base import Positive, Probability, Section


class Split(Section):
    """Shares of the events; an event's jets always stay together."""

    train: Probability = 0.7
    validation: Probability = 0.15
    test: Probability = 0.15

    @model_validator(mode="after")
    def _whole(self) -> "Split":
        if abs(self.train + self.validation + self.test - 1) > 1e-9:
            raise ValueError("the shares must add up to 1")
        return self


class Prepare(Section):
    """How the samples are split and what the network sees of a jet."""

    split: Split = Field(default_factory=Split)
    constituents: Positive = Field(40, description="hardest constituents kept per jet")
