"""What the sections of a campaign ask of one another: checked before any work starts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bunchtrain import registry
from bunchtrain.config import literals
from bunchtrain.config.anomalies import check_anomalies
from bunchtrain.config.asked import check_asked
from bunchtrain.config.barrel import Barrel
from bunchtrain.config.candidates import KEY, candidates, check_kinds
from bunchtrain.config.combinations import described, lies_in
from bunchtrain.config.hunt import check_hunt
from bunchtrain.config.objectives import NAMES, OF_CLASSES
from bunchtrain.config.prepare import Graph
from bunchtrain.config.samples import rows_of
from bunchtrain.config.scanned import check_scan
from bunchtrain.config.scanned import students as scanned_students
from bunchtrain.config.sources import generated
from bunchtrain.config.spaces import SPACE, check_spaces, searched
from bunchtrain.config.surrogates import check_surrogate
from bunchtrain.config.systematics import check_systematics
from bunchtrain.errors import CampaignError
from bunchtrain.levels import LEVELS

if TYPE_CHECKING:
    from bunchtrain.config.campaign import Campaign


_OF_LEVEL = dict(zip(LEVELS, ("whole jets", "single constituents", "pairs of constituents"), strict=True))


#: What networks answer with, in words.
_ANSWERS = {
    "classes": "classes",
    "latent": "a code and a reconstruction",
    "response": "quantities that follow from parameters",
}


def check_campaign(campaign: Campaign, file: str | Path) -> None:
    """Check what no section can check alone.

    Raises
    ------
    CampaignError
        Naming file, key, what was found and what would do.
    """
    check_scan(campaign, file)
    check_spaces(campaign, file)
    _check_rows(campaign, file)
    _check_classes(campaign, file)
    _check_network(campaign, file)
    _check_levels(campaign, file)
    _check_latent(campaign, file)
    check_anomalies(campaign, file)
    _check_baseline(campaign, file)
    _check_secrets(campaign, file)
    check_systematics(campaign, file)
    _check_generated(campaign, file)
    _check_graph(campaign, file)
    _check_dropout(campaign, file)
    _check_student(campaign, file)
    _check_ranks(campaign, file)
    check_asked(campaign, file)
    check_hunt(campaign, file)
    check_surrogate(campaign, file)


def _check_rows(campaign: Campaign, file: str | Path) -> None:
    """Check that the format gives the rows that the task learns from."""
    task, kind = campaign.task.kind, campaign.convert.format.kind
    wanted, given = registry.constant("tasks", task, "ROWS"), registry.constant("convert.formats", kind, "ROWS")
    if wanted is None or given in (None, wanted):
        return
    known = registry.kinds("convert.formats")
    fit = [one for one in known if registry.constant("convert.formats", one, "ROWS") == wanted]
    learning = [one for one in registry.kinds("tasks") if literals.rows("tasks", one) == given]
    by_hand = f"convert files of {given} by hand, with `bunchtrain convert`: no task learns from them"
    raise CampaignError(
        f"the format gives no {wanted}, which the task {task} learns from",
        file=file,
        key="convert.format.kind",
        found=f"{kind}, which gives {given}",
        expected=f"a format of {wanted}: {', '.join(fit)}",
        mend=f"take a task that learns from {given}: {', '.join(learning)}" if learning else by_hand,
    )


def _check_classes(campaign: Campaign, file: str | Path) -> None:
    """Check that a task that tells jets apart has jets of different classes."""
    found, of_classes = campaign.classes, literals.answers("tasks", campaign.task.kind) == "classes"
    if len(found) < 2 and literals.items(campaign.task.kind) == "jets" and of_classes:
        problem = "the samples must have at least two different labels"
        raise CampaignError(problem, file=file, key="samples", found=", ".join(found), mend="add a sample of another")


def _check_network(campaign: Campaign, file: str | Path) -> None:
    """Check that the network takes the rows that the task learns from."""
    task, kind = campaign.task.kind, campaign.model.kind
    if kind not in literals.taking(task) and literals.rows("models", kind) == literals.rows("tasks", task):
        raise CampaignError(
            f"the network does not answer with what the task {task} asks for",
            file=file,
            key="model.kind",
            found=f"{kind}, which answers with {_ANSWERS[literals.answers('models', kind)]}",
            expected=f"one of {', '.join(literals.taking(task))}, with {_ANSWERS[literals.answers('tasks', task)]}",
        )
    if kind not in literals.taking(task):
        raise CampaignError(
            f"the network takes no {literals.rows('tasks', task)}, which the task {task} has",
            file=file,
            key="model.kind",
            found=f"{kind}, which takes {literals.rows('models', kind)}",
            expected=f"one of {', '.join(literals.taking(task))}",
        )


def _check_graph(campaign: Campaign, file: str | Path) -> None:
    """Check that settings of graphs stand with events alone, and with the field that the events are simulated in."""
    prepare, rows = campaign.prepare, literals.rows("tasks", campaign.task.kind)
    of_events = rows == "events"
    if prepare.graph is not None and not of_events:
        mend = "take it out, or take a task that learns from events"
        raise CampaignError(f"{rows} have no graph of hits", file=file, key="prepare.graph", mend=mend)
    if not of_events:
        return
    prepare.refuse_keys_of_jets(file)
    field, own = (campaign.simulate.barrel or Barrel()).field, (prepare.graph or Graph()).field
    if field != own and any(one.generate is not None for one in campaign.samples.values()):
        raise CampaignError(
            "the graphs are made for another field than the events are simulated in",
            file=file,
            key="prepare.graph.field",
            found=f"{own} T",
            expected=f"{field} T, as simulate.barrel.field says",
        )


def _check_levels(campaign: Campaign, file: str | Path) -> None:
    """Check that the network has the answers that the task asks for, and a core, if one is asked for, too."""
    wanted, given = literals.wanted(campaign.task.kind), literals.given(campaign.model.kind)
    if missing := [level for level in wanted if level not in given]:
        raise CampaignError(
            f"the network has no answer for {_OF_LEVEL[missing[0]]}, which the task {campaign.task.kind} asks for",
            file=file,
            key="model.kind",
            found=campaign.model.kind,
            expected=f"one of {', '.join(literals.fitting(campaign.task.kind))}",
        )
    if "graph" not in wanted and campaign.synthesize != type(campaign.synthesize)():
        raise CampaignError(
            f"a core answers for whole jets, and the task {campaign.task.kind} asks for no such answer",
            file=file,
            key="synthesize",
            mend="take the section out: the chain ends in the report",
        )
    if not campaign.core and campaign.synthesize != type(campaign.synthesize)() and not campaign.scan.trials:
        problem, mend = "there are settings of a core, and no core is asked for", "take the section out, or core: false"
        raise CampaignError(problem, file=file, key="synthesize", mend=mend)


def _check_secrets(campaign: Campaign, file: str | Path) -> None:
    """Check that the network does not see the truth that it is to find."""
    task = campaign.task.checked("tasks", "task")
    for key in literals.secret(campaign.task.kind):
        for seen in ("inputs", "variables"):
            if task[key] in getattr(campaign.prepare, seen):
                raise CampaignError(
                    "the network would see the truth that it is to find",
                    file=file,
                    key=f"prepare.{seen}",
                    found=f"{task[key]}, which is task.{key}",
                    mend="take it out, or name the column that is the truth",
                )
    if literals.unlabelled(campaign.task.kind) and campaign.prepare.reweight is not None:
        problem, mend = "weights by class are labels, and this task learns without", "take the section out"
        raise CampaignError(problem, file=file, key="prepare.reweight", mend=mend)


def _check_latent(campaign: Campaign, file: str | Path) -> None:
    """Check that a task without classes is not asked for what follows from classes alone."""
    if literals.answers("tasks", campaign.task.kind) != "latent":
        return
    task, usual = campaign.task.kind, type(campaign)
    for key in ("baseline", "systematics", "synthesize"):
        if getattr(campaign, key) != usual.model_fields[key].get_default(call_default_factory=True):
            problem, mend = f"the task {task} tells no classes apart, on which this rests", "take the section out"
            raise CampaignError(problem, file=file, key=key, mend=mend)
    fit = [name for name in NAMES if name not in OF_CLASSES]
    for name in campaign.scan.objectives:
        if campaign.scan.trials and name in OF_CLASSES:
            problem = f"the task {task} tells no classes apart, on which an objective rests"
            raise CampaignError(problem, file=file, key="scan.objective", found=name, choices=fit)
    if not campaign.unfamiliar:
        problem, mend = "there is nothing to be found", "name samples under unfamiliar, on which the score is judged"
        raise CampaignError(problem, file=file, key="unfamiliar", mend=mend)


def _check_baseline(campaign: Campaign, file: str | Path) -> None:
    """Check that a baseline can be judged beside the network: by its answers for jets, with MC dropout."""
    if campaign.baseline is None:
        return
    kind = campaign.baseline.kind
    if literals.answers("tasks", campaign.task.kind) == "response":
        return
    if literals.items(campaign.task.kind) != "jets":
        problem = f"the task {campaign.task.kind} has baselines of its own"
        raise CampaignError(problem, file=file, key="baseline", found=kind, mend="take the section out")
    if "graph" not in literals.given(kind):
        problem = "the baseline has no answer for whole jets"
        fit = [one for one in literals.taking(campaign.task.kind) if "graph" in literals.given(one)]
        raise CampaignError(problem, file=file, key="baseline.kind", found=kind, expected=f"one of {', '.join(fit)}")
    if campaign.baseline.checked("models", "baseline").get("dropout") == 0:
        problem, expected = "the evaluation's MC dropout needs a network with dropout", "a number above 0, e.g. 0.1"
        raise CampaignError(problem, file=file, key="baseline.dropout", found=0, expected=expected)


def _check_generated(campaign: Campaign, file: str | Path) -> None:
    """Check that the format reads the rows that the generator makes."""
    kind = campaign.convert.format.kind
    given = registry.constant("convert.formats", kind, "ROWS")
    for source, generate in generated(campaign, file).values():
        if given is None:
            continue
        process = generate.process
        wanted = rows_of(process)
        if given != wanted:
            fit = {"events": "hits", "showers": "calorimeter", "responses": "response", "jets": "ntuple"}[wanted]
            raise CampaignError(
                f"the process {process} makes {wanted}, which the format does not read",
                file=file,
                key=f"{source.key}.generate.process",
                found=f"{process}, with format {kind} of {given}",
                expected=f"convert.format.kind: {fit}",
                mend=f"all samples of a campaign share one format: {wanted} and {given} take a campaign each",
            )


def _check_dropout(campaign: Campaign, file: str | Path) -> None:
    """Check that MC dropout has dropout to switch on, whatever the scan takes."""
    if "dropout" not in registry.declared("models", campaign.model.kind).model_fields:
        return
    dimension = campaign.scan.space.get("model.dropout")
    problem = "the evaluation's MC dropout needs a network with dropout"
    if campaign.model.checked("models", "model")["dropout"] == 0:
        raise CampaignError(problem, file=file, key="model.dropout", found=0, expected="a number above 0, e.g. 0.1")
    if dimension is not None and campaign.scan.trials and lies_in(0, dimension):
        expected = "numbers above 0, e.g. from 0.01"
        found = described(dimension)
        raise CampaignError(problem, file=file, key="scan.space.model.dropout", found=found, expected=expected)


def _check_student(campaign: Campaign, file: str | Path) -> None:
    students = [("synthesize.student", campaign.synthesize.student)]
    students += [(f"{SPACE}.{name}", one) for name, one in searched(campaign, file)]
    students += [(f"scan.space.{name}", one) for name, _, one in scanned_students(campaign, file)]
    students += [(f"{KEY}.{name}", one) for name, one in candidates(campaign.synthesize, file).items()]
    check_kinds(campaign.synthesize.student, file, "synthesize.student")
    kept = campaign.prepare.constituents
    for key, student in students:
        if student.constituents <= kept:
            continue
        raise CampaignError(
            "the student sees more constituents than the prepared jets keep",
            file=file,
            key=f"{key}.constituents",
            found=student.constituents,
            expected=f"at most {kept}, which prepare.constituents says",
        )


def _check_ranks(campaign: Campaign, file: str | Path) -> None:
    train = campaign.train
    if train.backend == "serial" and train.ranks > 1:
        raise CampaignError(
            "the serial backend has one rank",
            file=file,
            key="train.ranks",
            found=train.ranks,
            expected=1,
            mend="set train.ranks to 1, or train.backend to auto",
        )
    scanned = campaign.scan
    if scanned.trials and scanned.ranks * train.accumulation > train.batch_size:
        raise CampaignError(
            "a step has fewer jets than the ranks of an evaluation take pieces",
            file=file,
            key="scan.ranks",
            found=f"{scanned.ranks}, with train.accumulation {train.accumulation}",
            expected=f"ranks x accumulation of at most train.batch_size = {train.batch_size}",
        )
