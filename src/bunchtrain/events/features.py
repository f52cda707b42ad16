"""What a network sees of a jet, from its constituents' four-momenta.

The momenta are turned by the jet's φ about the beam, boosted by its η along it, and mirrored where it had a negative η.
A constituent without mass then has Δη and Δφ to the jet as its angles, and so, nearly, have all; their products are
the same as before. It is not quite the frame in which the jet has η = 0: a boost adds to rapidity, and jets have mass.

B: batch, P: constituent, F: node feature, G: global feature, I: further node feature, V: further global feature.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

NODES = ("log_pt", "log_energy", "log_pt_fraction", "log_energy_fraction", "delta_eta", "delta_phi", "delta_r")
GLOBALS = ("log_mass", "log_pt", "log_multiplicity")

#: Units of the features; a logarithm is that of the number of GeV.
UNITS = {
    **dict.fromkeys(("log_pt", "log_energy", "log_mass"), "ln(GeV)"),
    **dict.fromkeys(("log_pt_fraction", "log_energy_fraction", "log_multiplicity"), "ln(1)"),
    **dict.fromkeys(("delta_eta", "delta_r"), "1"),
    "delta_phi": "rad",
}

_TINY = 1e-6

#: No momentum that a network sees is larger (GeV), and no boost (rapidity): squares stay finite in float32.
_LARGEST, _FASTEST = 1e15, 20.0


class Features(NamedTuple):
    """Input of the networks; rows beyond a jet's constituents are zero and masked."""

    nodes_BPF: Floats
    momenta_BP4: Floats
    globals_BG: Floats
    mask_BP: NDArray[np.bool_]

    def of_width(self, width: int) -> Features:
        """Return the same with the first global features alone: those that a network of such a width was made for."""
        return self._replace(globals_BG=self.globals_BG[:, :width])


class Raw(NamedTuple):
    """What features are computed from.

    Attributes
    ----------
    p4_BP4, mask_BP
        px, py, pz, energy (GeV) of constituents, zero where padded.
    jets_B4
        The jets' pt (GeV), eta, phi (rad), mass (GeV).
    multiplicity_B
        Constituents of the whole jets.
    inputs_BPI, variables_BV
        Further features of constituents and of jets.
    """

    p4_BP4: Floats
    mask_BP: NDArray[np.bool_]
    jets_B4: Floats
    multiplicity_B: NDArray[Any]
    inputs_BPI: Floats
    variables_BV: Floats


def wrap(phi: Floats) -> Floats:
    """Return angles (rad) folded into [-pi, pi)."""
    return (phi + np.float32(np.pi)) % np.float32(2 * np.pi) - np.float32(np.pi)


def along_jet(p4_BP4: Floats, eta_B: Floats, phi_B: Floats) -> Floats:
    """Return momenta (px, py, pz, energy; GeV), turned by -φ about the beam, boosted by -η along it, and mirrored.

    In terms of E ± pz a boost is a factor; the smaller of the two is (pT² + m²) over the larger, which does not cancel.
    """
    px, py, pz, energy = np.moveaxis(p4_BP4.astype(np.float64), -1, 0)
    cosine, sine = (turn(phi_B.astype(np.float64))[:, None] for turn in (np.cos, np.sin))
    boost = np.exp(np.clip(eta_B.astype(np.float64), -_FASTEST, _FASTEST))[:, None]
    momentum = np.sqrt(px**2 + py**2 + pz**2)
    transverse = px**2 + py**2 + np.maximum((energy - momentum) * (energy + momentum), 0)
    larger = np.maximum(np.maximum(energy, momentum) + np.abs(pz), _TINY)
    smaller = transverse / larger
    plus, minus = np.where(pz < 0, smaller, larger) / boost, np.where(pz < 0, larger, smaller) * boost
    along = (plus - minus) / 2 * np.where(eta_B < 0, -1, 1)[:, None]
    turned = [px * cosine + py * sine, py * cosine - px * sine, along, (plus + minus) / 2]
    momenta_BP4: Floats = np.clip(np.stack(turned, -1), -_LARGEST, _LARGEST).astype(np.float32)
    return momenta_BP4


def compute(
    p4_BP4: Floats,
    mask_BP: NDArray[np.bool_],
    jets_B4: Floats,
    multiplicity_B: NDArray[Any] | None = None,
    inputs_BPI: Floats | None = None,
) -> Features:
    """Compute the features of a batch.

    Parameters
    ----------
    p4_BP4 : float32 [B, P, 4]
        px, py, pz, energy (GeV).
    mask_BP : bool [B, P]
        True where there is a constituent.
    jets_B4 : float32 [B, 4]
        The jet's pt (GeV), eta, phi (rad), mass (GeV).
    multiplicity_B : int [B], optional
        Constituents of the whole jet; those of the mask without it.
    inputs_BPI : float32 [B, P, I], optional
        Further node features, which come after `NODES`.
    """
    px, py, pz, energy = np.moveaxis(p4_BP4, -1, 0)
    pt = np.hypot(px, py)
    jet_pt, jet_eta, jet_phi, jet_mass = jets_B4.T
    # hypot and double precision: neither squares nor cosh overflow for any pt and eta that convert lets pass.
    jet_energy = np.hypot(jet_pt * np.cosh(jet_eta.astype(np.float64)), jet_mass)
    eta = np.arcsinh(pz / np.maximum(pt, _TINY))
    delta_eta = (eta - jet_eta[:, None]) * np.where(jet_eta < 0, -1, 1)[:, None]
    delta_phi = wrap(np.arctan2(py, px) - jet_phi[:, None])
    log_pt, log_energy = np.log(np.maximum(pt, _TINY)), np.log(np.maximum(energy, _TINY))
    columns = (
        log_pt,
        log_energy,
        log_pt - np.log(np.maximum(jet_pt, _TINY))[:, None],
        log_energy - np.log(np.maximum(jet_energy, _TINY))[:, None],
        delta_eta,
        delta_phi,
        np.hypot(delta_eta, delta_phi),
    )
    nodes = np.where(mask_BP[..., None], np.stack(columns, -1), 0).astype(np.float32)
    if inputs_BPI is not None:
        nodes = np.concatenate([nodes, inputs_BPI * mask_BP[..., None]], -1)
    momenta = np.where(mask_BP[..., None], along_jet(p4_BP4, jet_eta, jet_phi), np.float32(0))
    multiplicity = np.maximum(mask_BP.sum(1) if multiplicity_B is None else multiplicity_B, 1)
    jet_features = np.stack(
        [np.log(np.maximum(jet_mass, 1.0)), np.log(np.maximum(jet_pt, _TINY)), np.log(multiplicity)], -1
    )
    return Features(nodes, momenta, jet_features.astype(np.float32), mask_BP)
