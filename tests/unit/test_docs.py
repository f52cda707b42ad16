"""What the pages say is true: keys and defaults, links, commands, the worked example."""

import functools
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

import pytest
import typer
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from bunchtrain import registry
from bunchtrain.cli import app
from bunchtrain.config.base import Kind
from bunchtrain.config.campaign import KINDS, NAMED_KINDS, Campaign, parse_campaign

ROOT = Path(__file__).parents[2]
CAMPAIGN_PAGE = ROOT / "config" / "README.md"
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    CAMPAIGN_PAGE,
    *sorted((ROOT / "docs").rglob("*.md")),
]
ENVIRONMENT = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "COLUMNS": "200"}


def rows(part: str) -> dict[str, list[str]]:
    """Cells of a part's table by key."""
    found = re.findall(r"^\| `([^`]+)` \| (.+) \| (.+) \| (.+) \|$", part, re.MULTILINE)
    return {key: list(cells) for key, *cells in found}


@functools.cache
def parts() -> dict[str, dict[str, list[str]]]:
    """Tables of the campaign's page by heading."""
    chunks = re.split(r"^##+ (.+)$", CAMPAIGN_PAGE.read_text(), flags=re.MULTILINE)
    return {heading: rows(text) for heading, text in zip(chunks[1::2], chunks[2::2], strict=True)}


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """Models inside `Model`, `Model | None`, `dict[str, Model]` and the like."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in models_in(argument)]


def leaves(model: type[BaseModel], prefix: str = "") -> list[tuple[str, FieldInfo]]:
    """Return the keys of a section as the page writes them, with their fields."""
    found: list[tuple[str, FieldInfo]] = []
    for name, field in model.model_fields.items():
        inner, key = models_in(field.annotation), prefix + name
        if not inner or inner == [Kind]:
            found.append((key, field))
        elif get_origin(field.annotation) is dict:
            found.append((key, field))
            found += [row for one in inner for row in leaves(one, f"{key}.<key>.")]
        else:
            optional = get_origin(field.annotation) in (Union, UnionType)
            found += [(key, field)] if optional else []
            found += leaves(inner[0], f"{key}.")
    return found


def campaign_keys() -> list[tuple[str, str, FieldInfo]]:
    """Heading, key and field of all that a campaign may say outside the kinds' options."""
    found = []
    for name, field in Campaign.model_fields.items():
        inner = models_in(field.annotation)
        if not inner:
            found.append(("The campaign", name, field))
        elif inner == [Kind] and get_origin(field.annotation) is dict:
            found.append((f"`{name}`", "<source>.<variation>.kind", Kind.model_fields["kind"]))
        elif inner == [Kind]:
            usual = field.get_default(call_default_factory=True)
            found.append((f"`{name}`", "kind", FieldInfo() if usual is None else FieldInfo(default=usual.kind)))
        else:
            prefix = "<name>." if get_origin(field.annotation) is dict else ""
            found += [(f"`{name}`", key, leaf) for key, leaf in leaves(inner[0], prefix)]
    return found


def kind_keys() -> list[tuple[str, str, FieldInfo]]:
    """Heading, key and field of the options of every kind."""
    return [
        (f"`{section}` of kind `{kind}`", name, field)
        for section, family in {**KINDS, **NAMED_KINDS}.items()
        if section != "baseline"  # whose kinds are the model's
        for kind in registry.kinds(family)
        for name, field in registry.declared(family, kind).model_fields.items()
    ]


KEYS = [*campaign_keys(), *kind_keys()]


def plain(value: Any) -> Any:
    """A default as YAML would give it."""
    return value.model_dump(mode="json", exclude_none=True) if isinstance(value, BaseModel) else value


def test_the_walk_reaches_every_section():
    assert {key for heading, key, _ in KEYS if heading == "`scan`"} >= {
        "space.<key>.low",
        "space.<key>.choices",
        "trials",
    }
    assert {heading for heading, *_ in KEYS} >= {f"`{name}`" for name in ("samples", "train", "report", "synthesize")}
    assert len(KEYS) > 80


@pytest.mark.parametrize(("heading", "key", "field"), KEYS, ids=[f"{heading}-{key}" for heading, key, _ in KEYS])
def test_every_key_is_explained_with_its_default(heading, key, field):
    kind, default, meaning = parts()[heading][key]
    assert kind.strip() and meaning.strip()
    if field.is_required():
        assert default == "-"
    else:
        assert yaml.safe_load(default.strip("`")) == plain(field.get_default(call_default_factory=True))


