"""Part `simulate.magnet`: the magnet of the process field, and the probes in its bore."""

from pydantic import Field, model_validator

from bunchtrain.config.base import Positive, Section

#: Misalignments that coils stay within.
WITHIN = 5.0


class Magnet(Section):
    """A solenoid of single coils, none quite in its place, and a coil beyond its end that corrects it."""

    radius: float = Field(800.0, gt=0, description="of the coils, mm")
    length: float = Field(2400.0, gt=0, description="from the first coil to the last, mm")
    coils: Positive = Field(24, ge=2, le=1000, description="coils, at equal distances")
    segments: Positive = Field(64, ge=3, le=1000, description="straight wires of a coil")
    central_field: float = Field(2.0, gt=0, description="strength of the field in the middle, T")
    shift: float = Field(5.0, ge=0, description="misalignment: width of coils' places about the nominal, mm")
    tilt: float = Field(0.005, ge=0, le=0.1, description="likewise of their axes, about x and y, rad")
    correction: float = Field(3.0, description="current of the correction coil, over that of the others")
    probe_radius: float = Field(300.0, gt=0, description="of the cylinder that probes are in, mm")
    probe_length: float = Field(1200.0, gt=0, description="its length, mm")
    noise: float = Field(1e-5, ge=0, le=1, description="of each component that a probe finds, over the central field")

    @model_validator(mode="after")
    def _no_coil_inside(self) -> "Magnet":
        # A tilted coil comes nearer to the axis by half the square of its tilt, a polygon's sides by the cosine.
        moved = WITHIN * (self.shift + self.tilt**2 * self.radius)
        if self.probe_radius >= 0.95 * self.radius - moved or self.segments < 8:
            raise ValueError(
                "the volume of the probes contains a coil: probe_radius must be well below radius, and segments 8 at "
                "least; inside a current the field has a curl"
            )
        if self.probe_length > 2 * self.length:
            raise ValueError("probe_length is more than twice the length: the correction coil lies there")
        return self
