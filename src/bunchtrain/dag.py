"""What Snakemake needs to know of a campaign: the groups of files, and the narrow spec of every stage.

Parsing the DAG imports no torch, uproot or h5py: only the campaign's sections and the stages' VERSIONs.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from pathlib import Path
from typing import Any

from bunchtrain import convert, evaluate, hunt, prepare, report, scan, simulate, synth, train
from bunchtrain.config import literals, ranges
from bunchtrain.config.base import Kind
from bunchtrain.config.campaign import KINDS, Campaign, parse_campaign
from bunchtrain.config.candidates import candidates
from bunchtrain.config.convert import Columns
from bunchtrain.config.dijets import Dijets
from bunchtrain.config.evaluate import Evaluate
from bunchtrain.config.explain import checked_kind
from bunchtrain.config.hunt import hunted
from bunchtrain.config.inputs import Digests, is_remote
from bunchtrain.config.objectives import ASSESSED, OF_CORE
from bunchtrain.config.physics import Physics
from bunchtrain.config.prepare import Graph, Prepare
from bunchtrain.config.samples import BOX
from bunchtrain.config.simulate import read_by
from bunchtrain.config.sources import beside, sources
from bunchtrain.config.specs import (
    STUDENT,
    ConvertSpec,
    EvaluateSpec,
    HuntSpec,
    IndexSpec,
    PrepareSpec,
    ReportSpec,
    ScanSpec,
    SearchSpec,
    SensitivitySpec,
    SimulateSpec,
    Spec,
    SynthesizeSpec,
    SystematicsSpec,
    TrainSpec,
    VarySpec,
    as_text,
    of_student,
)
from bunchtrain.config.surrogates import surrogate
from bunchtrain.config.synthesize import Synthesize
from bunchtrain.config.systematics import Variation, variations
from bunchtrain.errors import CampaignError
from bunchtrain.groups import Group, check_length, cut, found

#: The verbs of the chain in its order, with their specs.
STAGES: dict[str, type[Spec]] = {
    "simulate": SimulateSpec,
    "convert": ConvertSpec,
    "prepare": PrepareSpec,
    "scan": ScanSpec,
    "train": TrainSpec,
    "evaluate": EvaluateSpec,
    "synthesize": SynthesizeSpec,
    "report": ReportSpec,
}


class Plan:
    """A checked campaign, seen by the DAG.

    Parameters
    ----------
    values : mapping
        The campaign, as Snakemake read it.
    file : path
        Where it came from, for messages.

    Raises
    ------
    CampaignError
        If the campaign cannot be done: before any job starts.
    """

    def __init__(self, values: Mapping[str, Any], file: str | Path) -> None:
        self.campaign: Campaign = parse_campaign(values, file)
        self.output = self.campaign.output
        self._file = file
        self.sources = sources(self.campaign, file)
        self.beside = beside(self.campaign)
        self._groups = {place: self._group(place) for place in self.sources}
        self.candidates = candidates(self.campaign.synthesize, file) if self.core else {}
        self._specs: dict[tuple[object, ...], str] = {}
        self._digests = Digests(Path(self.output) / "convert" / ".digests.jsonl")
        self._check_task()
        self._check_lengths()

    def _check_task(self) -> None:
        task = self._kind("task", self.campaign.task)
        for key in ("signal", "background"):
            if key in task and task[key] not in self.campaign.classes:
                raise CampaignError(
                    "the task names a class that no sample has",
                    file=self._file,
                    key=f"task.{key}",
                    found=task[key],
                    choices=self.campaign.classes,
                )

        for name in task.get("mixture", {}):
            backgrounds = [one for one in self.campaign.classes if one != task["signal"]]
            if name not in backgrounds:
                raise CampaignError(
                    "the score mixes a class that is no background",
                    file=self._file,
                    key="task.mixture",
                    found=name,
                    choices=backgrounds,
                )
        if "signal" in task and task["signal"] == task.get("background"):
            raise CampaignError(
                "signal and background are the same class",
                file=self._file,
                key="task.background",
                found=task["background"],
                expected=f"another class than the signal's: {', '.join(self.campaign.classes)}",
            )

    def _check_lengths(self) -> None:
        """Refuse groups of files that a command cannot take."""
        settings = self.campaign.convert
        for place in self._groups:
            for group in self._groups[place]:
                told = f"the files of one job of {self.sources[place].key}"
                check_length(group.files, told, settings, self._file)

    def _group(self, place: str) -> list[Group]:
        source, settings = self.sources[place], self.campaign.convert
        if source.origin.generate is None:
            return cut(found(source.origin.files, f"{source.key}.files", self._file), settings)
        made = ranges.word(f"{self.output}/simulate/{place}", source.origin.generate.shards, ".root")
        return cut([str(file) for file in ranges.files([made])], settings, made=True)

    def groups(self, sample: str) -> list[str]:
        """Return the names of a sample's groups of files, e.g. 0000."""
        return [ranges.number(place) for place in range(len(self._groups[sample]))]

    def files(self, sample: str, group: str) -> list[str]:
        """Return the ROOT files of one group that lie on this machine."""
        return [file for file in self._groups[sample][int(group)].files if not is_remote(file)]

    def remote(self, sample: str, group: str) -> list[str]:
        """Return the addresses of the ROOT files of one group that lie elsewhere."""
        return [file for file in self._groups[sample][int(group)].files if is_remote(file)]

    def part(self, sample: str, group: str) -> str:
        """Return which of how many ranges of entries of its files a group has, e.g. 2/5."""
        found = self._groups[sample][int(group)]
        return f"{found.number}/{found.parts}"

    def size(self, sample: str, group: str) -> float | None:
        """Return the bytes that the conversion of a group reads; None if a file cannot be looked at."""
        found = self._groups[sample][int(group)]
        try:
            return sum(Path(name).stat().st_size for name in found.files) / found.parts
        except OSError:
            return None

    def has(self, wildcards: Mapping[str, str]) -> bool:
        """Return whether the campaign has what the wildcards of a job name."""
        named: dict[str, Container[str]] = {
            "sample": self.sources,
            "candidate": self.candidates,
            "beside": self.beside,
            "source": self.campaign.systematics,
            "box": self.campaign.boxes,
        }
        if not all(value in named[name] for name, value in wildcards.items() if name in named):
            return False
        counts = {"number": self.campaign.train.seeds}
        if "sample" in wildcards:
            generate = self.sources[wildcards["sample"]].origin.generate
            counts |= {"group": len(self._groups[wildcards["sample"]]), "shard": generate.shards if generate else 0}
        numbers = {name: value for name, value in wildcards.items() if name in counts}
        return all(value.isdecimal() and int(value) < counts[name] for name, value in numbers.items())

    def digests(self, sample: str, group: str) -> list[str]:
        """Return the digests of a group's files where they are the user's; none where they are generated.

        Beside the spec they make a job run again when the content of a file has changed, whatever its time says.
        """
        generate = self.sources[sample].origin.generate
        return [] if generate is not None else self._digests.of(self.files(sample, group))

    def converted(self, places: Iterable[str] | None = None) -> list[str]:
        """Return the HDF5 shards of some sources, or of the campaign's samples."""
        names = self.campaign.samples if places is None else places
        return [f"{self.output}/convert/{name}/{group}.h5" for name in names for group in self.groups(name)]

    def shards(self, places: Iterable[str] | None = None, suffix: str = ".h5") -> list[str]:
        """Return the same in a word for each source, as commands take them; or what stands beside them as `suffix`."""
        names = self.campaign.samples if places is None else places
        return [ranges.word(f"{self.output}/convert/{name}", len(self._groups[name]), suffix) for name in names]

    def trainings(self) -> list[str]:
        """Return the folders of the trainings, one per seed."""
        return [f"{self.output}/train/seed{number}" for number in range(self.campaign.train.seeds)]

    @property
    def core(self) -> bool:
        """Whether the chain ends in a core: one answers for whole jets, and its student learns with labels."""
        task = self.campaign.task.kind
        of_classes = literals.answers("tasks", task) == "classes" and not literals.unlabelled(task)
        return self.campaign.core and of_classes and "graph" in literals.wanted(task)

    @property
    def searched(self) -> bool:
        """Whether students are searched for."""
        return self.core and self.campaign.synthesize.search is not None

    @property
    def scans_student(self) -> bool:
        """Whether the scan says which student is synthesised."""
        scanned = self.campaign.scan
        return bool(scanned.trials) and any(name.startswith(STUDENT) for name in scanned.space)

    def scan_nodes(self) -> dict[str, int | str]:
        """Return the resources by which the scan's job asks Slurm for several nodes; none where one is enough.

        With `mpi` Snakemake's plugin does not start the job as a step, which would hold the first node's cores.
        """
        scanned = self.campaign.scan
        if scanned.nodes == 1:
            return {}
        cores = scanned.per_node * scanned.ranks
        return {"nodes": scanned.nodes, "tasks": scanned.nodes, "cpus_per_task": cores, "mpi": "srun"}

    def ends(self) -> list[str]:
        """Return the files that the chain ends in."""
        core = [f"{self.output}/synthesize/core.zip"] if self.core else []
        return [*core, f"{self.output}/report.html"]

    def unfamiliar(self) -> dict[str, str]:
        """Return the indices of the samples of no class, by name."""
        return {name: f"{self.output}/unfamiliar/{name}/dataset.h5" for name in self.campaign.unfamiliar}

    def baseline(self) -> str | None:
        """Return the folder of the baseline's training, if there is one."""
        return None if self.campaign.baseline is None else f"{self.output}/train/baseline"

    def boxes(self) -> list[str]:
        """Return the names of the black boxes."""
        return list(self.campaign.boxes)

    def files_of_box(self, name: str) -> list[Path]:
        """Return the ROOT files of a black box."""
        return [Path(file) for group in self.groups(f"boxes/{name}") for file in self.files(f"boxes/{name}", group)]

    def varied(self) -> list[str]:
        """Return the folders of the variations."""
        return [f"{self.output}/{one.folder}" for one in variations(self.campaign)]

    def varied_dataset(self, source: str, variation: str) -> str:
        """Return the index of the jets that a variation shows the network: the campaign's, or its own."""
        folder = Variation(source, variation, self.campaign.systematics[source][variation]).folder
        return f"{self.output}/{folder if folder in self.beside else 'prepare'}/dataset.h5"

    def spec(self, stage: str, **wildcards: str) -> str:
        """Return what a stage reads of the campaign, as JSON text; the same text reruns nothing."""
        key = (stage, *wildcards.items())
        if key not in self._specs:  # one text for all jobs of a sample
            self._specs[key] = as_text(getattr(self, f"_{stage}")(**wildcards))
        return self._specs[key]

    def _kind(self, key: str, kind: Kind) -> dict[str, Any]:
        return checked_kind(kind, KINDS[key], key, self._file)

    def _simulate(self, sample: str, shard: str) -> SimulateSpec:
        source = self.sources[sample]
        generate, settings = source.origin.generate, source.simulate
        if generate is None:
            raise CampaignError("a sample with files is not generated", file=self._file, key=source.key)
        return SimulateSpec(
            version=simulate.VERSION,
            sample=source.name,
            process=generate.process,
            shard=int(shard),
            jets=generate.rows_per_shard,
            seed=self.campaign.seed,
            settings=read_by(generate.process, settings),
            shards=generate.shards if generate.process == BOX else None,
        )

    def _convert(self, sample: str) -> ConvertSpec:
        settings, classes, source = self.campaign.convert, self.campaign.classes, self.sources[sample]
        return ConvertSpec(
            version=convert.VERSION,
            sample=source.name,
            **source.labels(classes),
            classes=classes,
            format=self._kind("convert.format", settings.format),
            columns=Columns(derive=settings.derive, select=settings.select, systematics=settings.systematics),
            step_size=settings.step_size,
            on_bad_file=settings.on_bad_file,
        )

    def _prepare(self) -> PrepareSpec:
        campaign = self.campaign
        settings = campaign.prepare
        if literals.rows("tasks", campaign.task.kind) == "events":
            settings = settings.model_copy(update={"graph": settings.graph or Graph()})
        return PrepareSpec(version=prepare.VERSION, classes=campaign.classes, seed=campaign.seed, settings=settings)

    def _index(self, beside: str) -> IndexSpec:
        """Return the spec of an index beside the training: of `prepare` what the network sees, and no more."""
        seen = {key: getattr(self._prepare().settings, key) for key in ("constituents", "inputs", "variables", "graph")}
        settings = Prepare().model_copy(update=seen)
        spec = IndexSpec(version=prepare.VERSION, classes=self.campaign.classes, settings=settings)
        if beside.startswith(("unfamiliar/", "boxes/")):
            return spec
        split = settings.model_copy(update={"split": self.campaign.prepare.split})
        return spec.model_copy(update={"settings": split, "seed": self.campaign.seed})

    def _train(self, number: str = "0") -> TrainSpec:
        campaign, task = self.campaign, self._kind("task", self.campaign.task)
        judged = literals.judged(campaign.task.kind)
        return TrainSpec(
            version=train.VERSION,
            seed=campaign.seed + int(number),
            task={key: value for key, value in task.items() if key not in judged},
            model=self._kind("model", campaign.model),
            settings=campaign.train.model_copy(update={"seeds": 1}),  # one of them: more seeds leave it as it is
            variations=[one.checked(self._file) for one in variations(campaign) if one.source in campaign.train.vary],
            physics=(campaign.physics or Physics()) if surrogate(campaign) else None,
        )

    def _baseline(self) -> TrainSpec:
        """Return the spec of the baseline's training: the same, for answers about jets alone."""
        training = self._train()
        alone = literals.alone(self.campaign.task.kind)
        if self.campaign.baseline is None:
            raise CampaignError("the campaign has no baseline", file=self._file, key="baseline")
        model = self._kind("baseline", self.campaign.baseline)
        physics = training.physics.loose if training.physics else None  # beside which constraints are judged
        return training.model_copy(update={"task": {**training.task, **alone}, "model": model, "physics": physics})

    def _scan(self) -> ScanSpec:
        """Return the scan's spec; settings of the final training that its evaluations override do not count."""
        training, scanned = self._train(), self.campaign.scan
        settings = training.settings.model_copy(update=scanned.short(training.settings.backend))
        asked = scanned.model_copy(update={"nodes": 1})  # where it runs changes nothing
        wanted = set(scanned.objectives) if scanned.trials else set()
        return ScanSpec(
            version=scan.VERSION,
            settings=asked,
            training=training.model_copy(update={"settings": settings}),
            judged=self._assess() if wanted & ASSESSED else None,
            core=self._estimated() if wanted & OF_CORE else None,
        )

    def _assess(self) -> EvaluateSpec:
        """Return how trainings of the scan are judged: of `evaluate` what a single pass is asked, and no more."""
        judged, scanned = self._evaluate(), self.campaign.scan
        point = scanned.working_point or judged.settings.working_points[0]
        asked = {"working_points": [point], "bins": judged.settings.bins}
        return judged.model_copy(update={"settings": Evaluate().model_copy(update=asked)})

    def _estimated(self) -> SynthesizeSpec:
        """Return the core whose student the scan estimates, without what an estimate does not read."""
        core = self._synthesize()
        idle = {key: Synthesize.model_fields[key].default for key in ("working_points", "auc_loss")}
        return core.model_copy(update={"settings": core.settings.model_copy(update=idle)})

    def _evaluate(self) -> EvaluateSpec:
        campaign = self.campaign
        task = self._kind("task", campaign.task)
        settings = campaign.evaluate
        if settings.passes != "auto":  # then nothing reads what belongs to it
            idle = {key: Evaluate.model_fields[key].default for key in ("mc_error", "most_passes")}
            settings = settings.model_copy(update=idle)
        return EvaluateSpec(version=evaluate.VERSION, seed=campaign.seed, task=task, settings=settings)

    def _vary(self, source: str, variation: str) -> VarySpec:
        """Return the spec of one variation: of `evaluate` what a network is asked, and no more."""
        judged, one = self._evaluate(), Variation(source, variation, self.campaign.systematics[source][variation])
        asked = {key: getattr(judged.settings, key) for key in ("passes", "mc_error", "most_passes", "working_points")}
        return VarySpec(
            version=evaluate.VERSION,
            seed=judged.seed,
            task=judged.task,
            settings=Evaluate().model_copy(update=asked),
            source=source,
            variation=variation,
            kind=one.checked(self._file),
        )

    def _systematics(self) -> SystematicsSpec:
        campaign = self.campaign
        return SystematicsSpec(version=evaluate.VERSION, seed=campaign.seed, bootstrap=campaign.evaluate.bootstrap)

    def _sensitivity(self) -> SensitivitySpec:
        campaign, task = self.campaign, self._kind("task", self.campaign.task)
        return SensitivitySpec(
            version=hunt.VERSION,
            seed=campaign.seed,
            energy=campaign.simulate.collision_energy,
            settings=hunted(campaign),
            signal=task["signal"],
            background=task["background"],
            mass=(campaign.simulate.dijets or Dijets()).resonance,
        )

    def _hunt(self, box: str) -> HuntSpec:
        campaign = self.campaign
        return HuntSpec(
            version=hunt.VERSION,
            box=box,
            seed=campaign.seed,
            energy=campaign.simulate.collision_energy,
            settings=hunted(campaign),
        )

    def _synthesize(self) -> SynthesizeSpec:
        campaign, key = self.campaign, "synthesize.student.network"
        return SynthesizeSpec(
            version=synth.VERSION,
            name=campaign.name,
            seed=campaign.seed,
            task=self._kind("task", campaign.task),
            backend=self._kind("synthesize.backend", campaign.synthesize.backend),
            network=self._kind(key, campaign.synthesize.student.network),
            # one of the students: others leave it as it is
            settings=campaign.synthesize.model_copy(update={"candidates": {}, "search": None}),
        )

    def _candidate(self, candidate: str) -> SynthesizeSpec:
        return of_student(self._synthesize(), self.candidates[candidate], self._file)

    def _search(self) -> SearchSpec:
        settings = self.campaign.synthesize.search
        if settings is None:
            raise CampaignError("the campaign asks for no search", file=self._file, key="synthesize.search")
        return SearchSpec(version=scan.VERSION, settings=settings, core=self._synthesize())

    def _report(self) -> ReportSpec:
        campaign = self.campaign
        title = campaign.report.title or campaign.name
        names = {"name": campaign.name, "title": title, "classes": campaign.classes}
        return ReportSpec(version=report.VERSION, core=self.core, **names)
