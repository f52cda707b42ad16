"""`bunchtrain campaign page`: one file of the campaigns' state now, or a page that follows it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bunchtrain.files import disk_errors, write_text
from bunchtrain.page.document import page
from bunchtrain.page.server import Server, serve
from bunchtrain.page.state import Watched
from bunchtrain.provenance import check_target


def show(
    files: Sequence[Path],
    out: Path | None,
    *,
    live: bool,
    host: str = "127.0.0.1",
    port: int = 0,
    guarded: bool = False,
) -> None:
    """Write the page of some campaigns, serve it, or both.

    Parameters
    ----------
    files : sequence of path
        Campaign files.
    out : path or None
        HTML file to write.
    live : bool
        Whether it is served.
    host, port, guarded
        Of the server.

    Raises
    ------
    BunchtrainError
        If a file does not describe a campaign, the page cannot be written, or the address cannot be had.
    InputError
        If the page would be written over something else.
    """
    if out is not None:
        check_target(out, ".html")
    watched = Watched(files)
    server = Server(watched, host, port, guarded=guarded) if live else None
    if out is not None:
        with disk_errors(out):
            write_text(out, page(watched.title, watched.state())[0])
        print(f"[page] {out}", flush=True)
    if server is not None:
        serve(server)
