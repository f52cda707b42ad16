"""Part `simulate.barrel`: the tracking detector that generated collisions are seen by."""

from itertools import pairwise
from typing import Annotated

from pydantic import Field, field_validator

from bunchtrain.config.base import Section

Length = Annotated[float, Field(gt=0)]

#: The layers of the barrel of the TrackML detector (arXiv:1904.06778), rounded: pixels, short strips, long strips; mm.
_RADII = (32.0, 72.0, 116.0, 172.0, 260.0, 360.0, 500.0, 660.0, 820.0, 1020.0)


class Barrel(Section):
    """Cylinders of silicon around the beam, in a solenoid."""

    field: float = Field(2.0, gt=0, le=20, description="field along the beam, T")
    radii: list[Length] = Field(list(_RADII), min_length=1, max_length=100, description="layers, inside out, mm")
    half_length: Length = Field(1100.0, description="of every layer, mm")
    material: float = Field(0.02, ge=0, le=1, description="thickness of each layer in radiation lengths")
    resolution_rphi: float = Field(0.02, ge=0, description="of a hit along the circle, mm")
    resolution_z: float = Field(0.1, ge=0, description="of a hit along the beam, mm")
    efficiency: float = Field(0.98, gt=0, le=1, description="share of the crossings that give a hit")
    noise_hits: float = Field(5.0, ge=0, le=1e5, description="mean number of noise hits in a layer and event")
    pt_min: float = Field(0.1, gt=0, description="lowest pt of a particle that is followed, GeV")
    beam_spot_xy: float = Field(0.01, ge=0, description="width of the collisions across the beam, mm")
    beam_spot_z: float = Field(50.0, ge=0, description="width of the collisions along the beam, mm")

    @field_validator("radii")
    @classmethod
    def _inside_out(cls, radii: list[float]) -> list[float]:
        if any(outer <= inner for inner, outer in pairwise(radii)):
            raise ValueError("list the layers from the inside out, each radius larger than the one before")
        return radii
