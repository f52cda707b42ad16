"""Section `evaluate`: accuracy and uncertainty."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from bunchtrain.config.base import Positive, Probability, Section


class Evaluate(Section):
    """How the trained network is judged on the test split."""

    passes: Annotated[int, Field(ge=2)] | Literal["auto"] = Field(
        50, description="stochastic passes of MC dropout; auto: as many as `mc_error` takes"
    )
    mc_error: float = Field(
        0.005, gt=0, lt=1, description="passes auto: Monte-Carlo error of the mean score that 95 % of jets keep to"
    )
    most_passes: int = Field(400, ge=51, description="passes auto: never more than so many")
    working_points: list[Probability] = Field([0.3, 0.5, 0.7], min_length=1, description="signal efficiencies")
    bins: Positive = Field(15, description="bins of the reliability diagram")
    bootstrap: Positive = Field(200, description="resamplings behind the errors that have no closed form")
    coverage: list[Probability] = Field(
        [0.68, 0.9, 0.95], min_length=1, description="shares of jets whose conformal set is to hold the true class"
    )

    @field_validator("passes", mode="before")
    @classmethod
    def _number_or_auto(cls, passes: Any) -> Any:
        """Refuse what is neither here: of two types each would be told in words of its own."""
        whole = isinstance(passes, int) and not isinstance(passes, bool)
        if passes != "auto" and not (whole and passes >= 2):
            raise ValueError("use a whole number, at least 2, or auto")
        return passes
