# The campaign, checked; what the rules ask of it.
import gc
import inspect

from snakemake.exceptions import WorkflowError

from bunchtrain.config.yamlfile import read_yaml
from bunchtrain.dag import Plan
from bunchtrain.errors import BunchtrainError
from bunchtrain.groups import check_place
from bunchtrain.parallel import LAUNCHER

try:
    for path in workflow.configfiles:
        check_place(path)
        read_yaml(path)  # Snakemake takes the last of two equal keys without a word
    PLAN = Plan(config, " and ".join(map(str, workflow.configfiles)))
except BunchtrainError as error:
    raise WorkflowError(str(error)) from None

# A plan of ten thousand jobs makes millions of objects that all stay: no search for garbage among them.
gc.disable()


onstart:
    gc.freeze()
    gc.enable()


wildcard_constraints:
    sample="|".join(PLAN.sources),
    source="|".join(PLAN.campaign.systematics) or "none",
    variation=r"[\w-]+",
    beside="|".join(PLAN.beside) or "none",
    box="|".join(PLAN.boxes()) or "none",
    shard=r"\d\d\d\d+",
    group=r"\d\d\d\d+",
    number=r"\d+",
    candidate=r"[\w.-]+",


def ready(function):
    """A function whose parameters are at hand: Snakemake looks at them several times for every job."""
    function.__signature__ = inspect.signature(function)
    return function


# Wildcards that specs depend on.
NAMES = (
    "sample",
    "shard",
    "number",
    "candidate",
    "beside",
    "source",
    "variation",
    "box",
)


def spec(stage):
    """What a stage reads of the campaign, as JSON; a change of it reruns the stage."""
    return ready(
        lambda wildcards: PLAN.spec(
            stage, **{k: v for k, v in wildcards.items() if k in NAMES}
        )
    )


def grow(amount):
    """Memory or time that doubles with every attempt."""
    return ready(lambda wildcards, attempt: amount * 2 ** (attempt - 1))


# Options that name the samples of no class.
UNFAMILIAR = [
    word
    for name, path in PLAN.unfamiliar().items()
    for word in ("--unfamiliar", f"{name}={path}")
]
