"""Pages of docs, walked as a reader would: their commands one after the other, in one folder."""

import re
import subprocess
from pathlib import Path

from minicampaign import ROOT


def steps(page: str) -> list[tuple[str, str]]:
    """Every command of a page's console blocks, with what the page shows below it."""
    text = (ROOT / "docs" / page).read_text()
    blocks = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    return [step for block in blocks for step in re.findall(r"^\$ (.+)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE)]


def walk(page, folder: Path, environment: dict, instead=(), before=None) -> dict[str, str]:
    """Run the commands; each must end as the page says, and print what it shows. Return what each printed.

    `# ends with 1` behind a command is what the page says of its exit status; an error that is shown stands for 2.

    Parameters
    ----------
    instead : sequence of (str, str)
        Words of the page, and what stands for them here.
    before : dict, optional
        What is done before a command that holds such words.
    """
    done_before, said = [], {}
    for command, shown in steps(page):
        here = command
        for words, others in instead:
            here = here.replace(words, others)
        for words, act in (before or {}).items():
            if words in command:
                act()
        script = "\n".join(["set -e", *done_before, here])
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        output = done.stdout + done.stderr
        ends = re.search(r"# ends with (\d)", command)
        expected = int(ends[1]) if ends else 2 if "error:" in shown else 0
        assert done.returncode == expected, f"{here}\n{output[-4000:]}"
        assert "Traceback" not in output, f"{here}\n{output[-4000:]}"
        for line in shown.splitlines():
            assert line.strip() in ("", "...") or line.strip() in output, f"{line!r} is not in\n{output[-4000:]}"
        if command.startswith(("export ", "eval ", "cd ")):
            done_before.append(here)
        said[command] = output
    return said
