"""What a campaign asks of its core, checked before anything runs: sizes of students, options of the backend, tools."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping

from bunchtrain.config.specs import SynthesizeSpec
from bunchtrain.errors import MissingDependency, SynthesisError


def check(core: SynthesizeSpec, candidates: Mapping[str, SynthesizeSpec], classes: int) -> list[str]:
    """Refuse what cannot become a core; return warnings: candidates that cannot, and a backend without its tool here.

    Where torch is not installed, as on the login node of a cluster, nothing is looked at: the stage does it again.

    Raises
    ------
    SynthesisError
        If the campaign's own student or the options of its backend would be refused by the stage.
    """
    if importlib.util.find_spec("torch") is None:
        return []
    from bunchtrain.synth import preflight, steps, teaching
    from bunchtrain.synth.compressors import base as compressors

    chosen = steps.backend_of(core)
    preflight.check_layers(teaching.untrained(core, classes))
    warnings = []
    if chosen.module.locate() is None:
        warnings.append(f"the synthesis backend {chosen.kind} lacks its tool on this machine: {chosen.module.MEND}")
    for kind in sorted({one.settings.student.compression.kind for one in (core, *candidates.values())}):
        try:
            compressors.require(kind)
        except MissingDependency as error:
            warnings.append(f"{error.problem}: {error.details.get('mend')}")
    for name, one in candidates.items():
        try:
            preflight.check_layers(teaching.untrained(one, classes))
        except SynthesisError as error:
            warnings.append(f"candidate {name}: {error.problem} ({error.details.get('found')})")
    return warnings
