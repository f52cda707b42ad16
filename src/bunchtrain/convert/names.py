"""What branches may mean by their names: a mapping to start from, never taken unasked.

A quantity is the last part of a name: `part_px`, `Jet.PT`, `jetEta`. What stands before it names the objects.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_QUANTITIES = {
    "px": "px",
    "py": "py",
    "pz": "pz",
    "pt": "pt",
    "eta": "eta",
    "phi": "phi",
    "e": "energy",
    "en": "energy",
    "energy": "energy",
    "m": "mass",
    "mass": "mass",
}
_AFTER_STROKE = re.compile(r"(?i)((?:.*[_.])?)(px|py|pz|pt|eta|phi|energy|en|e|mass|m)$")
_CAPITAL = re.compile(r"(.*[a-z0-9])(Px|Py|Pz|Pt|PT|Eta|Phi|Energy|E|Mass|M)$")

#: Ways to give a four-momentum, the first that is there.
_MOMENTA = (("px", "py", "pz", "energy"), ("pt", "eta", "phi", "energy"), ("pt", "eta", "phi", "mass"))

_PARTS = ("part", "pf", "const", "cand", "trk", "track", "particle", "jet_part", "jet_const")
_JET = re.compile(r"(?i)(fat|large\w*|small\w*|ak\d*)?_?jets?\d*[_.]?$")
_NUMBERS = {
    "run": re.compile(r"(?i)run(_?(number|no|nr|id))?$"),
    "event": re.compile(r"(?i)(event|evt)(_?(number|no|nr|id))?$"),
    "weight": re.compile(r"(?i)((event|evt|mc|gen)_?)?weight$"),
}
_UNITS = (
    (re.compile(r"(?i).*(sig|significance)$"), "1"),
    (re.compile(r"(?i)(.*[_.])?(px|py|pz|pt|et|e|en|energy|ene|mass|m|p|sdmass|met)$"), "GeV"),
    (re.compile(r".*(Px|Py|Pz|Pt|PT|ET|E|Energy|Mass|Edep)$"), "GeV"),
    (re.compile(r"(?i)(.*[_.])?(d?phi|theta)$"), "rad"),
    (re.compile(r"(?i)(.*[_.])?(d0|z0|dz|dxy|d0val|dzval|d0err|dzerr|d0e|z0e|x|y|z|vx|vy|vz|errord0|errordz)$"), "mm"),
)


def momenta(branches: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return the objects that have a whole four-momentum: how their branches begin, to quantity and branch."""
    found: dict[str, dict[str, str]] = {}
    for branch in branches:
        if match := _AFTER_STROKE.match(branch) or _CAPITAL.match(branch):
            prefix, quantity = match.group(1), _QUANTITIES[match.group(2).lower()]
            found.setdefault(prefix, {}).setdefault(quantity, branch)
    whole = {}
    for prefix, given in found.items():
        for wanted in _MOMENTA:
            if given.keys() >= set(wanted):
                whole[prefix] = {name: given[name] for name in wanted}
                break
    # A counter of its own for each list is no quantity: n_part_px beside part_px.
    return {p: one for p, one in whole.items() if not any(p != q and p in (f"n{q}", f"n_{q}") for q in whole)}


def jets(branches: Iterable[str]) -> tuple[str, dict[str, str]]:
    """Return how the branches of jets begin, and those of pt, eta, phi, mass; nothing where there are none."""
    found: dict[str, dict[str, str]] = {}
    for branch in branches:
        match = _AFTER_STROKE.match(branch) or _CAPITAL.match(branch)
        if match and _JET.match(match.group(1)):
            quantity = _QUANTITIES[match.group(2).lower()]
            if quantity in ("pt", "eta", "phi", "mass"):
                found.setdefault(match.group(1), {}).setdefault(quantity, branch)
    prefix = max(found, key=lambda name: len(found[name]), default="")
    return prefix, found.get(prefix, {})


def constituents(branches: Iterable[str]) -> tuple[str, dict[str, str]] | None:
    """Return how the branches of constituents begin, and those of their momenta; None if nothing looks like it."""
    found = momenta(branches)
    if not found:
        return None
    prefix = min(found, key=_rank)
    return prefix, found[prefix]


def looks_like_parts(prefix: str) -> bool:
    """Return whether branches that begin like this are those of constituents."""
    return _rank(prefix) < len(_PARTS)


def _rank(prefix: str) -> int:
    head = prefix.lower().rstrip("_.")
    known = [place for place, name in enumerate(_PARTS) if head.startswith(name)]
    return min(known, default=len(_PARTS) + 2 if _JET.match(prefix) else len(_PARTS) + 1)


def number(kind: str, branches: Iterable[str]) -> str | None:
    """Return the branch that looks like a `run`, `event` or `weight`; None if there is none."""
    return next((name for name in branches if _NUMBERS[kind].match(name)), None)


def units(name: str) -> str:
    """Return the unit that a branch of this name usually has, `GeV` where it may be MeV too; else nothing."""
    return next((unit for pattern, unit in _UNITS if pattern.match(name)), "")
