"""Words of Tcl scripts: no path is code."""

from __future__ import annotations

from pathlib import Path

from bunchtrain.errors import SynthesisError


def create_clock(port: str, period_ns: float) -> str:
    """Return the constraint that gives a port a clock, as Vivado and Quartus read it."""
    return f"create_clock -period {period_ns:g} -name {port} [get_ports {port}]\n"


def braced(word: str | Path) -> str:
    """Return a word in braces, which Tcl takes as it stands.

    Raises
    ------
    SynthesisError
        If it holds what Tcl reads even in braces.
    """
    text = str(word)
    if any(character in text for character in "{}\\\n\r"):
        raise SynthesisError(
            "a Tcl script cannot hold this as a plain word",
            found=repr(text),
            expected="no braces, backslashes or line ends",
            mend="use another folder or name",
        )
    return f"{{{text}}}"
