"""A real browser without a window, told what to do over a pipe by Chromium's DevTools protocol."""

import fcntl
import json
import os
import select
import shlex
import shutil
import subprocess
import time

CHROMIUM = next((name for name in ("chromium", "chromium-browser", "google-chrome") if shutil.which(name)), None)


class Browser:
    """One tab; `errors` are exceptions and errors of its console."""

    def __init__(self, profile, width=1240):
        ours, theirs = os.pipe(), os.pipe()  # what it reads, what it writes
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 20) for end in (ours[0], theirs[1])]
        options = "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --remote-debugging-pipe"
        words = [CHROMIUM, *options.split(), f"--user-data-dir={profile}", f"--window-size={width},1800", "about:blank"]
        self._process = subprocess.Popen(
            ["bash", "-c", f"exec {shlex.join(words)} 3<&{ends[0]} 4>&{ends[1]}"],
            pass_fds=ends,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in (ours[0], theirs[1], *ends):
            os.close(end)
        self._to, self._from, self._rest, self._number = ours[1], theirs[0], b"", 0
        self.errors: list[str] = []
        (tab, *_) = [one for one in self._call("Target.getTargets")["targetInfos"] if one["type"] == "page"]
        self._session = self._call("Target.attachToTarget", targetId=tab["targetId"], flatten=True)["sessionId"]
        for domain in ("Runtime", "Log", "Page"):
            self.call(f"{domain}.enable")

    def call(self, method, **parameters):
        return self._call(method, self._session, **parameters)

    def _call(self, method, session=None, **parameters):
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        message |= {"sessionId": session} if session else {}
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
            self._note(answer)

    def _read(self, patience=60):
        end = time.monotonic() + patience
        while b"\0" not in self._rest:
            assert select.select([self._from], [], [], max(0, end - time.monotonic()))[0], "the browser does not answer"
            part = os.read(self._from, 1 << 20)
            assert part, "the browser has ended"
            self._rest += part
        line, _, self._rest = self._rest.partition(b"\0")
        return json.loads(line)

    def _note(self, event):
        told = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(told["exceptionDetails"]))
        elif event.get("method") == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert"):
            self.errors.append(json.dumps(told["args"]))
        elif event.get("method") == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.errors.append(told["entry"]["text"])

    def open(self, address):
        self.call("Page.navigate", url=str(address))
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def js(self, expression):
        """Return what an expression is in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def text(self, selector):
        return self.js(f"[...document.querySelectorAll({json.dumps(selector)})].map((one) => one.textContent)")

    def until(self, expression, patience=30):
        """Wait until an expression holds in the page."""
        end = time.monotonic() + patience
        while not self.js(expression):
            assert time.monotonic() < end, (expression, self.js("document.body.innerText")[:3000])
            time.sleep(0.1)

    def close(self):
        try:
            self._call("Browser.close")
        finally:
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            os.close(self._to)
            os.close(self._from)
