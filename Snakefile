# From simulation samples to trained networks, their uncertainty, and an FPGA IP core.
from snakemake.utils import min_version

min_version("9.0")


# A campaign given by --configfile stands alone: it is not merged into the default one.
if not workflow.configfiles:

    configfile: "config/config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/simulate.smk"
include: "workflow/rules/convert.smk"
include: "workflow/rules/prepare.smk"
include: "workflow/rules/beside.smk"
include: "workflow/rules/scan.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/systematics.smk"
include: "workflow/rules/hunt.smk"
include: "workflow/rules/synthesize.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        PLAN.ends(),
    message:
        "done: {input}"
