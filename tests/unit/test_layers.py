"""The house plan's import rules, read from the source."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "src" / "bunchtrain"
GROUND = {
    "errors",
    "files",
    "registry",
    "maxwell",
    "provenance",
    "progress",
    "calibration",
    "calorimeter",
    "conformal",
    "discrimination",
    "dropout",
    "levels",
    "panels",
    "pareto",
    "posterior",
    "rounding",
    "sealing",
    "store",
    "geometry",
    "trackfinding",
    "zips",
}
SHARED = {"config", "events", "models", "tasks", "parallel", "sampling"}
STAGES = {"simulate", "convert", "prepare", "scan", "train", "evaluate", "synth", "report", "scaling", "hunt", "sample"}
ALLOWED = {
    **{name: GROUND for name in GROUND},
    "config": GROUND | {"config"},
    "events": GROUND | {"config", "events"},
    "models": GROUND | {"config", "models"},
    "tasks": GROUND | {"config", "tasks"},
    "parallel": GROUND | {"config", "parallel"},
    "sampling": GROUND | {"config", "events", "models"},
    **{stage: GROUND | {*SHARED, stage} for stage in STAGES},
}
HOMES = {
    "uproot": {"convert", "simulate", "unblind"},
    "awkward": {"convert", "simulate"},
    "pythia8mc": {"simulate"},
    "fastjet": {"simulate"},
    "horovod": {"parallel"},
    "deephyper": {"scan"},
    "hls4ml": {"synth"},
    "alkaid": {"synth"},
    "matplotlib": {"report"},
    "snakemake": set(),
}


def imports():
    for path in sorted(PACKAGE.rglob("*.py")):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from ((path, room, alias.name, "") for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: relative import"
                yield from ((path, room, node.module, alias.name) for alias in node.names)


def test_data_flows_one_way():
    seen = 0
    for path, room, module, name in imports():
        if not module.startswith("bunchtrain") or room not in ALLOWED:
            continue
        target = module.split(".")[1] if "." in module else name
        seen += 1
        assert target in ALLOWED[room], f"{path.relative_to(PACKAGE)} imports {target}"
    assert seen > 50


def test_every_third_party_has_one_home():
    for path, room, module, _ in imports():
        homes = HOMES.get(module.split(".")[0])
        assert homes is None or room in homes, f"{path.relative_to(PACKAGE)} imports {module}"


def test_boxes_are_sealed_by_simulate_and_opened_by_unblind_alone():
    """Nor does anything else know what a box hides: neither the seal's module nor the box's is imported elsewhere."""
    knowing = {"bunchtrain.sealing", "bunchtrain.simulate.boxes", "bunchtrain.unblind.answer"}
    seen = {}
    for path, _, module, name in imports():
        for one in {module, f"{module}.{name}"} & knowing:
            seen.setdefault(one, set()).add(str(path.relative_to(PACKAGE)))
    assert seen == {
        "bunchtrain.sealing": {"simulate/boxes.py", "unblind/answer.py"},
        "bunchtrain.simulate.boxes": {"simulate/run.py"},
        "bunchtrain.unblind.answer": {"unblind/run.py", "unblind/score.py"},
    }
    opening = [path for path in PACKAGE.rglob("*.py") if "sealing.opened" in path.read_text()]
    assert opening == [PACKAGE / "unblind/answer.py"]
    told = [
        path for path in PACKAGE.rglob("*.py") if "import unblind" in path.read_text() or ".unblind" in path.read_text()
    ]
    assert {path.relative_to(PACKAGE).parts[0] for path in told} == {"unblind", "look_cli.py"}


@pytest.mark.parametrize("module", ["bunchtrain.cli", "bunchtrain.dag"])
def test_parsing_the_dag_imports_nothing_heavy(module):
    code = (
        f"import sys, yaml, {module}\n"
        "from bunchtrain.dag import Plan\n"
        "Plan(yaml.safe_load(open('config/config.yaml')), 'config/config.yaml').spec('train', number='0')\n"
        "print(*({'torch', 'uproot', 'awkward', 'h5py', 'deephyper', 'hls4ml', 'matplotlib'} & set(sys.modules)))"
    )
    root = PACKAGE.parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == ""


def test_a_campaign_whose_format_has_no_jets_is_refused_without_anything_heavy():
    code = (
        "import sys, yaml\n"
        "from bunchtrain.dag import Plan\n"
        "from bunchtrain.errors import CampaignError\n"
        "values = yaml.safe_load(open('config/config.yaml'))\n"
        "values['convert']['format'] = {'kind': 'calorimeter'}\n"
        "try: Plan(values, 'c.yaml')\n"
        "except CampaignError as error: print(error.details['key'])\n"
        "print(*({'torch', 'uproot', 'awkward', 'h5py'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parents[1]
    )
    assert done.stdout.split() == ["convert.format.kind"]
