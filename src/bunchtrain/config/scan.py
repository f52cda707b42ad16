"""Section `scan`: the hyperparameter space and the search."""

from typing import Annotated, Literal, TypeVar

from pydantic import Field, field_validator, model_validator

from bunchtrain.config.base import Positive, Section

Value = int | float | str | bool
Range = TypeVar("Range", "Integers", "Floats")


class Integers(Section):
    """A whole number between two bounds, both included."""

    low: int
    high: int
    log: bool = False

    @model_validator(mode="after")
    def _order(self) -> "Integers":
        return _checked(self)


class Floats(Section):
    """A real number between two bounds."""

    low: float
    high: float
    log: bool = False

    @model_validator(mode="after")
    def _order(self) -> "Floats":
        return _checked(self)


class Choice(Section):
    """One of a list."""

    choices: Annotated[list[Value], Field(min_length=2)]

    @field_validator("choices")
    @classmethod
    def _different(cls, choices: list[Value]) -> list[Value]:
        if any(one in choices[:place] for place, one in enumerate(choices)):
            raise ValueError("the choices must differ from one another")
        return choices


def _checked(bounds: Range) -> Range:
    if bounds.low >= bounds.high:
        raise ValueError(f"empty range: low {bounds.low} is not below high {bounds.high}")
    if bounds.log and bounds.low <= 0:
        raise ValueError(f"a logarithmic range must start above 0, not at {bounds.low}")
    return bounds


class Trials(Section):
    """Evaluations that DeepHyper suggests from the results of those before."""

    trials: int = Field(4, ge=0, description="evaluations; 0 takes the campaign's own values")
    parallel: Positive = Field(2, description="evaluations at the same time")
    initial: Positive = Field(
        2, description="evaluations before the surrogate model suggests; the first is the campaign's own values"
    )
    timeout: Positive = Field(600, description="seconds after which an evaluation is stopped")
    space: dict[str, Integers | Floats | Choice] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _something(self) -> "Trials":
        if self.trials and not self.space:
            raise ValueError("a scan of some trials needs a `space`")
        return self


class Scan(Trials):
    """The search for a network and its training. Keys of `space` are `model.<key>` or `train.<key>`."""

    epochs: Positive = Field(3, description="epochs of one evaluation")
    max_jets: Positive | None = Field(None, description="training jets of one evaluation")
    objective: Literal["validation_loss", "validation_auc"] = "validation_loss"
