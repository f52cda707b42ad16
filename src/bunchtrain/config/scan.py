"""Section `scan`: the hyperparameter space and the search."""

import math
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from bunchtrain.config.base import Positive, Probability, Section
from bunchtrain.config.objectives import Objective, checked

#: More evaluations than any search comes to.
MOST_TRIALS = 1_000_000

#: Words for the reasons for which an evaluation fails.
REASONS = {
    "F_oom": "out of memory",
    "F_nan": "diverged",
    "F_timeout": "longer than scan.timeout",
    "F_crash": "ended with an error, see its log",
    "F_invalid": "values that do not fit together",
    "F_no_circuit": "its student became no circuit",
    "F_no_figure": "the validation jets do not tell an objective",
}

Value = int | float | str | bool
Range = TypeVar("Range", "Integers", "Floats")


class Between(Section):
    """Any number from `low` to `high`, either of which may be left out."""

    low: float | None = None
    high: float | None = None

    @model_validator(mode="after")
    def _one(self) -> "Between":
        if self.low is None and self.high is None:
            raise ValueError("give `low`, `high`, or both")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"empty range: low {self.low} is above high {self.high}")
        return self


#: What the value of a dimension is asked for: to be this one, one of these, or between two.
Wanted = Value | list[Value] | Between


class Conditional(Section):
    """A dimension that may depend on others."""

    when: dict[str, Wanted] = Field(
        default_factory=dict, description="varied only where these dimensions have such values"
    )

    @model_serializer(mode="wrap")
    def _without_unset(self, usual: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in usual(self).items() if key != "when" or value}


class Integers(Conditional):
    """A whole number between two bounds, both included."""

    low: int
    high: int
    log: bool = False

    @model_validator(mode="after")
    def _order(self) -> "Integers":
        return _checked(self)


class Floats(Conditional):
    """A real number between two bounds."""

    low: float
    high: float
    log: bool = False

    @model_validator(mode="after")
    def _order(self) -> "Floats":
        return _checked(self)


class Choice(Conditional):
    """One of a list."""

    choices: Annotated[list[Value], Field(min_length=2)]

    @field_validator("choices")
    @classmethod
    def _different(cls, choices: list[Value]) -> list[Value]:
        if len({str if isinstance(one, str) else bool if isinstance(one, bool) else float for one in choices}) > 1:
            raise ValueError("the choices must be all numbers, all words, or all true and false")
        if any(one in choices[:place] for place, one in enumerate(choices)):
            raise ValueError("the choices must differ from one another")
        return choices


def _shaped(value: Any) -> Any:
    """Say what a dimension is before each of its forms says why it is not that one."""
    if isinstance(value, Integers | Floats | Choice):
        return value
    keys = set(value) - {"when"} if isinstance(value, dict) else set()
    if keys == {"choices"}:
        choices = value["choices"]
        if not isinstance(choices, list) or not all(isinstance(one, int | float | str) for one in choices):
            raise ValueError("choices are a list of numbers, words, or true and false")
        if len(choices) < 2:
            raise ValueError("a list of choices needs two or more")
        return value
    unknown = sorted(keys - {"low", "high", "log", "choices"})
    if {"low", "high"} <= keys <= {"low", "high", "log"}:
        if not all(_is_number(value[key]) for key in ("low", "high")):
            raise ValueError("the ends of a range are finite numbers")
        return value
    expected = "give `low` and `high` (and `log`), or `choices`, and `when` it counts if not always"
    raise ValueError(f"a dimension has no key {unknown[0]}: {expected}" if unknown else expected)


def _is_number(value: Any) -> bool:
    """Return whether a value is a finite number, or a word for one: YAML takes 1e-5 for a word."""
    try:
        return not isinstance(value, bool) and math.isfinite(float(value))
    except (TypeError, ValueError):
        return False


#: DeepHyper's numbers in the logarithm fail beyond 13.
DECADES = 12


def _checked(bounds: Range) -> Range:
    if bounds.low >= bounds.high:
        raise ValueError(f"empty range: low {bounds.low} is not below high {bounds.high}")
    if bounds.log and bounds.low <= 0:
        raise ValueError(f"a logarithmic range must start above 0, not at {bounds.low}")
    if bounds.log and bounds.high / bounds.low > 10**DECADES:
        raise ValueError(f"a logarithmic range spans at most {DECADES} decades, not from {bounds.low} to {bounds.high}")
    return bounds


