"""Campaigns that never ran: their files as a run would have left them, for tests of what is read of them."""

import contextlib
import json
import threading
from pathlib import Path

import yaml

from bunchtrain.page.server import Server
from bunchtrain.page.state import Watched

ROOT = Path(__file__).parents[1]
BEGUN = 1_800_000_000.0
RULES = ("simulate", "convert", "prepare", "scan", "train", "evaluate", "synthesize", "report")


class Invented:
    """A campaign in a folder, which is the current one; events are added as a run would."""

    def __init__(self, folder, name="invented"):
        self.folder, self.file, self.output = folder, folder / f"{name}.yaml", f"results/{name}"
        self.results = folder / self.output
        values = yaml.safe_load((ROOT / "config/config.yaml").read_text())
        self.file.write_text(yaml.safe_dump({**values, "name": name, "output": self.output}))
        self._number = 0

    def write(self, name, text):
        path = self.results / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def note(self, event, time, **facts):
        path = self.results / "logs/course.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as stream:
            stream.write(json.dumps({"event": event, "time": time, **facts}) + "\n")

    def begin(self, plan, time=None, host="login1"):
        time = BEGUN if time is None else time
        self.note("run", time, host=host)
        self.note("plan", time, jobs={**plan, "total": sum(plan.values())})

    def start(self, rule, time, log="", **wildcards):
        """Start a job; return its number. `log` is what it has written."""
        self._number += 1
        path = f"logs/{rule}/{self._number}.log"
        if log:
            self.write(path, log)
        told = {"rule": rule, "output": [f"{rule}/{self._number}"], "log": [f"{self.output}/{path}"]}
        self.note("start", time, job=self._number, **told, wildcards=wildcards)
        return self._number

    def end(self, job, time):
        self.note("end", time, job=job)

    def fail(self, job, time, message=""):
        self.note("error", time, job=job, rule="", output=[], log=[], message=message)

    def done(self, rule, time, seconds, **wildcards):
        self.end(self.start(rule, time, **wildcards), time + seconds)

    def history(self, epochs, seed="seed0", done=True, offset=0.0):
        """A training's course: finished, or in the header of a checkpoint."""
        rows = [
            {
                "epoch": epoch,
                "train_loss": 0.3 + 0.6 / epoch**0.7 + offset,
                "validation_loss": 0.34 + 0.55 / epoch**0.7 + 0.0004 * epoch + offset,
                "validation_auc": 0.98 - 0.06 / epoch**0.8 - offset / 8,
            }
            for epoch in range(1, epochs + 1)
        ]
        if done:
            whole = {"rows": rows, "best_epoch": max(1, epochs - 2), "ranks": 2}
            return self.write(f"train/{seed}/history.json", json.dumps(whole))
        progress = {"epoch": epochs, "history": rows, "best_epoch": epochs - 1}
        header = json.dumps({"__metadata__": {"header": json.dumps({"progress": progress})}}).encode()
        path = self.results / f"train/{seed}/checkpoints/{'ab' * 8}/{epochs * 50:09d}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(len(header).to_bytes(8, "little") + header + b"weights")
        steps = "step,epoch,loss,learning_rate,gradient_norm,jets_per_second,waiting_for_data,communication,padding\n"
        row = f"{epochs * 50 + 20},{epochs + 1},0.41,0.001,2.1,{812.5 + epochs},0.01,0.2,0.1\n"
        self.write(f"train/{seed}/steps.csv", steps + row + row.replace("0.41", "0.32").strip())
        return path

    def journal(self, evaluations, wanted=None, going=0, seconds=20.0):
        """A scan's course; every seventh evaluation fails, every fifth is stopped."""
        lines = [{"event": "search", "fingerprint": "x"}]
        lines.append({"event": "run", "name": "scan", "slots": 4, "time": BEGUN + 100, "trials": wanted or evaluations})
        for number in range(evaluations + going):
            time = BEGUN + 100 + number // 4 * seconds
            values = {"model.hidden": 8 + number % 40, "train.learning_rate": 1e-4 * (1 + number % 17)}
            lines.append({"event": "ask", "trial": number, "values": values, "knew": None})
            lines.append({"event": "start", "trial": number, "slot": number % 4, "time": time})
            if number < evaluations:
                loss = 0.36 + 0.5 * ((number * 37 + 60) % 101) / 101 / (1 + number / 30) + 0.2 / (1 + number / 4)
                facts = {"validation_loss": loss, "validation_auc": 0.9, "stopped_at": 1 if number % 5 == 4 else None}
                failed = number % 7 == 6
                end = {"result": "F_crash", "facts": {}} if failed else {"result": -loss, "facts": facts}
                lines.append({"event": "end", "trial": number, "seconds": seconds, **end})
        return self.write("scan/journal.jsonl", "".join(json.dumps(line) + "\n" for line in lines))


def half_way(folder, name="invented", samples=40, bad=3):
    """Lay out a campaign in the middle of its run: simulated, converted with failures, in its scan and a training."""
    made = Invented(folder, name)
    made.begin({"simulate": samples, "convert": samples, **dict.fromkeys(RULES[2:], 1)})
    for number in range(samples):
        made.done("simulate", BEGUN + 2 * number, 9.0, sample="top", shard=f"{number:04d}")
    for number in range(samples - bad - 4):
        made.done("convert", BEGUN + 100 + number, 4.0 + number % 3, sample="top", group=f"{number:04d}")
    for number in range(bad):
        log = "reading\nerror: a ROOT file is truncated\n  file     cut.root\n  mend     fetch it again\n"
        job = made.start("convert", BEGUN + 150 + number, log=log, sample="wz", group=f"{number:04d}")
        made.fail(job, BEGUN + 155 + number)
    for number in range(2):
        made.start("convert", BEGUN + 160 + number, log="[convert] 3 of 8 files\n", sample="qcd", group=f"{number:04d}")
    return made


@contextlib.contextmanager
def serving():
    """Yield a way to serve campaigns; servers end with it."""
    started = []

    def start(*made, **options):
        server = Server(Watched([one.file for one in made]), **options)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        started.append(server)
        return server

    try:
        yield start
    finally:
        for server in started:
            server.shutdown()
            server.server_close()
