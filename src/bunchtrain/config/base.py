"""What every section of a campaign shares."""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from bunchtrain import registry


class Section(BaseModel):
    """A section of a campaign: unknown keys are refused, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Kind(BaseModel):
    """A section whose `kind` names a module of a family; the other keys belong to that module's `Config`."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)

    kind: str = Field(description="name of the module, e.g. gnn")

    def options(self) -> dict[str, Any]:
        """Return the keys beside `kind`."""
        return dict(self.model_extra or {})

    def checked(self, family: str, key: str) -> dict[str, Any]:
        """Return kind and options with the defaults of the module's `Config` filled in, without importing it.

        Raises
        ------
        CampaignError
            If the kind is unknown.
        pydantic.ValidationError
            If the options do not fit.
        """
        config = registry.declared(family, self.kind, f"{key}.kind").model_validate(self.options())
        return {"kind": self.kind, **config.model_dump(mode="json")}


def _plain(name: str) -> str:
    if not name or name[0] in ".-" or not all(c.isascii() and (c.isalnum() or c in "_-") for c in name):
        raise ValueError("use letters, digits, '_' and '-' alone, starting with a letter, digit or '_'")
    return name


#: A name that becomes a folder: it can neither leave the campaign's folder nor mean anything to a shell.
Name = Annotated[str, Field(max_length=64), AfterValidator(_plain)]

#: What random numbers follow from; stages add to it.
Seed = Annotated[int, Field(ge=0, lt=2**62)]

Positive = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Probability = Annotated[float, Field(gt=0, lt=1)]
