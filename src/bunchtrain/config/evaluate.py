"""Section `evaluate`: accuracy and uncertainty."""

from pydantic import Field

from bunchtrain.config.base import Positive, Probability, Section


class Evaluate(Section):
    """How the trained network is judged on the test split."""

    passes: int = Field(50, ge=2, description="stochastic passes of MC dropout")
    working_points: list[Probability] = Field([0.3, 0.5, 0.7], min_length=1, description="signal efficiencies")
    bins: Positive = Field(15, description="bins of the reliability diagram")
    bootstrap: Positive = Field(200, description="resamplings behind the errors that have no closed form")
