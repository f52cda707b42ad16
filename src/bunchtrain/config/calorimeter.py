"""Part `simulate.calorimeter`: the calorimeter of the process showers, and the particles that enter it."""

import math
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from bunchtrain.config.base import Fraction, Positive, Section

#: Critical energies that a particle must have at least: below, a shower is hardly more than its first particles, and
#: the parametrisation has no meaning.
LEAST = 10

#: Largest energy (GeV): a shower of 1 TeV has 170 000 spots.
MOST = 1000.0


def _range(ends: list[float]) -> list[float]:
    if len(ends) != 2 or ends[0] > ends[1]:
        raise ValueError("give two numbers, the lowest and the highest, such as [1, 100]; twice the same is one value")
    return ends


def _not_below(ends: list[float]) -> list[float]:
    if ends[0] < 0:
        raise ValueError("give two numbers that are not below 0")
    return ends


#: The lowest and the highest value that is drawn.
Range = Annotated[list[float], AfterValidator(_range)]
RangeAbove = Annotated[Range, AfterValidator(_not_below)]


class Calorimeter(Section):
    """A block of cells of one material; its constants are those of lead tungstate."""

    layers: Annotated[Positive, Field(le=200)] = Field(14, description="layers, along the beam")
    rows: Annotated[Positive, Field(le=200)] = Field(6, description="cells of a layer along y")
    columns: Annotated[Positive, Field(le=200)] = Field(6, description="cells of a layer along x")
    cell_size: float = Field(15.0, gt=0, description="of a cell along x and y, mm")
    layer_depth: float = Field(1.8, gt=0, description="of a layer along the beam, in radiation lengths")
    radiation_length: float = Field(8.9, gt=0, description="X0, mm")
    moliere_radius: float = Field(19.6, gt=0, description="mm")
    critical_energy: float = Field(9.64, gt=0, description="MeV")
    atomic_number: float = Field(68.4, ge=4, le=95, description="Z, effective")
    energy: Range = Field([1.0, 100.0], description="of the particle, even in its logarithm, GeV")
    photons: Fraction = Field(0.5, description="share of photons; the others are electrons")
    x: Range = Field([-7.5, 7.5], description="where the particle meets the front face, mm")
    y: Range = Field([-7.5, 7.5], description="likewise, mm")
    theta: RangeAbove = Field([0.0, 0.3], description="angle to the beam, rad")
    phi: Range = Field([-math.pi, math.pi], description="azimuth, rad")
    vertex: Range = Field([-30.0, 30.0], description="how much farther before the front face a particle starts, mm")
    dead_material: RangeAbove = Field([0.0, 2.0], description="thickness in front of the calorimeter, X0")
    noise: RangeAbove = Field([0.0, 0.01], description="width of the noise in each cell, GeV")
    stochastic_term: RangeAbove = Field([0.05, 0.15], description="resolution of the readout at 1 GeV")

    @model_validator(mode="after")
    def _possible(self) -> "Calorimeter":
        least = LEAST * self.critical_energy * 1e-3
        if self.energy[0] < least:
            raise ValueError(f"the lowest energy is below {LEAST} critical energies, {least:g} GeV: no shower grows")
        if self.energy[1] > MOST:
            raise ValueError(f"the highest energy is above {MOST:g} GeV: there would be too many spots")
        if self.theta[1] > 1.2:
            raise ValueError("the largest theta is above 1.2: the particle would fly along the front face")
        if self.dead_material[1] > 20:
            raise ValueError("the largest dead_material is above 20 radiation lengths: no shower gets through")
        if self.stochastic_term[1] > 1:
            raise ValueError("the largest stochastic_term is above 1: no energy is measured")
        for name, cells in (("x", self.columns), ("y", self.rows)):
            half = cells * self.cell_size / 2
            if max(map(abs, getattr(self, name))) > half:
                raise ValueError(f"{name} reaches beyond the front face, which ends at {half:g} mm")
        return self
