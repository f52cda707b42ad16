"""External programs: found, run with a time limit, their output kept in a log."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from bunchtrain.errors import MissingDependency, SynthesisError

#: Commercial programs that can turn HLS projects or RTL into a bit stream.
VENDOR_TOOLS = ("vitis-run", "vitis_hls", "vivado", "quartus_sh", "libero", "catapult", "aoc")

_TAIL = 12


def end_in_order() -> None:
    """Make SIGTERM, which batch systems send, end this process as an interrupt does: children and folders go too."""

    def end(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, end)


def find(name: str, *, needed_by: str, mend: str) -> Path:
    """Return the path of a program.

    Raises
    ------
    MissingDependency
        If it is not on PATH; `mend` is the command that installs it.
    """
    path = shutil.which(name)
    if path is None:
        raise MissingDependency(name, needed_by=needed_by, mend=mend)
    return Path(path)


def package_folder(name: str, *, needed_by: str) -> Path:
    """Return the folder of an installed Python package without importing it.

    Raises
    ------
    MissingDependency
        If it is not installed.
    """
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependency(name, needed_by=needed_by, mend="pip install 'bunchtrain[synth]'")
    return Path(spec.submodule_search_locations[0])


def package_version(name: str) -> str:
    """Return the version of an installed Python package, or `unknown`."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def first_line(command: Sequence[str | Path]) -> str:
    """Return the first line that a program prints, for its version; empty if it prints none."""
    try:
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (done.stdout.strip() or done.stderr.strip()).partition("\n")[0].strip()


def report(path: Path, name: str) -> str:
    """Return the text of a report that a tool should have written.

    Raises
    ------
    SynthesisError
        If it did not.
    """
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        problem, mend = f"{name} wrote no report", f"see {name.lower()}.log"
        raise SynthesisError(problem, file=path, found=error, mend=mend) from None


def vendor_tools() -> dict[str, str | None]:
    """Return where each vendor tool was found on PATH; None where it was not."""
    return {name: shutil.which(name) for name in VENDOR_TOOLS}


def run(
    command: Sequence[str | Path],
    *,
    name: str,
    cwd: Path,
    log: Path,
    timeout: float,
    environment: Mapping[str, str] | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Run a program; its output goes to `log`.

    Parameters
    ----------
    command : sequence
        Program and arguments; no shell reads them.
    name : str
        What to call it in an error.
    cwd, log : Path
        Folder it runs in, file it writes to.
    timeout : float
        Seconds after which it is stopped, with its children.
    environment : mapping, optional
        Variables beside those of this process.
    stop : Event, optional
        Setting it, from another thread, stops the program as the time limit does.

    Raises
    ------
    SynthesisError
        If it fails or takes too long; the end of the log is in the error.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as stream:
        process = subprocess.Popen(
            [str(word) for word in command],
            cwd=cwd,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = _wait(process, timeout, stop)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    if status is None:
        mend = "make the student smaller or raise the timeout"
        raise SynthesisError(f"{name} took longer than {timeout:g} s", file=log, found=_tail(log), mend=mend)
    if status != 0:
        raise SynthesisError(f"{name} failed with status {status}", file=log, found=_tail(log))


def _wait(process: subprocess.Popen[bytes], timeout: float, stop: threading.Event | None) -> int | None:
    """Return the exit status, or None when the time is up or `stop` is set."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline and not (stop is not None and stop.is_set()):
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(0.2)
    return None


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n    ".join(["the log ends with", *(line[:200] for line in lines[-_TAIL:])])