@pytest.mark.parametrize(("heading", "key", "field"), kind_keys(), ids=[f"{h}-{k}" for h, k, _ in kind_keys()])
def test_nested_options_of_a_kind_are_named(heading, key, field):
    for model in models_in(field.annotation):
        for name in model.model_fields:
            assert f"`{name}`" in parts()[heading][key][-1]


def test_no_key_is_explained_that_does_not_exist():
    known: dict[str, set[str]] = {}
    for heading, key, _ in KEYS:
        known.setdefault(heading, set()).add(key)
    assert {heading: set(table) for heading, table in parts().items() if table} == known


def test_the_table_of_kinds_is_complete():
    page = CAMPAIGN_PAGE.read_text()
    assert all(f"### `{section}` of kind" in page for section in {**KINDS, **NAMED_KINDS} if section != "baseline")


def links(page: Path) -> list[str]:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    found = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r"(?:src|href)=\"([^\"]+)\"", text)
    return [link for link in found if not re.match(r"[a-z]+:", link)]


LINKS = [(page, link) for page in PAGES for link in links(page)]


@pytest.mark.parametrize(("page", "link"), LINKS, ids=[f"{page.relative_to(ROOT)}-{link}" for page, link in LINKS])
def test_a_link_leads_somewhere(page, link):
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    assert target.exists()
    if anchor:
        headings = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
        assert anchor in [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]


def test_every_page_of_docs_is_on_the_map():
    named = {(ROOT / "docs" / link.partition("#")[0]).resolve() for link in links(ROOT / "docs" / "index.md")}
    assert {page for page in PAGES if (ROOT / "docs") in page.parents} - named == {ROOT / "docs" / "index.md"}


def code(page: Path) -> str:
    """All that stands in code on a page: blocks and spans."""
    text = page.read_text()
    fenced = re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    blocks = [block for language, block in fenced if language in ("", "console", "bash")]
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    return "\n".join([*blocks, *spans])


def verbs() -> set[str]:
    command = typer.main.get_command(app)
    groups = {name: getattr(inner, "commands", {}) for name, inner in command.commands.items()}
    return {*groups, *(f"{name} {verb}" for name, inner in groups.items() for verb in inner)}


def named_commands(page: Path) -> tuple[list[tuple[str, str]], list[str]]:
    """Verbs of bunchtrain, each with the word behind it, and targets of make that a page names in code."""
    start = r"(?:^|\$ |/|exec \S+ |&& )"
    lines = [line.strip() for line in code(page).splitlines()]
    verbs_ = [found for line in lines for found in re.findall(start + r"bunchtrain ([a-z][a-z-]*)(?: ([a-z]+))?", line)]
    return verbs_, [found for line in lines for found in re.findall(start + r"make ([a-z][a-z-]*)", line)]


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_every_command_that_a_page_names_exists(page):
    known, groups = verbs(), {verb.split()[0] for verb in verbs() if " " in verb}
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for verb, rest in named_commands(page)[0]:
        assert verb in known
        assert verb not in groups or f"{verb} {rest}" in known
    assert set(named_commands(page)[1]) <= targets


def test_the_readme_names_commands():
    found, targets = named_commands(ROOT / "README.md")
    assert {verb for verb, _ in found} >= {"check", "campaign", "doctor", "provenance"}
    assert {"demo", "test"} <= set(targets)


CHEAP = ("--help", "check", "doctor")


