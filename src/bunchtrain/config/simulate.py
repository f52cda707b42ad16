"""Section `simulate`: the embedded generator's settings, the same for all samples."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, SerializerFunctionWrapHandler, ValidationError, model_serializer, model_validator

from bunchtrain.config.barrel import Barrel
from bunchtrain.config.base import Positive, Section
from bunchtrain.config.calorimeter import Calorimeter
from bunchtrain.config.dijets import Dijets
from bunchtrain.config.explain import explain
from bunchtrain.config.magnet import Magnet
from bunchtrain.config.samples import BOX, OF_EVENTS, OF_PAIRS, OF_PROBES, OF_SHOWERS, Made
from bunchtrain.config.tracks import Tracks

Energy = Annotated[float, Field(gt=0)]

#: Pythia's default tune, Monash 2013 (arXiv:1404.5630).
_MONASH = 14


class Simulate(Section):
    """Pythia 8 and FastJet; of process showers `calorimeter` alone, of process field `magnet`."""

    collision_energy: Energy = Field(13000.0, description="GeV")
    radius: float = Field(0.8, gt=0, le=2, description="anti-kt distance parameter")
    pt_min: Energy = Field(500.0, description="lowest jet pt, GeV")
    pt_max: Energy = Field(1000.0, description="highest jet pt, GeV")
    eta_max: float = Field(2.0, gt=0, description="largest |eta| of a jet's axis")
    constituent_pt_min: float = Field(0.5, ge=0, description="lowest constituent pt, GeV")
    multiparton_interactions: bool = Field(False, description="the underlying event; three times slower")
    tune: int = Field(_MONASH, ge=1, le=33, description="number of Pythia's tune, Tune:pp; 14: Monash 2013")
    pileup: float = Field(0.0, ge=0, le=200, description="mean number of further collisions in an event, μ")
    pileup_pool: Positive = Field(1000, description="collisions that a shard makes, to draw its pile-up from")
    tracks: Tracks | None = Field(None, description="reconstructed tracks of a parametrised tracker; null: none")
    resonance_mass: Energy | None = Field(None, description="of the new particle of process resonance, GeV; null: 150")
    barrel: Barrel | None = Field(None, description="tracking detector, for process collisions; null: its defaults")
    dijets: Dijets | None = Field(None, description="pairs of jets, for processes of these; null: its defaults")
    calorimeter: Calorimeter | None = Field(None, description="for process showers; null: its defaults")
    magnet: Magnet | None = Field(None, description="for process field; null: its defaults")

    @model_validator(mode="after")
    def _window(self) -> "Simulate":
        if self.pt_max <= self.pt_min:
            raise ValueError("pt_max must exceed pt_min")
        if 2 * self.pt_min >= self.collision_energy:
            raise ValueError("two jets of pt_min need more than the collision_energy")
        if self.tracks and self.tracks.pt_min < self.constituent_pt_min:
            raise ValueError("tracks.pt_min is below constituent_pt_min: softer particles are not kept")
        return self

    @model_serializer(mode="wrap")
    def _without_null(self, usual: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out a part that is null, and the usual tune: specs and files of samples without stay as they are."""
        found = {key: value for key, value in usual(self).items() if value is not None}
        return {key: value for key, value in found.items() if (key, value) != ("tune", _MONASH)}


def read_by(process: Made, settings: Simulate) -> Simulate:
    """Return what a process reads of the settings; a part that it has not said takes its defaults."""
    if process in OF_SHOWERS:
        return Simulate(calorimeter=settings.calorimeter or Calorimeter())
    if process in OF_PROBES:
        return Simulate(magnet=settings.magnet or Magnet())
    of_events, of_pairs = process in OF_EVENTS, process in OF_PAIRS or process == BOX
    parts: dict[str, Any] = {"barrel": (settings.barrel or Barrel()) if of_events else None}
    parts |= {"dijets": (settings.dijets or Dijets()) if of_pairs else None, "calorimeter": None, "magnet": None}
    parts |= {"tracks": None} if of_events or of_pairs else {}
    return settings.model_copy(update=parts)


def overridden(settings: Simulate, changes: Mapping[str, Any], key: str, file: str | Path = "") -> Simulate:
    """Return the section with some of its values changed, also inside its parts.

    Raises
    ------
    CampaignError
        If a key is not known or a value does not fit; `key` says where the changes stand.
    """
    try:
        return Simulate.model_validate(_merged(settings.model_dump(), changes))
    except ValidationError as error:
        raise explain(error, file, Simulate, key) from None


def _merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(values)
    for key, change in changes.items():
        inside = values.get(key)
        both = isinstance(inside, Mapping) and isinstance(change, Mapping)
        merged[key] = _merged(inside, change) if both else change  # type: ignore[arg-type]
    return merged
