"""Part `simulate.dijets`: which pairs of jets are events of the processes dijets and dijet_resonance."""

from typing import Annotated

from pydantic import Field, field_validator, model_validator

from bunchtrain.config.base import Section

Mass = Annotated[float, Field(gt=0)]

#: Mass of a resonance that a box hides, in units of the lowest mass of a pair: between these.
HIDDEN = (1.25, 1.75)

#: The window of a resonance, in units of its mass: jets lose a little of it.
WINDOW = (0.92, 1.06)


class Dijets(Section):
    """Pairs of leading jets, and the new particles that a resonance decays to."""

    mass_min: Mass = Field(1400.0, description="lowest mass of the pair, GeV")
    mass_max: Mass = Field(4000.0, description="highest mass of the pair, GeV")
    pt_min: float = Field(500.0, gt=0, description="lowest pt of the leading jet, GeV")
    delta_eta_max: float = Field(1.3, gt=0, le=5, description="largest |Δη| of the two jets")
    resonance: Mass = Field(2000.0, description="mass of the particle that decays to two others, GeV")
    daughters: list[Mass] = Field([400.0, 150.0], description="masses of these two, which decay to two quarks, GeV")

    @field_validator("daughters")
    @classmethod
    def _two(cls, masses: list[float]) -> list[float]:
        if len(masses) != 2 or min(masses) < 20:
            raise ValueError("give two masses of at least 20 GeV, such as [400, 150]")
        return masses

    @model_validator(mode="after")
    def _possible(self) -> "Dijets":
        if self.mass_max < 1.2 * self.mass_min:
            raise ValueError("mass_max must exceed mass_min by a fifth at least")
        if sum(self.daughters) >= 0.95 * self.resonance:
            raise ValueError("the daughters are too heavy for the resonance")
        return self