def cheap_commands() -> list[tuple[str, str]]:
    """What pages show after `$ bunchtrain`, with what the page shows below it, as far as it is a matter of moments."""
    found = []
    for page in PAGES:
        for block in re.findall(r"```console\n(.*?)```", page.read_text(), re.DOTALL):
            for command, shown in re.findall(r"^\$ bunchtrain (.+)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE):
                words = shlex.split(command)
                walked = "campaign.yaml" in words  # by tests/workflow/test_walked_pages.py
                if (words[0] in CHEAP and not walked) or "--help" in words:
                    found.append((command, shown))
    return found


@pytest.mark.parametrize(("command", "shown"), cheap_commands())
def test_a_cheap_command_does_what_the_page_shows(command, shown, tmp_path):
    (tmp_path / "config").symlink_to(ROOT / "config")
    mistaken = (ROOT / "config/config.yaml").read_text().replace("kind: gnn", "kind: gmn")
    (tmp_path / "mine.yaml").write_text(mistaken)
    done = subprocess.run(
        ["bunchtrain", *shlex.split(command)],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    output = done.stdout + done.stderr
    assert done.returncode == (2 if "error:" in shown else 0), output
    for line in shown.splitlines():
        assert line.strip() in ("", "...") or line.strip() in output, f"{line!r} is not in\n{output}"


def test_the_readmes_example_is_a_campaign():
    (block,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    campaign = parse_campaign({"name": "mine", "output": "results/mine", **yaml.safe_load(block)}, "README.md")
    assert campaign.classes == ["qcd", "top"]
    assert campaign.convert.format.checked("convert.formats", "convert.format")["run"] is None


def test_there_are_cheap_commands():
    assert {command.split()[0] for command, _ in cheap_commands()} >= {"check", "doctor", "--help"}


@pytest.fixture
def plugin(tmp_path):
    """The worked example of docs/architecture.md, installed as a package of its own."""
    page = (ROOT / "docs/architecture.md").read_text()
    (module,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    ((entry, kind),) = re.findall(r"```toml\n(.*?\n(\w+) = .*?)```", page, re.DOTALL)
    (group,) = re.findall(r'entry-points\."([^"]+)"', entry)
    (value,) = re.findall(rf'^{kind} = "([^"]+)"', entry, re.MULTILINE)
    package, _, name = value.rpartition(".")
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text("")
    (tmp_path / package / f"{name}.py").write_text(module)
    info = tmp_path / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{kind} = {value}\n")
    return kind, tmp_path / package / f"{name}.py", {**ENVIRONMENT, "PYTHONPATH": str(tmp_path)}


def test_the_worked_example_is_a_kind_of_model(plugin, tmp_path):
    kind, _, environment = plugin
    values = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    values["model"] = {"kind": kind, "hidden": 16}
    values["scan"]["space"] = {"model.hidden": {"low": 8, "high": 32}}
    campaign = tmp_path / "campaign.yaml"
    campaign.write_text(yaml.safe_dump(values))
    command = ["bunchtrain", "check", str(campaign)]
    with_plugin = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert with_plugin.returncode == 0, with_plugin.stderr
    without = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert without.returncode == 2 and kind in without.stderr


def test_the_worked_example_keeps_the_contract_of_models(plugin):
    kind, _, environment = plugin
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/contract/test_models.py", "-k", kind],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert int(re.findall(r"(\d+) passed", done.stdout)[0]) >= 7


def test_the_worked_example_is_formatted(plugin):
    _, file, environment = plugin
    config = ["--config", str(ROOT / "pyproject.toml")]
    for command in (["check", *config], ["format", "--check", *config]):
        done = subprocess.run(
            ["ruff", *command, str(file)], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout


def test_the_picture_of_the_chain_is_what_its_script_draws(tmp_path):
    script = ROOT / "docs/images/draw_dag.py"
    (tmp_path / "draw_dag.py").write_text(script.read_text())
    subprocess.run([sys.executable, str(tmp_path / "draw_dag.py")], check=True)
    assert (tmp_path / "dag.svg").read_text() == script.with_name("dag.svg").read_text()


def test_the_picture_counts_the_demos_jobs():
    from bunchtrain.dag import Plan

    plan = Plan(yaml.safe_load((ROOT / "config/config.yaml").read_text()), "config/config.yaml")
    campaign = plan.campaign
    shown = dict(re.findall(r'"(\w+)": Box\(.*"(\d+) \w+"\)\)', (ROOT / "docs/images/draw_dag.py").read_text()))
    files = sum(len(plan.files(name, group)) for name in campaign.samples for group in plan.groups(name))
    assert int(shown["simulate"]) == files
    assert int(shown["convert"]) == len(plan.converted())
    assert int(shown["scan"]) == campaign.scan.trials
    assert int(shown["train"]) == campaign.train.ranks
    assert all(f"rule {name}:" in (ROOT / f"workflow/rules/{name}.smk").read_text() for name in shown)


def test_the_spec_of_the_training_page_is_one():
    from bunchtrain.config.specs import TrainSpec, parse_spec
    from bunchtrain.train import VERSION
    from bunchtrain.train.run import _check_kinds

    block = re.search(r"```yaml\n(version.*?)```", (ROOT / "docs/training.md").read_text(), re.DOTALL).group(1)
    spec = parse_spec(TrainSpec, json.dumps(yaml.safe_load(block)))
    assert spec.version == VERSION and spec.settings.pieces == 2
    _check_kinds(spec)
