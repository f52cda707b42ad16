"""The status page's server: who is answered, what with, and what is refused."""

import functools
import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import threading

import pytest

from bunchtrain.errors import BunchtrainError
from bunchtrain.page import server as servers
from invented import half_way, serving


@pytest.fixture
def serve(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = half_way(tmp_path, samples=10)
    with serving() as start:
        yield functools.partial(start, made)


def asked(server, path, method="GET", **headers):
    """Return status, headers and body of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, answer.headers, body


def test_the_page_and_its_state_are_all_there_is(serve, tmp_path):
    server = serve()
    (tmp_path / "page").write_text("secret")
    assert server.address == f"http://127.0.0.1:{server.server_port}/" and server.token is None
    status, headers, body = asked(server, "/")
    assert status == 200 and "data-live" in body and headers["Content-Type"] == "text/html; charset=utf-8"
    status, headers, body = asked(server, "/state.json?anything")
    assert status == 200 and json.loads(body)["campaigns"][0]["name"] == "invented"
    for path in ("/page", "/../page", "/%2e%2e/page", "//etc/passwd", "/state.json/", "/index.html", "x"):
        status, _, body = asked(server, path)
        assert status == 404 and body == "there is / and /state.json\n", path


def test_every_answer_forbids_what_a_page_could_do(serve):
    server = serve()
    for path in ("/", "/state.json", "/nothing"):
        _, headers, _ = asked(server, path)
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'") and "unsafe" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff" and headers["Cache-Control"] == "no-store"
        assert headers["Referrer-Policy"] == "no-referrer" and "Access-Control-Allow-Origin" not in headers
        assert "Python" not in headers["Server"]
    assert "frame-ancestors 'none'" in asked(server, "/")[1]["Content-Security-Policy"]


def test_only_reading_is_answered(serve):
    server = serve()
    status, headers, body = asked(server, "/", method="HEAD")
    assert status == 200 and body == "" and int(headers["Content-Length"]) > 10_000
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
        status, headers, _ = asked(server, "/", method=method)
        assert status == 405 and headers["Allow"] == "GET, HEAD", method
    status, _, body = asked(server, "/", method="<script>")
    assert status == 501 and "<" not in body


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("localhost:9000", 200),  # through a tunnel
        ("127.0.0.1:1", 200),
        ("[::1]:8080", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example:80", 403),
        ("localhost.evil.example", 403),
        ("0.0.0.0", 403),
        ("", 403),
    ],
)
def test_a_strangers_name_that_leads_here_is_refused(serve, host, status):
    assert asked(serve(), "/state.json", Host=host)[0] == status


def test_with_a_token_nobody_is_answered_without_it(serve):
    server = serve(guarded=True)
    token, name = server.token, server.cookie
    assert len(token) >= 43 and server.address.endswith(f"/?token={token}")
    for path in ("/", "/state.json", "/nothing", "/?token=", "/?token=x", f"/?token={token}x", f"/?other={token}"):
        assert asked(server, path)[0] == 403, path
    for cookie in (f"{name}=x", f"other={token}", f"{name}", "\xff=\xff", f"x{name}={token}"):
        assert asked(server, "/", Cookie=cookie)[0] == 403, cookie
    assert asked(server, "/?token=%ff%00%C3%A9")[0] == 403
    status, headers, body = asked(server, f"/?token={token}")
    assert status == 200 and token not in body
    assert headers["Set-Cookie"] == f"{name}={token}; HttpOnly; SameSite=Strict; Path=/"
    status, headers, _ = asked(server, "/state.json", Cookie=f"a=b; {name}={token}")
    assert status == 200 and "Set-Cookie" not in headers
    assert asked(server, f"/state.json?token={token}")[0] == 200
    assert serve(guarded=True).token != token


@pytest.mark.parametrize(("host", "guarded"), [("0.0.0.0", True), ("", True), ("localhost", False)])
def test_other_machines_need_a_token_always(serve, host, guarded):
    server = serve(host=host)
    assert (server.token is not None) == guarded
    assert asked(server, "/state.json", Host="any.example")[0] == 403
    if guarded:
        assert asked(server, f"/state.json?token={server.token}", Host="any.example")[0] == 200


def test_many_who_ask_get_one_state(serve, monkeypatch):
    server = serve()
    made = []
    monkeypatch.setattr(server._watched, "state", lambda: made.append(1) or {"campaigns": []})
    monkeypatch.setattr(servers, "FRESH", 60.0)
    server._made = -60.0
    threads = [threading.Thread(target=asked, args=(server, "/state.json")) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [1]


def test_junk_and_those_who_leave_do_no_harm(serve, capfd):
    server = serve()
    for junk in (b"\0\xff\n\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET " + b"x" * 70_000 + b"\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", server.server_port)) as wire:
            wire.sendall(junk)
            wire.shutdown(socket.SHUT_WR)
            answer = wire.recv(4000)
            assert b"<" not in answer and b"Traceback" not in answer
    for _ in range(3):
        socket.create_connection(("127.0.0.1", server.server_port)).close()
    assert asked(server, "/")[0] == 200
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize(("name", "value"), [("port", None), ("host", "192.0.2.1"), ("host", "no host")])
def test_an_address_that_cannot_be_had_is_told(serve, name, value):
    value = value or serve().server_port
    with pytest.raises(BunchtrainError, match="cannot be served there") as caught:
        serve(**{name: value})
    assert caught.value.details["key"] == f"--{name}" and caught.value.details["found"] == str(value)
    assert f"leave --{name} out" in caught.value.details["mend"]


def test_the_command_serves_until_it_is_interrupted(tmp_path):
    made = half_way(tmp_path, samples=10)
    command = [sys.executable, "-m", "bunchtrain", "campaign", "page", str(made.file), "--out", "now.html", "--serve"]
    heard = signal.signal(signal.SIGINT, signal.default_int_handler)  # also where the tests themselves do not listen
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        signal.signal(signal.SIGINT, heard)
        assert process.stdout.readline() == "[page] now.html\n"
        port = int(re.fullmatch(r"\[page\] http://127\.0\.0\.1:(\d+)/\n", process.stdout.readline())[1])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", "/state.json")
        assert json.load(connection.getresponse())["campaigns"][0]["course"]["failed"] == 3
        connection.close()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 0 and errors == ""
