rule synthesize:
    input:
        dataset=rules.prepare.output.dataset,
        weights=f"{PLAN.output}/train/seed0/model.safetensors",
        card=f"{PLAN.output}/train/seed0/model.json",
        unfamiliar=PLAN.unfamiliar().values(),
        best=[rules.scan.output.best] if PLAN.scans_student else [],
    output:
        core=report(
            f"{PLAN.output}/synthesize/core.zip",
            caption="../report/core.rst",
            category="Results",
        ),
        report=f"{PLAN.output}/synthesize/report.json",
        student=f"{PLAN.output}/synthesize/student.safetensors",
        card=f"{PLAN.output}/synthesize/student.json",
    log:
        f"{PLAN.output}/logs/synthesize.log",
    benchmark:
        f"{PLAN.output}/benchmarks/synthesize.tsv"
    conda:
        "../../envs/synthesize.yaml"
    threads: 2
    resources:
        mem_mb=grow(6000),
        runtime=grow(240),
    params:
        spec=spec("synthesize"),
        model=subpath(input.weights, parent=True),
        out=subpath(output.core, parent=True),
        unfamiliar=UNFAMILIAR,
        best=lambda wildcards, input: ["--best", input.best] if input.best else [],
    message:
        "synthesize a compact student into an IP core"
    shell:
        "bunchtrain synthesize --spec {params.spec:q} --model {params.model:q} --dataset {input.dataset:q}"
        " --out {params.out:q} {params.unfamiliar:q} {params.best:q} 2>&1 | tee {log:q}"


rule candidate:
    input:
        dataset=rules.prepare.output.dataset,
        weights=f"{PLAN.output}/train/seed0/model.safetensors",
        card=f"{PLAN.output}/train/seed0/model.json",
    output:
        figures=f"{PLAN.output}/synthesize/candidates/{{candidate}}/figures.json",
    log:
        f"{PLAN.output}/logs/candidates/{{candidate}}.log",
    benchmark:
        f"{PLAN.output}/benchmarks/candidates/{{candidate}}.tsv"
    conda:
        "../../envs/synthesize.yaml"
    threads: 1
    resources:
        mem_mb=grow(4000),
        runtime=grow(120),
    params:
        spec=spec("candidate"),
        model=subpath(input.weights, parent=True),
        out=subpath(output.figures, parent=True),
    message:
        "synthesize candidate {wildcards.candidate}"
    shell:
        "bunchtrain candidate --spec {params.spec:q} --model {params.model:q} --dataset {input.dataset:q}"
        " --out {params.out:q} 2>&1 | tee {log:q}"


rule search:
    input:
        dataset=rules.prepare.output.dataset,
        weights=f"{PLAN.output}/train/seed0/model.safetensors",
        card=f"{PLAN.output}/train/seed0/model.json",
    output:
        table=f"{PLAN.output}/synthesize/search/results.csv",
        front=f"{PLAN.output}/synthesize/search/front.json",
    log:
        f"{PLAN.output}/logs/search.log",
    benchmark:
        f"{PLAN.output}/benchmarks/search.tsv"
    conda:
        "../../envs/synthesize.yaml"
    threads: PLAN.campaign.synthesize.search.parallel if PLAN.searched else 1
    resources:
        mem_mb=grow(6000),
        runtime=grow(480),
    params:
        spec=spec("search"),
        model=subpath(input.weights, parent=True),
        out=subpath(output.front, parent=True),
    message:
        "search for students that know much and cost little"
    shell:
        "bunchtrain search --spec {params.spec:q} --model {params.model:q} --dataset {input.dataset:q}"
        " --out {params.out:q} --cores {threads} 2>&1 | tee {log:q}"
