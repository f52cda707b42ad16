"""The page as one HTML file: its style, its script and, where it is not live, its state stand in it."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from importlib import resources
from typing import Any

#: The page's script, in the order of its parts.
SCRIPTS = ("dom.js", "draw.js", "page.js")


def text(state: Any) -> str:
    """Return the state as JSON in ASCII that can stand inside a script element: nothing in it ends the element."""
    plain = json.dumps(state, allow_nan=False, separators=(",", ":"))
    return plain.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def page(title: str, state: Any = None) -> tuple[str, str]:
    """Return the page and its content security policy, which the page states too.

    Parameters
    ----------
    title : str
        For the browser's tab.
    state : JSON-like, optional
        What is shown; without it the page asks its server, again and again.
    """
    style, script = _part("page.css"), "".join(_part(name) for name in SCRIPTS)
    reach = "'none'" if state is not None else "'self'"
    policy = f"default-src 'none'; script-src {_digest(script)}; style-src {_digest(style)}; connect-src {reach}; "
    policy += "img-src data:; base-uri 'none'; form-action 'none'"
    parts = {
        "policy": html.escape(policy),
        "title": html.escape(title),
        "live": "" if state is not None else " data-live",
        "style": style,
        "state": text(state),
        "script": script,
    }
    filled = re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], _part("page.html"))
    return filled, policy


def _part(name: str) -> str:
    return resources.files("bunchtrain.page").joinpath(name).read_text(encoding="utf-8")


def _digest(content: str) -> str:
    """Return the source of a policy that lets one script or style through, by its content."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
