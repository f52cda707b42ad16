"""Section `simulate.tracks`: a parametrised tracker in a solenoid."""

from typing import Annotated

from pydantic import AfterValidator, Field, field_validator, model_validator

from bunchtrain.config.base import Fraction, Positive, Section


def _resolution(terms: list[float]) -> list[float]:
    if len(terms) != 2 or terms[0] <= 0 or terms[1] < 0:
        raise ValueError("give two numbers, [a, b] of √(a² + (b / (pt √sin θ))²), a above 0 and b not below")
    return terms


#: a and b of σ = √(a² + (b / (pt √sin θ))²): the detector's own, and multiple scattering in its material.
Resolution = Annotated[list[float], AfterValidator(_resolution)]


class Tracks(Section):
    """Reconstructed tracks; the defaults are near those of a pixel and strip tracker at the LHC."""

    field: float = Field(2.0, gt=0, le=10, description="T, along the beam")
    pt_min: float = Field(0.5, gt=0, description="lowest pt, GeV; not below constituent_pt_min")
    eta_max: float = Field(2.5, gt=0, le=5, description="largest |eta|")
    d0_max: float = Field(3.5, gt=0, description="largest |d0|, mm")
    z0_sin_theta_max: float = Field(5.0, gt=0, description="largest |z0 sin(theta)| to the primary vertex, mm")
    efficiency: Fraction = Field(0.9, description="of a particle that leaves enough hits")
    fakes: float = Field(0.02, ge=0, le=0.5, description="tracks of no particle, as a fraction of the others")
    radius: float = Field(0.4, gt=0, le=2, description="largest ΔR of a track to the axis of its jet")
    most: Positive = Field(40, description="tracks kept of a jet, the hardest")
    d0: Resolution = Field([0.010, 0.070], description="[a, b] of the error of d0, √(a² + (b / (pt √sin θ))²), mm")
    z0_sin_theta: Resolution = Field([0.050, 0.100], description="likewise of z0 sin(theta), mm")
    phi: Resolution = Field([1e-4, 2e-3], description="likewise of the azimuth, rad")
    theta: Resolution = Field([5e-4, 2e-3], description="likewise of the polar angle, rad")
    curvature: Resolution = Field([4e-4, 0.013], description="likewise of 1/pt, 1/GeV")
    beam_spot_width: float = Field(0.010, ge=0, description="of the collisions across the beam, each way, mm")
    beam_spot_length: float = Field(40.0, ge=0, description="of the collisions along the beam, mm")
    pixel_radii: list[float] = Field(
        [33.0, 51.0, 89.0, 123.0], min_length=2, max_length=20, description="pixel layers, mm"
    )
    strip_radii: list[float] = Field(
        [299.0, 371.0, 443.0, 514.0], max_length=20, description="strip layers, two hits each, mm"
    )
    hit_efficiency: Fraction = Field(0.98, description="of a layer that is crossed")
    least_hits: Positive = Field(7, description="fewer hits make no track")
    two_track_distance: float = Field(0.25, ge=0, description="closer tracks share a cluster in a pixel layer, mm")
    split_clusters: Fraction = Field(0.5, description="fraction of shared clusters that are told apart")
    decay_strange: bool = Field(True, description="let K_S and strange baryons decay, in front of the detector too")

    @field_validator("pixel_radii", "strip_radii")
    @classmethod
    def _rising(cls, radii: list[float]) -> list[float]:
        if sorted(set(radii)) != radii or (radii and radii[0] <= 0):
            raise ValueError("radii are above 0 and rise, from the innermost layer outwards")
        return radii

    @model_validator(mode="after")
    def _possible(self) -> "Tracks":
        if self.strip_radii and self.strip_radii[0] <= self.pixel_radii[-1]:
            raise ValueError("the strip layers lie outside the pixel layers: raise strip_radii")
        if self.least_hits > self.all_hits:
            raise ValueError(f"least_hits is more than all layers give, {self.all_hits}")
        return self

    @property
    def all_hits(self) -> int:
        """The hits of a particle that crosses all layers."""
        return len(self.pixel_radii) + 2 * len(self.strip_radii)
