"""Options of tasks that learn from regions of a column: a window that may be rich in signal, and what is beside it."""

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Regions(BaseModel):
    """The column, its regions, and the classes of the truth."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    column: str = Field("dijet_mass", description="column of jets in which a signal would make a bump")
    window: list[float] = Field(min_length=2, max_length=2, description="from and to: where signal is looked for")
    range: list[float] = Field(min_length=2, max_length=2, description="from and to: of the rows beside the window")
    signal: str = Field("signal", description="label of the signal")
    background: str = Field("background", description="label of the background")
    variables: list[str] = Field(
        default_factory=list, max_length=4, description="columns of jets that are judged alone beside the network"
    )

    @model_validator(mode="after")
    def _inside(self) -> "Regions":
        (low, high), (first, last) = self.window, self.range
        if not low < high or not first < last:
            raise ValueError("window and range are a lower end and then an upper end")
        if low < first or high > last:
            raise ValueError(f"the window {low:g} to {high:g} leaves the range {first:g} to {last:g}")
        if (low, high) == (first, last):
            raise ValueError("the window is the whole range: nothing is beside it")
        return self
