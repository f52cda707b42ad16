# The blind search: what it can find, learned from labelled samples; and a job for each box, which sees no label.


rule sensitivity:
    input:
        dataset=rules.prepare.output.dataset,
    output:
        summary=f"{PLAN.output}/hunt/sensitivity.json",
    log:
        f"{PLAN.output}/logs/hunt/sensitivity.log",
    benchmark:
        f"{PLAN.output}/benchmarks/hunt/sensitivity.tsv"
    conda:
        "../../envs/hunt.yaml"
    threads: 1
    resources:
        mem_mb=grow(3000),
        runtime=grow(60),
    params:
        spec=spec("sensitivity") if PLAN.boxes() else "",
    message:
        "what a hunt can find"
    shell:
        "bunchtrain sensitivity --spec {params.spec:q} --dataset {input.dataset:q} --out {output.summary:q}"
        " --threads {threads} 2>&1 | tee {log:q}"


rule hunt:
    input:
        dataset=f"{PLAN.output}/boxes/{{box}}/dataset.h5",
        sensitivity=rules.sensitivity.output.summary,
    output:
        result=f"{PLAN.output}/hunt/{{box}}/result.json",
        scores=f"{PLAN.output}/hunt/{{box}}/scores.h5",
    log:
        f"{PLAN.output}/logs/hunt/{{box}}.log",
    benchmark:
        f"{PLAN.output}/benchmarks/hunt/{{box}}.tsv"
    conda:
        "../../envs/hunt.yaml"
    threads: 1
    resources:
        mem_mb=grow(3000),
        runtime=grow(60),
    params:
        spec=spec("hunt"),
        out=subpath(output.result, parent=True),
    message:
        "hunt in box {wildcards.box}"
    shell:
        "bunchtrain hunt --spec {params.spec:q} --dataset {input.dataset:q} --sensitivity {input.sensitivity:q}"
        " --out {params.out:q} --threads {threads} 2>&1 | tee {log:q}"
