"""What a routed clock makes of measured cycles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Bunches of the LHC cross every so many ns: a trigger has to take an event at each.
CROSSING_NS = 25.0


def timing(resources: Mapping[str, Any], latency: int, interval: int) -> dict[str, Any]:
    """Return nanoseconds at the clock that place and route reached, and by what tool; nothing where none routed.

    Parameters
    ----------
    resources : mapping
        Fields of `Resources`.
    latency, interval : int
        Measured cycles.
    """
    clock = resources.get("clock_mhz_routed")
    if not clock:
        return {}
    every = interval * 1000 / clock
    return {
        "clock_mhz_routed": clock,
        "routed_by": f"{resources['tool']} ({resources['version']}), {resources['part']}",
        "latency_ns_routed": latency * 1000 / clock,
        "interval_ns_routed": every,
        "event_every_25_ns": every <= CROSSING_NS,
    }


def sentence(timing: Mapping[str, Any]) -> str:
    """Return the same in words; empty where nothing was routed."""
    if "clock_mhz_routed" not in timing:
        return ""
    able = "an event" if timing["event_every_25_ns"] else "no event"
    return (
        f"{timing['clock_mhz_routed']:.0f} MHz after place and route by {timing['routed_by']}: "
        f"latency {timing['latency_ns_routed']:.0f} ns, {able} can be taken every {CROSSING_NS:g} ns"
    )
