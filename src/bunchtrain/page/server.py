"""The page's server: two fixed addresses, reading only, for this machine or for those who know a token."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from bunchtrain.errors import BunchtrainError
from bunchtrain.page.document import page, text
from bunchtrain.page.state import Watched

#: Seconds for which a state serves all who ask.
FRESH = 1.0

#: Beside each answer's own.
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Server(ThreadingHTTPServer):
    """Serves the page of some campaigns.

    Parameters
    ----------
    watched : Watched
        The campaigns.
    host : str
        Address to listen at. Other machines are answered only if it is not a loopback address.
    port : int
        0 takes a free one.
    guarded : bool
        Whether a token is demanded on a loopback address too; on others it always is.

    Raises
    ------
    BunchtrainError
        If the address cannot be had.
    """

    daemon_threads = True

    def __init__(self, watched: Watched, host: str = "127.0.0.1", port: int = 0, *, guarded: bool = False) -> None:
        self._watched, self._host = watched, host
        self.local = _is_loopback(host)
        self.token = secrets.token_urlsafe(32) if guarded or not self.local else None
        self._lock, self._made, self._state = threading.Lock(), -FRESH, ""
        self.page, policy = page(watched.title)
        self.policy = f"{policy}; frame-ancestors 'none'"
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), Handler)
        except OSError as error:
            key, found = ("--port", port) if isinstance(error, PermissionError) or port else ("--host", host)
            mend = "leave --port out to take a free one" if key == "--port" else "leave --host out"
            raise BunchtrainError(
                f"the page cannot be served there: {error.strerror}", key=key, found=found, mend=mend
            ) from None

    @property
    def address(self) -> str:
        """What to open in a browser, with the token if there is one."""
        host = socket.gethostname() if self._host in ("", "0.0.0.0", "::") else self._host
        shown = f"[{host}]" if ":" in host else host
        return f"http://{shown}:{self.server_port}/" + (f"?token={self.token}" if self.token else "")

    @property
    def cookie(self) -> str:
        """Name of the cookie that holds the token; servers on one machine share its cookies."""
        return f"bunchtrain-{self.server_port}"

    def state(self) -> str:
        """Return the campaigns' state as JSON, made when somebody asks and no more than once a second."""
        with self._lock:
            if time.monotonic() - self._made >= FRESH:
                self._state = text(self._watched.state())
                self._made = time.monotonic()
            return self._state

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of those who left before they had an answer."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: Server
    server_version, sys_version = "bunchtrain", ""
    timeout = 20

    def do_GET(self) -> None:
        """Answer with the page or the state."""
        path, _, query = self.path.partition("?")
        given = parse_qs(query).get("token", [""])[0]
        if not self._is_for_us():
            self._answer(403, f"this page is not served under the name {self.headers.get('Host')!r}\n")
        elif not (self._is_token(given) or self._is_token(self._kept())):
            self._answer(403, "the address of this page has a token, which its server has printed\n")
        elif path == "/":
            keep = f"{self.server.cookie}={self.server.token}; HttpOnly; SameSite=Strict; Path=/"
            headers = {"Content-Security-Policy": self.server.policy, **({"Set-Cookie": keep} if given else {})}
            self._answer(200, self.server.page, "text/html", headers)
        elif path == "/state.json":
            self._answer(200, self.server.state(), "application/json")
        else:
            self._answer(404, "there is / and /state.json\n")

    do_HEAD = do_GET

    def _refuse(self) -> None:
        self._answer(405, "this page is read only\n", headers={"Allow": "GET, HEAD"})

    do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_TRACE = do_CONNECT = _refuse

    def _is_for_us(self) -> bool:
        """Return whether a browser on this machine meant this machine, not a stranger's name that leads here."""
        return not self.server.local or _is_loopback(_without_port(self.headers.get("Host", "")))

    def _is_token(self, given: str) -> bool:
        return self.server.token is None or hmac.compare_digest(given.encode(), self.server.token.encode())

    def _kept(self) -> str:
        """Return the token that the browser has kept."""
        for part in self.headers.get("Cookie", "").split(";"):
            name, _, value = part.strip().partition("=")
            if name == self.server.cookie:
                return value
        return ""

    def _answer(self, status: int, body: str, kind: str = "text/plain", headers: dict[str, str] | None = None) -> None:
        content = body.encode()
        self.send_response(status)
        for name, value in {**_HEADERS, "Content-Security-Policy": "default-src 'none'", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what is no request without repeating any of it."""
        self.close_connection = True
        self._answer(code, "this is no request for this page\n")

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing: requests may hold the token."""


def serve(server: Server) -> None:
    """Serve until Ctrl-C."""
    print(f"[page] {server.address}", flush=True)
    if not server.local:
        print("[page] whoever has this address can read the campaigns; it travels unencrypted", flush=True)
    print("[page] Ctrl-C ends it", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print(flush=True)
    finally:
        server.server_close()


def _without_port(host: str) -> str:
    """Return the name in a Host header."""
    return host.partition("]")[0].removeprefix("[") if host.startswith("[") else host.partition(":")[0]


def _is_loopback(host: str) -> bool:
    """Return whether only this machine is meant."""
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