#: One key that is varied.
Dimension = Annotated[Integers | Floats | Choice, BeforeValidator(_shaped)]


class Trials(Section):
    """Evaluations that DeepHyper suggests from the results of those before."""

    trials: int = Field(4, ge=0, le=MOST_TRIALS, description="evaluations; 0 takes the campaign's own values")
    parallel: Positive = Field(2, description="evaluations at the same time")
    initial: Positive = Field(
        2, description="evaluations before the surrogate model suggests; the first is the campaign's own values"
    )
    timeout: Positive = Field(600, description="seconds after which an evaluation is stopped")
    method: Literal["bayesian", "random", "quasi_random"] = Field(
        "bayesian", description="of suggesting; the last two do not learn from results"
    )
    asynchronous: bool = Field(
        False, description="no slot waits for a slower evaluation; the order of ends then shapes the search"
    )
    ahead: int = Field(
        0, ge=0, le=100, description="suggestions kept ready, for evaluations that last no longer than a suggestion"
    )
    space: dict[str, Dimension] = Field(default_factory=dict)
    forbid: list[Annotated[dict[str, Wanted], Field(min_length=1)]] = Field(
        default_factory=list, description="combinations of values that are not evaluated"
    )
    start: list[Annotated[dict[str, Value], Field(min_length=1)]] = Field(
        default_factory=list, description="points to evaluate after the campaign's own, which gives keys left out"
    )

    @model_validator(mode="after")
    def _something(self) -> "Trials":
        if self.trials and not self.space:
            raise ValueError("evaluations of some number need a `space`")
        return self

    @property
    def lag(self) -> int:
        """A repeatable search rests suggestion n on the results of 0 ... n - lag."""
        return self.parallel + self.ahead


class Scan(Trials):
    """The search for a network and its training.

    Keys of `space` are `model.<key>` or `train.<key>`, and `student.<key>` where a student is judged.
    """

    ranks: Positive = Field(1, description="processes of one evaluation")
    nodes: Positive = Field(1, description="nodes that the scan's job asks Slurm for")
    epochs: Positive = Field(3, description="epochs of one evaluation")
    max_jets: Positive | None = Field(None, description="training jets of one evaluation")
    warm_start: list[str] = Field(
        default_factory=list,
        description="results.csv of earlier scans: the first suggestions learn from them",
    )
    objective: Annotated[Objective | list[Objective], BeforeValidator(checked)] = Field(
        "validation_loss", description="what is looked for, or a list: the first decides, the others make a front"
    )
    working_point: Probability | None = Field(
        None, description="signal efficiency of the objective rejection; null: the first of evaluate.working_points"
    )
    limits: dict[Objective, Annotated[float, Field(gt=0)]] = Field(
        default_factory=dict,
        description="what the best keeps to: at most so much, at least where more is better",
    )
    halving: float | None = Field(
        None, ge=1.5, le=100, description="rungs are so much apart, and at each the best 1 / halving go on"
    )
    first_epochs: Positive = Field(1, description="with halving: epochs up to the first rung")

    @property
    def objectives(self) -> list[Objective]:
        """What is looked for, the decisive one first."""
        return self.objective if isinstance(self.objective, list) else [self.objective]

    @property
    def rungs(self) -> list[int]:
        """The epochs after which an evaluation may have to end."""
        found, rung = [], float(self.first_epochs)
        while self.halving is not None and rung < self.epochs:
            found.append(int(rung))
            rung *= self.halving
        return sorted(set(found))

    @property
    def per_node(self) -> int:
        """Evaluations at the same time on each node."""
        return -(-self.parallel // self.nodes)

    def short(self, backend: str) -> dict[str, Any]:
        """Return the keys of `train` that are an evaluation's own; `backend` is that of the campaign's training."""
        several = "auto" if backend == "serial" else backend
        spread = {"ranks": self.ranks, "backend": "serial" if self.ranks == 1 else several}
        whole = {"epochs": self.epochs, "patience": self.epochs, "max_jets": self.max_jets, "tensorboard": False}
        return {**spread, **whole}
