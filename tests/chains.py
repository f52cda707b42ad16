"""A campaign in name only: every output stands where it should, with a record, and holds a word or two."""

import json
from collections.abc import Mapping
from pathlib import Path

import yaml

from bunchtrain import provenance, zips
from bunchtrain.config.campaign import load_campaign
from bunchtrain.dag import Plan
from bunchtrain.files import read_json, write_json

MINI = Path(__file__).parent / "workflow" / "mini.yaml"

FIGURES = {"auc": {"value": 0.9, "error": 0.01}, "working_points": [{"efficiency": 0.3, "rejection": 27.0}]}
CORE = {"resources": {"lut": 1343, "seconds": 12.0}, "timing": {"latency_cycles": 5}, "seconds": {"total": 9.0}}


def wrote(plan: Plan, stage: str, outputs: Mapping[str, object], inputs: list[str], about=None, **which) -> None:
    """Write the outputs of a stage below the present folder, as it would."""
    for name, content in outputs.items():
        path = Path(plan.output) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            path.write_text(content)
        elif content is not None:  # else it is there
            write_json(path, content)
    paths = [Path(plan.output) / name for name in outputs]
    spec = json.loads(plan.spec(stage, **which)) | ({"part": [1, 1]} if stage == "convert" else {})
    provenance.record(paths, stage=stage, spec=spec, inputs=inputs, about=about)


def campaign(folder: Path, monkeypatch, changes: Mapping | None = None, data: str = "top") -> Path:
    """Lay out a finished campaign in `folder`, which becomes the present one; return its file."""
    folder.mkdir()
    monkeypatch.chdir(folder)
    Path("data/top").mkdir(parents=True)
    Path("data/top/a.root").write_text(data)
    Path("campaign.yaml").write_text(yaml.safe_dump({**yaml.safe_load(MINI.read_text()), **(changes or {})}))
    file = Path("campaign.yaml")
    plan = Plan(load_campaign(file).model_dump(mode="json", exclude_none=True), file)
    out = plan.output
    for shard in ("0000", "0001"):
        wrote(plan, "simulate", {f"simulate/qcd/{shard}.root": f"qcd {shard}"}, [], sample="qcd", shard=shard)
    made = [f"{out}/simulate/qcd/{shard}.root" for shard in ("0000", "0001")]
    for name, inputs in {"qcd": made, "top": ["data/top/a.root"]}.items():
        about = {path: {"tree": "jets", "entries": [0, 400]} for path in inputs}
        converted = {f"convert/{name}/0000.h5": f"{name} {data}", f"convert/{name}/0000.json": {"sample": name}}
        wrote(plan, "convert", converted, inputs, about, sample=name)
    shards = [f"{out}/convert/{name}/0000.h5" for name in ("qcd", "top")]
    prepared = {"prepare/dataset.h5": "index", "prepare/scaler.json": {"mean": 1}, "prepare/summary.json": {"jets": 2}}
    wrote(plan, "prepare", prepared, shards)
    dataset = [f"{out}/prepare/dataset.h5", f"{out}/prepare/scaler.json"]
    _end(plan, dataset)
    Path(out, "logs").mkdir()
    return file


def _end(plan: Plan, dataset: list[str]) -> None:
    out = plan.output
    wrote(plan, "train", {"scan/trials/0000/model.safetensors": "trial"}, dataset, number="0")
    wrote(plan, "scan", {"scan/best.json": {"values": {}}, "scan/results.csv": "a,b\n"}, dataset)
    trained = {"train/seed0/model.safetensors": "weights", "train/seed0/model.json": {"model": "gnn"}}
    wrote(plan, "train", trained, [*dataset, f"{out}/scan/best.json"], number="0")
    model = [f"{out}/train/seed0/model.safetensors", f"{out}/train/seed0/model.json"]
    judged = {"evaluate/metrics.json": FIGURES, "evaluate/predictions.h5": "scores"}
    wrote(plan, "evaluate", judged, [dataset[0], *model])
    core = {"made_from": provenance.ancestry([dataset[0], *model])}
    Path(out, "synthesize").mkdir()
    zips.write(Path(out, "synthesize/core.zip"), {"mini_tagger/provenance.json": json.dumps(core).encode()})
    wrote(plan, "synthesize", {"synthesize/report.json": CORE, "synthesize/core.zip": None}, [dataset[0], *model])
    ends = ["evaluate/metrics.json", "synthesize/report.json", "synthesize/core.zip", "scan/best.json"]
    wrote(plan, "report", {"report.html": "<html>"}, [f"{out}/{name}" for name in ends])


def edit(output: Path, reseal: bool = False, **changes: object) -> None:
    """Change what the record of an output says, as a forger would with `reseal`."""
    entry = {**read_json(provenance.record_path(output)), **changes}
    write_json(provenance.record_path(output), {**entry, "seal": provenance.seal(entry)} if reseal else entry)
